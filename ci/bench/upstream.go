package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sort"
	"strings"

	"github.com/digital-mycelium/os/image/cache"
)

// upstreamDir holds, in the repository, the module that pins everything
// upstream's release is made from, and the one part of it that is not to be had
// as a module.
const upstreamDir = "ci/bench/upstream"

// upstreamFiles are the files of upstreamDir that the build needs.
var upstreamFiles = []string{"go.mod", "go.sum", "flannel/flannel.go"}

const (
	k3sModule        = "github.com/k3s-io/k3s"
	k3sVersion       = "v1.35.1+k3s1"
	pluginsModule    = "github.com/containernetworking/plugins"
	containerdModule = "github.com/containerd/containerd/v2"
	// runc is built by its own go.mod, as upstream does.
	runcModule = "github.com/opencontainers/runc@v1.4.1"
	// upstreamTags are those of upstream's release script. Two differ: the
	// resolver is Go's (a static glibc program has none), and SQLite is the one
	// that comes with its driver.
	upstreamTags = "ctrd netgo osusergo providerless urfave_cli_no_docs sqlite_omit_load_extension static_build apparmor seccomp"
)

// cniPlugins are the programs in upstream's multicall "cni", by directory in
// the plugins module; flannel is added to them.
var cniPlugins = map[string]string{
	"bandwidth": "meta/bandwidth", "bridge": "main/bridge", "firewall": "meta/firewall",
	"host-local": "ipam/host-local", "loopback": "main/loopback", "portmap": "meta/portmap",
}

// k3sNames are the names that K3s' own program is called by.
var k3sNames = []string{
	"containerd", "crictl", "ctr", "kubectl", "k3s-agent", "k3s-server", "k3s-token",
	"k3s-etcd-snapshot", "k3s-secrets-encrypt", "k3s-certificate", "k3s-completion",
}

// upstreamBuild is a build of upstream's release in a directory of its own.
type upstreamBuild struct {
	module string // upstreamDir
	dir    string // its copy, with what is generated
	src    string // K3s' source, a copy that is filled in as upstream's scripts do
	bin    string // what goes into the payload
}

// buildUpstream builds K3s as upstream releases it: a program that carries the
// server, runc, the shim and the CNI plugins as a compressed payload. It
// returns a directory with "k3s" and "k3s.service". What upstream takes from
// its root image (busybox, iptables) comes from Debian instead; Traefik's charts
// are left out. repository is the root of the work tree.
func buildUpstream(ctx context.Context, repository string) (string, error) {
	key := cache.NewKey("bench-k3s-upstream", 1).Add("go", runtime.Version()).Add("arch", runtime.GOARCH).
		Add("tags", upstreamTags).Add("version", k3sVersion)
	module := filepath.Join(repository, upstreamDir)
	for _, name := range upstreamFiles {
		if err := key.AddFile(name, filepath.Join(module, name)); err != nil {
			return "", err
		}
	}
	dir, err := cache.Do(ctx, key, func(ctx context.Context, dir string) error {
		work, err := os.MkdirTemp(dir, "work")
		if err != nil {
			return err
		}
		b := upstreamBuild{module: module, dir: work, src: filepath.Join(work, "k3s"), bin: filepath.Join(work, "payload/bin")}
		if err := b.build(ctx, dir); err != nil {
			return err
		}
		return os.RemoveAll(work)
	})
	if err != nil {
		return "", fmt.Errorf("build upstream's K3s: %w", err)
	}
	return dir, nil
}

// build runs the steps in order and leaves the result in out.
func (b upstreamBuild) build(ctx context.Context, out string) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	if err := b.buildCNI(ctx); err != nil {
		return err
	}
	for _, p := range b.programs() {
		if err := p.build(ctx); err != nil {
			return err
		}
	}
	if err := b.pack(ctx); err != nil {
		return err
	}
	outer := program{dir: b.dir, pkg: k3sModule + "/cmd/k3s", out: filepath.Join(out, "k3s")}
	if err := outer.build(ctx); err != nil {
		return err
	}
	return copyFile(filepath.Join(out, "k3s.service"), filepath.Join(b.src, "k3s.service"), 0o644)
}

// prepare lays out the module: go.mod with K3s replaced by a copy of its source
// that holds the manifests where they are embedded from.
func (b upstreamBuild) prepare(ctx context.Context) error {
	for _, name := range upstreamFiles {
		content, err := os.ReadFile(filepath.Join(b.module, name))
		if err != nil {
			return err
		}
		if name == "go.mod" {
			content = append(content, []byte("\nreplace "+k3sModule+" => ./k3s\n")...)
		}
		if err := writeFiles(b.dir, map[string]string{name: string(content)}); err != nil {
			return err
		}
	}
	source, err := moduleDir(ctx, b.module, k3sModule)
	if err != nil {
		return err
	}
	if err := copyTree(b.src, source); err != nil {
		return err
	}
	if err := copyTree(filepath.Join(b.src, "pkg/deploy/embed"), filepath.Join(b.src, "manifests")); err != nil {
		return err
	}
	runc, err := moduleDir(ctx, b.module, runcModule)
	if err != nil {
		return err
	}
	return copyTree(filepath.Join(b.dir, "runc"), runc)
}

// moduleDir returns where the module cache holds a module that the go.mod in
// dir names, downloading it when it must.
func moduleDir(ctx context.Context, dir, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("download %s: %w: %s", module, err, out)
	}
	var info struct{ Dir, Error string }
	if err := json.Unmarshal(out, &info); err != nil {
		return "", err
	}
	if info.Error != "" {
		return "", errors.New(info.Error)
	}
	return info.Dir, nil
}

// programClause and mainFunc are what turns a CNI plugin's program into a package.
var (
	programClause = regexp.MustCompile(`(?m)^package main$`)
	mainFunc      = regexp.MustCompile(`(?m)^func main\(\)`)
)

// buildCNI writes the multicall program's source as upstream's fork of the
// plugins has it.
func (b upstreamBuild) buildCNI(ctx context.Context) error {
	source, err := moduleDir(ctx, b.module, pluginsModule)
	if err != nil {
		return err
	}
	const self = "github.com/digital-mycelium/os/ci/bench/upstream"
	imports, cases := "\t\""+self+"/flannel\"\n", "\tcase \"flannel\":\n\t\tflannel.Main()\n"
	for name, path := range cniPlugins {
		pkg := strings.ReplaceAll(name, "-", "")
		files, err := filepath.Glob(filepath.Join(source, "plugins", path, "*.go"))
		if err != nil {
			return err
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			text = programClause.ReplaceAll(text, []byte("package "+pkg))
			text = mainFunc.ReplaceAll(text, []byte("func Main()"))
			if err := writeFiles(b.dir, map[string]string{"cni/" + pkg + "/" + filepath.Base(file): string(text)}); err != nil {
				return err
			}
		}
		imports += fmt.Sprintf("\t%q\n", self+"/cni/"+pkg)
		cases += fmt.Sprintf("\tcase %q:\n\t\t%s.Main()\n", name, pkg)
	}
	return writeFiles(b.dir, map[string]string{"cni/main.go": "package main\n\nimport (\n\t\"os\"\n\t\"path/filepath\"\n\n" + imports +
		")\n\nfunc main() {\n\tswitch filepath.Base(os.Args[0]) {\n" + cases + "\t}\n}\n"})
}

// program is one program to link.
type program struct {
	// dir is where go.mod stands, pkg what to build there.
	dir, pkg, out string
	ldflags       string
	cgo           bool
}

// programs are what the payload holds.
func (b upstreamBuild) programs() []program {
	return []program{
		{dir: b.dir, pkg: "./cni", out: filepath.Join(b.bin, "cni")},
		{
			dir: filepath.Join(b.dir, "runc"), pkg: ".", out: filepath.Join(b.bin, "runc"),
			ldflags: "-extldflags '-static' -X main.version=1.4.1", cgo: true,
		},
		{
			dir: b.dir, pkg: containerdModule + "/cmd/containerd-shim-runc-v2",
			out: filepath.Join(b.bin, "containerd-shim-runc-v2"),
		},
		{
			dir: b.dir, pkg: k3sModule + "/cmd/server", out: filepath.Join(b.bin, "k3s"),
			ldflags: "-extldflags '-static -lm -ldl -lpthread'", cgo: true,
		},
	}
}

// build links p the way upstream's script does.
func (p program) build(ctx context.Context) error {
	version := "-s -w" +
		" -X " + k3sModule + "/pkg/version.Version=" + k3sVersion +
		" -X " + k3sModule + "/pkg/version.UpstreamGolang=" + runtime.Version()
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		version += " -X " + pkg + ".gitVersion=" + k3sVersion + " -X " + pkg + ".gitTreeState=clean"
	}
	version += " -X " + containerdModule + "/version.Version=v2.2.2-k3s1" +
		" -X " + containerdModule + "/version.Package=github.com/k3s-io/containerd/v2"
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", upstreamTags,
		"-ldflags", version+" "+p.ldflags, "-o", p.out, p.pkg)
	cmd.Dir = p.dir
	enabled := "CGO_ENABLED=0"
	if p.cgo {
		enabled = "CGO_ENABLED=1"
	}
	cmd.Env = append(os.Environ(), enabled, "GOFLAGS=-mod=mod", "GOWORK=off",
		"CGO_CFLAGS=-O2 -DSQLITE_ENABLE_DBSTAT_VTAB=1 -DSQLITE_USE_ALLOCA=1")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", p.pkg, err, tail(output, 4000))
	}
	return nil
}

// pack compresses bin into the payload that K3s' outer program embeds.
func (b upstreamBuild) pack(ctx context.Context) error {
	var links []string
	for _, name := range k3sNames {
		links = append(links, name+" k3s")
	}
	links = append(links, "flannel cni")
	for name := range cniPlugins {
		links = append(links, name+" cni")
	}
	sort.Strings(links)
	for _, l := range links {
		name, target, _ := strings.Cut(l, " ")
		if err := os.Symlink(target, filepath.Join(b.bin, name)); err != nil {
			return err
		}
	}
	var sums strings.Builder
	for _, name := range []string{"cni", "containerd-shim-runc-v2", "k3s", "runc"} {
		sum, err := cache.SumFile(filepath.Join(b.bin, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, name)
	}
	payload := filepath.Dir(b.bin)
	if err := os.MkdirAll(filepath.Join(payload, "etc"), 0o755); err != nil {
		return err
	}
	if err := writeFiles(b.bin, map[string]string{".sha256sums": sums.String(), ".links": strings.Join(links, "\n") + "\n"}); err != nil {
		return err
	}
	archive := filepath.Join(b.dir, "data.tar.zst")
	if err := run(ctx, payload, "tar", "--sort=name", "--owner=0", "--group=0", "--mtime=@0",
		"-I", "zstd -16 -T0 --long=25", "-cf", archive, "./bin", "./etc"); err != nil {
		return err
	}
	sum, err := cache.SumFile(archive)
	if err != nil {
		return err
	}
	return os.Rename(archive, filepath.Join(b.src, "pkg/data/embed", sum+".tar.zst"))
}

// copyTree copies the regular files of from into to, writable.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return copyFile(filepath.Join(to, rel), path, 0o644)
	})
}
