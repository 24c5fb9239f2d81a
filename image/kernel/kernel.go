// Package kernel builds a board's Linux kernel from Debian's source package
// and configuration fragments, the same bytes each time.
//
// The configuration starts from the kernel's own tiny configuration; every
// option that no fragment names is off, whatever its default. After kconfig
// has resolved the dependencies, every option of the fragments is compared
// with the result: one that did not end up as asked stops the build.
package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"

	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/image/debian"
)

// Spec says which kernel to build.
type Spec struct {
	// Source is the package of the prerequisites' lock that holds the source,
	// e.g. "linux-source-6.12".
	Source string
	// Fragments are configuration fragments relative to board/; later ones win.
	Fragments []string
	// Target is what make builds, e.g. "bzImage".
	Target string
	// Image is the file that make writes, relative to the source.
	Image string
	// Arch is Go's name of the architecture: "amd64" or "arm64".
	Arch string
	// Patches are unified diffs relative to board/, applied in their order.
	Patches []string
	// DeviceTrees are built beside the image, relative to the architecture's
	// boot/dts, e.g. "broadcom/bcm2711-rpi-4-b.dtb".
	DeviceTrees []string
}

// DeviceTree returns the path of a device tree that was built beside the image c.
func DeviceTree(c component.Component, name string) string {
	return filepath.Join(filepath.Dir(c.File), treeDir, path.Base(name))
}

// arches says what the kernel and the tool chain call an architecture.
var arches = map[string]struct{ kbuild, dir, prefix string }{
	"amd64": {"x86_64", "x86", "x86_64-linux-gnu-"},
	"arm64": {"arm64", "arm64", "aarch64-linux-gnu-"},
}

// Names of the files in a build's result.
const (
	imageFile  = "kernel"
	configFile = "config"
	treeDir    = "dtb"
)

// source is what a build starts from.
type source struct {
	spec      Spec
	pkg       debian.Package
	deb       string
	fragments []fragment
	asked     options
	compiler  string
	patches   [][]byte
}

// Build returns the kernel image that spec describes, and the directory of its
// modules, which is empty when everything is built in. Results are kept in the
// build cache; a cold build takes minutes.
func Build(ctx context.Context, repoRoot string, spec Spec) (component.Component, string, error) {
	s, err := load(ctx, repoRoot, spec)
	if err != nil {
		return component.Component{}, "", err
	}
	config, err := s.configure(ctx)
	if err != nil {
		return component.Component{}, "", err
	}
	dir, err := s.compile(ctx, config)
	if err != nil {
		return component.Component{}, "", err
	}
	c := component.Component{
		Name:    "linux",
		Version: s.pkg.Version,
		Source:  s.pkg.PURL(),
		License: "GPL-2.0-only WITH Linux-syscall-note",
		Path:    "kernel",
		File:    filepath.Join(dir, imageFile),
	}
	if c.SHA256, err = cache.SumFile(c.File); err != nil {
		return component.Component{}, "", err
	}
	return c, "", nil
}

// Config returns the path of the resolved configuration, all of whose options
// are as the fragments ask. It is much faster than Build.
func Config(ctx context.Context, repoRoot string, spec Spec) (string, error) {
	s, err := load(ctx, repoRoot, spec)
	if err != nil {
		return "", err
	}
	return s.configure(ctx)
}

func load(ctx context.Context, repoRoot string, spec Spec) (*source, error) {
	if err := spec.check(); err != nil {
		return nil, fmt.Errorf("kernel: %w", err)
	}
	s := &source{spec: spec}
	for _, name := range spec.Fragments {
		b, err := os.ReadFile(filepath.Join(repoRoot, "board", name))
		if err != nil {
			return nil, fmt.Errorf("read the kernel fragment: %w", err)
		}
		f, err := parseFragment(name, string(b))
		if err != nil {
			return nil, fmt.Errorf("read the kernel fragment: %w", err)
		}
		s.fragments = append(s.fragments, f)
	}
	s.asked = merge(s.fragments)
	for _, name := range spec.Patches {
		b, err := os.ReadFile(filepath.Join(repoRoot, "board", name))
		if err != nil {
			return nil, fmt.Errorf("read the kernel patch: %w", err)
		}
		s.patches = append(s.patches, b)
	}
	lock, err := debian.Load(filepath.Join(repoRoot, debian.LockPath))
	if err != nil {
		return nil, err
	}
	if s.deb, s.pkg, err = lock.Fetch(ctx, spec.Source, spec.Arch); err != nil {
		return nil, err
	}
	s.compiler, err = compilerVersion(ctx, spec.Arch)
	return s, err
}

func (s Spec) check() error {
	if _, ok := arches[s.Arch]; !ok {
		return fmt.Errorf("architecture %q is not known", s.Arch)
	}
	if s.Source == "" || s.Target == "" || len(s.Fragments) == 0 {
		return errors.New("source, target and fragments are all required")
	}
	if !filepath.IsLocal(s.Image) || path.Clean(s.Image) != s.Image {
		return fmt.Errorf("image %q is not a path below the source", s.Image)
	}
	for _, f := range append(append([]string(nil), s.Fragments...), s.Patches...) {
		if !filepath.IsLocal(filepath.Join("board", f)) || filepath.IsAbs(f) {
			return fmt.Errorf("fragment or patch %q is not a path in the repository", f)
		}
	}
	for _, f := range s.DeviceTrees {
		if !filepath.IsLocal(f) || filepath.Ext(f) != ".dtb" {
			return fmt.Errorf("device tree %q is not the path of a .dtb", f)
		}
	}
	return nil
}

// crossPrefix is the tool chain's prefix for arch, empty on that architecture.
func crossPrefix(arch string) string {
	if arch == runtime.GOARCH {
		return ""
	}
	return arches[arch].prefix
}
