package debian

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	"github.com/digital-mycelium/os/image/cache"
)

// Bump pins the newest version that the suite of each named package offers; no
// names mean all. It returns what changed, as lines for people.
func (l *Lock) Bump(ctx context.Context, names ...string) ([]string, error) {
	var chosen []*Package
	for i := range l.Packages {
		if p := &l.Packages[i]; len(names) == 0 || contains(names, p.Name) {
			chosen = append(chosen, p)
		}
	}
	for _, n := range names {
		if _, err := l.byName(n); err != nil {
			return nil, err
		}
	}
	a, err := l.fetcher.orDefault().findArchive(ctx)
	if err != nil {
		return nil, err
	}
	root, err := cache.Dir()
	if err != nil {
		return nil, err
	}
	state := aptState{dir: filepath.Join(root, "apt")}
	if err := state.update(ctx, a, chosen); err != nil {
		return nil, err
	}
	best, err := state.newest(ctx, chosen)
	if err != nil {
		return nil, err
	}
	var changes []string
	for _, p := range chosen {
		n, ok := best[p]
		if !ok {
			return nil, fmt.Errorf("the archive has no package %s in %s", p, p.Component)
		}
		if n.Version != p.Version {
			changes = append(changes, fmt.Sprintf("%s: %s -> %s", p, orNone(p.Version), n.Version))
		}
		p.Version, p.Files = n.Version, n.Files
	}
	return changes, nil
}

func orNone(v string) string {
	if v == "" {
		return "(none)"
	}
	return v
}

func (l *Lock) byName(name string) (Package, error) {
	for _, p := range l.Packages {
		if p.Name == name {
			return p, nil
		}
	}
	return Package{}, fmt.Errorf("package %s: %w", name, ErrNotLocked)
}

// aptState is a private apt: its own sources, lists and caches below dir.
type aptState struct{ dir string }

func (s aptState) options() []string {
	o := []string{
		"-q",
		"-o", "Dir::Etc::sourcelist=" + filepath.Join(s.dir, "sources.list"),
		"-o", "Dir::Etc::sourceparts=-",
		"-o", "Dir::State=" + filepath.Join(s.dir, "state"),
		"-o", "Dir::State::lists=" + filepath.Join(s.dir, "lists"),
		"-o", "Dir::State::status=/dev/null",
		"-o", "Dir::Cache=" + filepath.Join(s.dir, "cache"),
		"-o", "Acquire::Languages=none",
		"-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		"-o", "Acquire::IndexTargets::deb::CNF::DefaultEnabled=false",
		"-o", "APT::Update::Error-Mode=any",
		"-o", "APT::Sandbox::User=" + userName(),
	}
	return o
}

// update writes the private sources and fetches the signed indices.
func (s aptState) update(ctx context.Context, a Archive, pkgs []*Package) error {
	for _, d := range []string{"state", "lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o755); err != nil {
			return fmt.Errorf("create the private apt state: %w", err)
		}
	}
	sources, err := sourceLines(a, pkgs)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "sources.list"), []byte(sources), 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "apt-get", append(s.options(), "update")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch the archive's indices: apt-get update: %w\n%s", err, out)
	}
	return nil
}

// sourceLines returns the apt sources that cover pkgs.
func sourceLines(a Archive, pkgs []*Package) (string, error) {
	lines := make(map[string]bool)
	for _, p := range pkgs {
		base, err := a.base(p.Suite)
		if err != nil {
			return "", err
		}
		kind, options := "deb", a.options+" arch="+indexArch(p.Arch)
		if p.Arch == SourceArch {
			kind, options = "deb-src", a.options
		}
		lines[fmt.Sprintf("%s [%s] %s %s %s\n", kind, options, base, p.Suite, p.Component)] = true
	}
	sorted := make([]string, 0, len(lines))
	for l := range lines {
		sorted = append(sorted, l)
	}
	sort.Strings(sorted)
	return strings.Join(sorted, ""), nil
}

// indexArch is the architecture whose index lists packages for arch.
func indexArch(arch string) string {
	if arch == "all" {
		return "amd64"
	}
	return arch
}

// newest looks every package up in the index of its suite.
func (s aptState) newest(ctx context.Context, pkgs []*Package) (map[*Package]Package, error) {
	format := "$(FILENAME)|$(RELEASE)|$(COMPONENT)|$(ARCHITECTURE)|$(CREATED_BY)"
	out, err := exec.CommandContext(ctx, "apt-get", append(s.options(), "indextargets", "--format", format)...).Output()
	if err != nil {
		return nil, fmt.Errorf("list the archive's indices: apt-get indextargets: %w", err)
	}
	best := make(map[*Package]Package)
	for _, line := range strings.Fields(string(out)) {
		f := strings.Split(line, "|")
		if len(f) != 5 {
			continue
		}
		var want []*Package
		for _, p := range pkgs {
			source := p.Arch == SourceArch
			if p.Suite == f[1] && p.Component == f[2] && source == (f[4] == "Sources") && (source || indexArch(p.Arch) == f[3]) {
				want = append(want, p)
			}
		}
		if len(want) == 0 {
			continue
		}
		if err := s.scan(ctx, f[0], want, best); err != nil {
			return nil, fmt.Errorf("read index %s: %w", filepath.Base(f[0]), err)
		}
	}
	return best, nil
}

// scan reads one index and keeps in best the newest version of each wanted package.
func (s aptState) scan(ctx context.Context, index string, want []*Package, best map[*Package]Package) error {
	cmd := exec.CommandContext(ctx, "/usr/lib/apt/apt-helper", append(s.options(), "cat-file", index)...)
	r, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	rerr := readControl(r, func(para paragraph) error {
		for _, p := range want {
			if para["Package"] != p.Name || p.Arch != SourceArch && para["Architecture"] != p.Arch {
				continue
			}
			if have, ok := best[p]; ok && CompareVersions(have.Version, para["Version"]) >= 0 {
				continue
			}
			read := binaryFiles
			if p.Arch == SourceArch {
				read = sourceFiles
			}
			files, err := read(para)
			if err != nil {
				return fmt.Errorf("package %s: %w", p.Name, err)
			}
			best[p] = Package{Version: para["Version"], Files: files}
		}
		return nil
	})
	if rerr != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return rerr
	}
	return cmd.Wait()
}
