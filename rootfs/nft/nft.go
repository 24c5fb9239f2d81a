// Package nft builds a static nft, the program that kube-proxy and the CNI
// plugins write their packet filter rules with.
//
// Debian has nftables' library only as a shared object. It is relinked
// (internal/relink) with the static libraries that it needs, also Debian's,
// and a small command line of our own: one program without a dynamic linker,
// for every architecture, that understands what the original does.
package nft

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/image/debian"
	"github.com/digital-mycelium/os/rootfs/internal/static"
	"github.com/digital-mycelium/os/rootfs/nft/internal/relink"
)

// Path is where the program stands in the root.
const Path = "/bin/nft"

//go:embed csrc/*.c
var sources embed.FS

// library is the package of the shared object; archives are the packages of
// the static libraries, in the order that they are linked in.
const library = "libnftables1"

var archives = []struct{ pkg, file string }{
	{"libnftnl-dev", "libnftnl.a"},
	{"libmnl-dev", "libmnl.a"},
	{"libjansson-dev", "libjansson.a"},
	{"libgmp-dev", "libgmp.a"},
}

// builder holds what one build is made from.
type builder struct {
	arch                 string
	tools                static.Toolchain
	version              string
	shared, header, libc string
	libraries            []string
}

// Build returns the program for arch ("amd64", "arm64").
func Build(ctx context.Context, repoRoot, arch string) (component.Component, error) {
	tools, err := static.For(arch)
	if err != nil {
		return component.Component{}, fmt.Errorf("build nft: %w", err)
	}
	b := &builder{arch: arch, tools: tools}
	lock, err := debian.Load(filepath.Join(repoRoot, debian.LockPath))
	if err != nil {
		return component.Component{}, err
	}
	key, pkg, err := b.inputs(ctx, lock)
	if err != nil {
		return component.Component{}, fmt.Errorf("build nft: %w", err)
	}
	dir, err := cache.Do(ctx, key, b.build)
	if err != nil {
		return component.Component{}, err
	}
	c := component.Component{
		Name:    "nftables",
		Version: pkg.Version,
		Source:  pkg.PURL(),
		License: "GPL-2.0-only AND LGPL-2.1-or-later AND MIT AND (LGPL-3.0-or-later OR GPL-2.0-or-later)",
		Path:    Path,
		File:    filepath.Join(dir, "nft"),
	}
	c.SHA256, err = cache.SumFile(c.File)
	return c, err
}

// inputs fetches the packages and returns the key of what is made from them,
// and the package of libnftables itself.
func (b *builder) inputs(ctx context.Context, lock *debian.Lock) (*cache.Key, debian.Package, error) {
	key := cache.NewKey("nft", 2).Add("arch", b.arch)
	fetch := func(name, arch string) (string, debian.Package, error) {
		deb, pkg, err := lock.Fetch(ctx, name, arch)
		if err != nil {
			return "", pkg, err
		}
		key.Add("deb/"+name, pkg.Files[0].SHA256)
		dir, err := debian.ExtractDir(ctx, deb)
		return dir, pkg, err
	}
	dir, pkg, err := fetch(library, b.arch)
	if err != nil {
		return nil, pkg, err
	}
	b.version, _, _ = strings.Cut(pkg.Version, "-")
	b.shared = filepath.Join(b.tools.Lib(dir), "libnftables.so.1")
	if dir, _, err = fetch("libnftables-dev", "amd64"); err != nil {
		return nil, pkg, err
	}
	b.header = filepath.Join(dir, "usr/include")
	if dir, _, err = fetch("libc6-dev", b.arch); err != nil {
		return nil, pkg, err
	}
	b.libc = b.tools.Lib(dir)
	for _, a := range archives {
		if dir, _, err = fetch(a.pkg, b.arch); err != nil {
			return nil, pkg, err
		}
		b.libraries = append(b.libraries, filepath.Join(b.tools.Lib(dir), a.file))
	}
	for _, name := range []string{"csrc/nft.c", "csrc/absent.c"} {
		text, err := sources.ReadFile(name)
		if err != nil {
			return nil, pkg, err
		}
		key.Add(name, string(text))
	}
	return key, pkg, b.tools.AddTo(ctx, key)
}

// build makes the program in dir.
func (b *builder) build(ctx context.Context, dir string) (err error) {
	work, err := os.MkdirTemp("", "nft")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	object, err := b.convert(work)
	if err != nil {
		return fmt.Errorf("relink %s: %w", filepath.Base(b.shared), err)
	}
	for _, name := range []string{"nft.c", "absent.c"} {
		text, err := sources.ReadFile("csrc/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(work, name), text, 0o644); err != nil {
			return err
		}
	}
	args := slices.Concat(
		[]string{"-Os", "-g0", "-Wall", "-Werror", "-fno-pie", "-ffunction-sections", "-I" + b.header, fmt.Sprintf("-DNFTABLES_VERSION=%q", b.version)},
		static.Flags(), []string{"-o", filepath.Join(dir, "nft")}, static.Begin(b.libc), []string{"nft.c", "absent.c", "library.s"},
		object.LinkFlags(), b.libraries, static.End(b.libc),
	)
	cmd := exec.CommandContext(ctx, b.tools.Compiler, args...)
	cmd.Dir = work
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", b.tools.Compiler, err, out)
	}
	return nil
}

// convert writes the relinked library's source into work.
func (b *builder) convert(work string) (*relink.Object, error) {
	f, err := os.Open(b.shared)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	o, err := relink.Convert(f)
	if err != nil {
		return nil, err
	}
	for name, data := range map[string][]byte{"library.s": o.Assembler, "text.bin": o.Text, "data.bin": o.Data} {
		if err := os.WriteFile(filepath.Join(work, name), data, 0o644); err != nil {
			return nil, err
		}
	}
	return o, nil
}
