package k3sbuild

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/digital-mycelium/os/image/cache"
)

// program is one of the two programs, with everything that its build needs.
type program struct {
	name    string
	version string
	purl    string
	path    string // in the root file system
	dir     string // its Go module
	target  string // the main package, relative to dir
	modules []module
	tags    []string
	inlined []string // package patterns to inline in; nil means everywhere
	ldflags []string
	cgo     bool
}

// commonTags leave out what a node without systemd, tracing collectors and
// cloud providers has no use for.
func commonTags() []string {
	return []string{"netgo", "osusergo", "static_build", "no_tracing", "no_systemd", "no_rdt", "urfave_cli_no_docs"}
}

func k3sProgram(repoRoot string, v Versions, opts Options) program {
	p := program{
		name:    "k3s",
		version: v.Kubernetes,
		purl:    "pkg:golang/github.com/k3s-io/k3s@" + v.K3s,
		path:    "/bin/k3s",
		dir:     filepath.Join(repoRoot, "rootfs", "k3s"),
		target:  "./cmd/k3s",
		modules: k3sModules(),
		tags: append(commonTags(), "no_stage", "no_cri_dockerd", "no_embedded_executor", "providerless",
			"sqlite_omit_load_extension"),
		ldflags: k3sStamps(v),
	}
	if !opts.Inline {
		p.inlined = hotPackages()
	}
	return p
}

func rtProgram(repoRoot string, v Versions) program {
	return program{
		name:    "rt",
		version: v.Runc,
		purl:    "pkg:golang/github.com/opencontainers/runc@" + v.Runc,
		path:    "/bin/rt",
		dir:     filepath.Join(repoRoot, "rootfs", "k3s", "rt"),
		target:  ".",
		modules: rtModules(),
		tags:    append(commonTags(), "seccomp"),
		ldflags: []string{
			"-X", "github.com/containerd/containerd/v2/version.Version=" + v.Containerd,
			"-X", "github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=" + v.CNIPlugins,
			"-linkmode=external", "-extldflags", "'-static -Wl,--build-id=none'",
		},
		cgo: true,
	}
}

// goStamp is the variable that K3s compares with the Go that built it; it
// refuses to start when they differ.
const goStamp = "github.com/k3s-io/k3s/pkg/version.UpstreamGolang"

// hotPackages are the patterns of packages where the node's processor time
// goes: encoding, the database, the watch caches. The rest of k3s, most of it
// generated clients, conversions and flags, is compiled without inlining,
// which makes it a sixth smaller.
func hotPackages() []string {
	return []string{
		"std", "golang.org/x/...", "google.golang.org/grpc/...", "google.golang.org/protobuf/...",
		"modernc.org/...", "github.com/k3s-io/kine/...", "go.etcd.io/...",
		"github.com/gogo/protobuf/...", "github.com/json-iterator/...", "github.com/modern-go/...",
		"github.com/fxamacker/...", "github.com/klauspost/...", "sigs.k8s.io/...",
		"k8s.io/apimachinery/...", "k8s.io/apiserver/pkg/storage/...",
		"k8s.io/client-go/tools/...", "k8s.io/client-go/util/...",
	}
}

// k3sStamps are the linker flags that tell the parts of K3s their versions.
func k3sStamps(v Versions) []string {
	major, minor := v.majorMinor()
	stamps := []string{
		"github.com/k3s-io/k3s/pkg/version.Version=" + v.Kubernetes,
		"github.com/k3s-io/k3s/pkg/version.GitCommit=" + v.k3sCommit(),
		"k8s.io/client-go/pkg/version.gitVersion=" + v.Kubernetes,
		"k8s.io/component-base/version.gitVersion=" + v.Kubernetes,
		"k8s.io/component-base/version.gitMajor=" + major,
		"k8s.io/component-base/version.gitMinor=" + minor,
		"k8s.io/component-base/version.gitTreeState=clean",
		"github.com/containerd/containerd/v2/version.Version=" + v.Containerd,
		"github.com/containerd/containerd/v2/version.Package=github.com/k3s-io/containerd/v2",
	}
	var flags []string
	for _, s := range stamps {
		flags = append(flags, "-X", s)
	}
	return flags
}

// key identifies the program that p builds.
func (p program) key(ctx context.Context, t target) (*cache.Key, error) {
	k := cache.NewKey(p.name, resultVersion).
		Add("arch", t.arch).
		Add("go", t.goVersion).
		Add("cc", t.ccVersion).
		Add("libs", t.libs).
		Add("tags", strings.Join(p.tags, ",")).
		Add("inlined", strings.Join(p.inlined, " ")).
		Add("ldflags", strings.Join(p.ldflags, " ")).
		Add("modules", fmt.Sprintf("%+v", p.modules))
	for _, part := range []string{"go.mod", "go.sum"} {
		if err := k.AddFile(part, filepath.Join(p.dir, part)); err != nil {
			return nil, err
		}
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(p.dir, e.Name())
		switch {
		case e.IsDir() && !isModule(path):
			err = k.AddTree(e.Name(), path)
		case e.IsDir() && e.Name() == stubsDir:
			err = k.AddTree(e.Name(), path)
		case filepath.Ext(e.Name()) == ".go":
			err = k.AddFile(e.Name(), path)
		}
		if err != nil {
			return nil, err
		}
	}
	return k, nil
}

// isModule reports whether dir is the root of a Go module.
func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}
