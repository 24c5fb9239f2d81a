package k3sbuild

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
)

// Paths of modules that a bump treats in a way of its own.
const (
	k3sPath        = "github.com/k3s-io/k3s"
	kubernetesFork = "github.com/k3s-io/kubernetes"
	containerdPath = "github.com/containerd/containerd/v2"
	sqlitePath     = "modernc.org/sqlite"
)

// BumpOptions say what to move to.
type BumpOptions struct {
	// K3s is the version of the module github.com/k3s-io/k3s.
	K3s string
	// Kubernetes, unless it is empty, replaces the version of K3s' fork of
	// Kubernetes that K3s asks for, e.g. "v1.35.1-k3s1": the module proxy does
	// not serve all of them.
	Kubernetes string
}

// Bump moves rootfs/k3s to another version of K3s: it takes over K3s' replace
// lines, tries every patch, resolves all modules for every architecture and
// variant, and writes go.mod and go.sum. When something fails it says all that
// failed and leaves the files as they were.
func Bump(ctx context.Context, repoRoot string, o BumpOptions) ([]string, error) {
	repoRoot, before, err := open(repoRoot)
	if err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "mycelium-bump")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	copyRoot := filepath.Join(work, "repo")
	if err := copyTree(filepath.Join(copyRoot, "rootfs", "k3s"), filepath.Join(repoRoot, "rootfs", "k3s"), nil); err != nil {
		return nil, err
	}
	if err := bumpMods(ctx, copyRoot, o); err != nil {
		return nil, err
	}
	after, err := ReadVersions(copyRoot)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, p := range variants(copyRoot, after) {
		errs = append(errs, resolve(ctx, p, filepath.Join(work, p.name+strings.Join(p.tags, "-"))))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("nothing was changed: %w", err)
	}
	for _, name := range []string{"go.mod", "go.sum", "rt/go.mod", "rt/go.sum"} {
		rel := filepath.Join("rootfs", "k3s", filepath.FromSlash(name))
		if err := copyFile(filepath.Join(repoRoot, rel), filepath.Join(copyRoot, rel)); err != nil {
			return nil, err
		}
	}
	return changes(before, after), nil
}

// variants are all programs that the repository builds.
func variants(repoRoot string, v Versions) []program {
	return []program{
		k3sProgram(repoRoot, v, Options{}),
		rtProgram(repoRoot, v),
	}
}

func changes(before, after Versions) []string {
	var lines []string
	add := func(name, a, b string) {
		if a != b {
			lines = append(lines, fmt.Sprintf("%s: %s -> %s", name, a, b))
		}
	}
	add("K3s", before.K3s, after.K3s)
	add("Kubernetes", before.Kubernetes, after.Kubernetes)
	add("containerd", before.Containerd, after.Containerd)
	add("runc", before.Runc, after.Runc)
	return lines
}

// bumpMods rewrites the two go.mod files of a copy of the repository.
func bumpMods(ctx context.Context, copyRoot string, o BumpOptions) error {
	dir := filepath.Join(copyRoot, "rootfs", "k3s")
	upstream, err := upstreamMod(ctx, o.K3s)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "go.mod")
	mod, err := parseMod(path)
	if err != nil {
		return err
	}
	sqlite := required(mod, sqlitePath)
	next := &modfile.File{Syntax: &modfile.FileSyntax{}}
	if err := errors.Join(
		next.AddModuleStmt(mod.Module.Mod.Path), next.AddGoStmt(mod.Go.Version),
		next.AddRequire(k3sPath, o.K3s), next.AddRequire(sqlitePath, sqlite),
	); err != nil {
		return err
	}
	replaced := make(map[string]bool)
	for _, r := range upstream.Replace {
		version := r.New.Version
		if o.Kubernetes != "" && strings.HasPrefix(r.New.Path, kubernetesFork) {
			version = o.Kubernetes
		}
		replaced[r.Old.Path] = true
		if err := next.AddReplace(r.Old.Path, r.Old.Version, r.New.Path, version); err != nil {
			return err
		}
	}
	for _, r := range mod.Replace { // ours, beyond upstream's
		if !replaced[r.Old.Path] && r.Old.Path == r.New.Path {
			if err := next.AddReplace(r.Old.Path, r.Old.Version, r.New.Path, r.New.Version); err != nil {
				return err
			}
		}
	}
	if err := writeMod(path, next); err != nil {
		return err
	}
	return bumpShim(filepath.Join(dir, "rt", "go.mod"), next)
}

// bumpShim makes rt's containerd the one of k3s.
func bumpShim(path string, k3s *modfile.File) error {
	mod, err := parseMod(path)
	if err != nil {
		return err
	}
	for _, r := range k3s.Replace {
		if r.Old.Path == containerdPath {
			if err := mod.AddReplace(r.Old.Path, r.Old.Version, r.New.Path, r.New.Version); err != nil {
				return err
			}
		}
	}
	return writeMod(path, mod)
}

// upstreamMod returns the go.mod of a version of K3s.
func upstreamMod(ctx context.Context, version string) (*modfile.File, error) {
	out, err := runGo(ctx, os.TempDir(), nil, "mod", "download", "-json", k3sPath+"@"+version)
	var info struct{ GoMod, Error string }
	if jsonErr := json.Unmarshal(out, &info); err == nil {
		err = jsonErr
	}
	if err != nil {
		return nil, fmt.Errorf("download K3s %s: %w: %s", version, err, info.Error)
	}
	return parseMod(info.GoMod)
}

// resolve lays p out below work, trying its patches, and completes the go.mod
// and go.sum of p for every architecture.
func resolve(ctx context.Context, p program, work string) error {
	t, err := layOut(ctx, p, work)
	if err != nil {
		return err
	}
	for arch := range compilers() {
		env := []string{"GOFLAGS=-mod=mod", "GOOS=linux", "GOARCH=" + arch, "CGO_ENABLED=0"}
		if p.cgo {
			env[len(env)-1] = "CGO_ENABLED=1"
		}
		if _, err := runGo(ctx, t.src, env, "list", "-deps", "-tags", strings.Join(p.tags, ","), p.target); err != nil {
			return fmt.Errorf("resolve %s for %s: %w", p.name, arch, err)
		}
	}
	return keepResolved(p, t.src)
}

// keepResolved takes over what the resolution in src added, without the
// replace lines of the layout.
func keepResolved(p program, src string) error {
	resolved, err := parseMod(filepath.Join(src, "go.mod"))
	if err != nil {
		return err
	}
	original, err := parseMod(filepath.Join(p.dir, "go.mod"))
	if err != nil {
		return err
	}
	for _, m := range p.modules {
		if err := resolved.DropReplace(m.path, ""); err != nil {
			return err
		}
	}
	for _, r := range original.Replace {
		if err := resolved.AddReplace(r.Old.Path, r.Old.Version, r.New.Path, r.New.Version); err != nil {
			return err
		}
	}
	if err := writeMod(filepath.Join(p.dir, "go.mod"), resolved); err != nil {
		return err
	}
	return copyFile(filepath.Join(p.dir, "go.sum"), filepath.Join(src, "go.sum"))
}

func parseMod(path string) (*modfile.File, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return modfile.Parse(path, content, nil)
}

func writeMod(path string, f *modfile.File) error {
	f.Cleanup()
	content, err := f.Format()
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.WriteFile(path, content, 0o644)
}

func required(f *modfile.File, path string) string {
	for _, r := range f.Require {
		if r.Mod.Path == path {
			return r.Mod.Version
		}
	}
	return ""
}
