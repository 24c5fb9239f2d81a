// Package wpasupplicant builds a static wpa_supplicant, which does the handshakes
// with wireless access points.
//
// It is compiled from Debian's source package with Debian's patches and linked with
// Debian's static libraries, for every architecture.
package wpasupplicant

import (
	"bytes"
	"context"
	_ "embed" // what is added to the source
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/image/debian"
	"github.com/digital-mycelium/os/rootfs/internal/static"
)

// Path is where the program stands in the root.
const Path = "/sbin/wpa_supplicant"

//go:embed supplicant.config
var options []byte

//go:embed csrc/absent.c
var absent []byte

// libraries are the packages of the C library and the static libraries.
var libraries = []string{"libc6-dev", "libssl-dev", "libnl-3-dev", "libnl-genl-3-dev"}

// builder holds what one build is made from.
type builder struct {
	tools static.Toolchain
	// source are the files of the source package by name, dirs the unpacked libraries.
	source map[string]string
	dirs   map[string]string
}

// Build returns the program for arch ("amd64", "arm64").
func Build(ctx context.Context, repoRoot, arch string) (component.Component, error) {
	tools, err := static.For(arch)
	if err != nil {
		return component.Component{}, fmt.Errorf("build wpa_supplicant: %w", err)
	}
	b := &builder{tools: tools, dirs: map[string]string{}}
	lock, err := debian.Load(filepath.Join(repoRoot, debian.LockPath))
	if err != nil {
		return component.Component{}, err
	}
	key, pkg, err := b.inputs(ctx, lock, arch)
	if err != nil {
		return component.Component{}, fmt.Errorf("build wpa_supplicant: %w", err)
	}
	dir, err := cache.Do(ctx, key, b.build)
	if err != nil {
		return component.Component{}, err
	}
	c := component.Component{
		Name:    "wpa_supplicant",
		Version: pkg.Version,
		Source:  pkg.PURL(),
		License: "BSD-3-Clause AND Apache-2.0 AND LGPL-2.1-only AND LGPL-2.1-or-later",
		Path:    Path,
		File:    filepath.Join(dir, "wpa_supplicant"),
	}
	c.SHA256, err = cache.SumFile(c.File)
	return c, err
}

// inputs fetches the packages and returns the key of what is made from them, and the
// source package.
func (b *builder) inputs(ctx context.Context, lock *debian.Lock, arch string) (*cache.Key, debian.Package, error) {
	key := cache.NewKey("wpa_supplicant", 1).Add("arch", arch).Add("options", string(options)).Add("absent", string(absent))
	source, pkg, err := lock.FetchSource(ctx, "wpa")
	if err != nil {
		return nil, pkg, err
	}
	b.source = source
	for _, f := range pkg.Files {
		key.Add("source", f.SHA256)
	}
	for _, name := range libraries {
		deb, lib, err := lock.Fetch(ctx, name, arch)
		if err != nil {
			return nil, pkg, err
		}
		key.Add("deb/"+name, lib.Files[0].SHA256)
		if b.dirs[name], err = debian.ExtractDir(ctx, deb); err != nil {
			return nil, pkg, err
		}
	}
	return key, pkg, b.tools.AddTo(ctx, key)
}

// build makes the program in dir.
func (b *builder) build(ctx context.Context, dir string) (err error) {
	work, err := os.MkdirTemp("", "wpa_supplicant")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := b.unpack(ctx, work); err != nil {
		return err
	}
	tree := filepath.Join(work, "wpa_supplicant")
	if err := os.WriteFile(filepath.Join(tree, ".config"), options, 0o644); err != nil {
		return err
	}
	rest, err := b.compileAbsent(ctx, work)
	if err != nil {
		return err
	}
	// What the source asks pkg-config for is given to it here.
	args := []string{
		fmt.Sprintf("-j%d", runtime.NumCPU()), "wpa_supplicant", "CC=" + b.tools.Compiler, "PKG_CONFIG=true", "CONFIG_NO_GITVER=y",
		"EXTRALIBS=" + rest + " " + strings.Join(static.End(b.libc()), " "),
	}
	cmd := exec.CommandContext(ctx, "make", args...)
	cmd.Dir = tree
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "SOURCE_DATE_EPOCH=0",
		"CFLAGS=" + strings.Join(b.compilerFlags(work), " "), "LDFLAGS=" + strings.Join(b.linkerFlags(), " "),
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make wpa_supplicant: %w\n%s", err, tail(out))
	}
	program, err := os.ReadFile(filepath.Join(tree, "wpa_supplicant"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "wpa_supplicant"), program, 0o755)
}

// compileAbsent compiles what the libraries want besides, and returns the object.
func (b *builder) compileAbsent(ctx context.Context, work string) (string, error) {
	source, object := filepath.Join(work, "absent.c"), filepath.Join(work, "absent.o")
	if err := os.WriteFile(source, absent, 0o644); err != nil {
		return "", err
	}
	return object, run(ctx, nil, b.tools.Compiler, "-Os", "-g0", "-fno-pie", "-fno-builtin", "-c", "-o", object, source)
}

// libc is where the C library's package has it.
func (b *builder) libc() string { return b.tools.Lib(b.dirs["libc6-dev"]) }

func (b *builder) compilerFlags(work string) []string {
	flags := []string{
		"-Os", "-g0", "-fno-pie", "-ffunction-sections", "-fdata-sections", "-D_GNU_SOURCE",
		"-ffile-prefix-map=" + work + "=wpa",
		"-isystem", filepath.Join(b.dirs["libnl-3-dev"], "usr/include/libnl3"),
	}
	for _, dir := range []string{filepath.Join("usr/include", b.tools.Triplet), "usr/include"} {
		flags = append(flags, "-isystem", filepath.Join(b.dirs["libssl-dev"], dir))
	}
	return flags
}

func (b *builder) linkerFlags() []string {
	flags := static.Flags()
	for _, name := range libraries {
		flags = append(flags, "-L"+b.tools.Lib(b.dirs[name]))
	}
	return append(flags, static.Begin(b.libc())...)
}

// unpack puts the source with Debian's patches into work.
func (b *builder) unpack(ctx context.Context, work string) error {
	for _, part := range []struct{ name, strip string }{{".orig.tar.xz", "1"}, {".debian.tar.xz", "0"}} {
		archive, err := b.part(part.name)
		if err != nil {
			return err
		}
		if err := run(ctx, nil, "tar", "-xJf", archive, "-C", work, "--strip-components="+part.strip, "--no-same-owner"); err != nil {
			return err
		}
	}
	series, err := os.ReadFile(filepath.Join(work, "debian/patches/series"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(series)) {
		name := strings.TrimSpace(line)
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		diff, err := os.ReadFile(filepath.Join(work, "debian/patches", name))
		if err != nil {
			return err
		}
		if err := run(ctx, diff, "patch", "--strip=1", "--force", "--silent", "--directory="+work); err != nil {
			return fmt.Errorf("apply %s: %w", name, err)
		}
	}
	return nil
}

// part returns the file of the source package whose name ends so.
func (b *builder) part(suffix string) (string, error) {
	for name, path := range b.source {
		if strings.HasSuffix(name, suffix) {
			return path, nil
		}
	}
	return "", fmt.Errorf("the source package wpa has no file *%s", suffix)
}

func run(ctx context.Context, stdin []byte, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, tail(out))
	}
	return nil
}

// tail returns the end of a tool's output.
func tail(out []byte) []byte { return bytes.TrimSpace(out[max(0, len(out)-4<<10):]) }
