package image

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/image/debian"
	"github.com/digital-mycelium/os/image/disk"
	"github.com/digital-mycelium/os/image/grub"
	"github.com/digital-mycelium/os/image/kernel"
	"github.com/digital-mycelium/os/rootfs/cacerts"
	"github.com/digital-mycelium/os/rootfs/e2fsck"
	"github.com/digital-mycelium/os/rootfs/ext4template"
	"github.com/digital-mycelium/os/rootfs/k3sbuild"
	"github.com/digital-mycelium/os/rootfs/linetable"
	"github.com/digital-mycelium/os/rootfs/nft"
	"github.com/digital-mycelium/os/rootfs/pause"
)

// parts is everything that goes into an OS file and onto its disk.
type parts struct {
	kernel, stub, loader, init component.Component
	// bios is what starts the OS file on machines without UEFI; empty for boards that
	// have none of these.
	bios []component.Component
	// uboot stands on the disk before the partitions, if the board has it.
	uboot []component.Component
	// firmware is what drivers load.
	firmware driverFirmware
	// root stands in the root file system.
	root []component.Component
	// boot is the directory of what a disk needs beside the OS file. Its files stand
	// in the root, too.
	boot string
}

// all returns every part. The loader is among the root's where a system can install
// itself.
func (p *parts) all() []component.Component {
	own := []component.Component{p.kernel, p.stub, p.init}
	if p.boot == "" {
		own = append(own, p.loader)
	}
	return slices.Concat(own, p.bios, p.uboot, p.firmware.components, p.root)
}

// partStep builds or fetches some of the parts.
type partStep struct {
	name string
	// root says that the components stand in the root file system; otherwise
	// their order is that of parts' fields.
	root bool
	make func(ctx context.Context) ([]component.Component, error)
}

// one makes a step's function of one that yields a single component.
func one(c component.Component, err error) ([]component.Component, error) {
	return []component.Component{c}, err
}

// steps lists where each part comes from.
func (b *builder) steps() []partStep {
	arch := b.board.Arch
	return []partStep{
		{"kernel", false, func(ctx context.Context) ([]component.Component, error) { return one(b.buildKernel(ctx)) }},
		{"boot loader", false, b.fetchLoader},
		{"init", false, func(ctx context.Context) ([]component.Component, error) { return one(b.buildInit(ctx)) }},
		{"GRUB", false, b.buildGRUB},
		{"k3s", true, func(ctx context.Context) ([]component.Component, error) {
			k3s, rt, err := k3sbuild.Build(ctx, b.repo, arch, k3sbuild.Options{})
			return []component.Component{k3s, rt}, err
		}},
		{"nft", true, func(ctx context.Context) ([]component.Component, error) { return one(nft.Build(ctx, b.repo, arch)) }},
		{"e2fsck", true, func(ctx context.Context) ([]component.Component, error) { return one(e2fsck.Build(ctx, b.repo, arch)) }},
		{"wpa_supplicant", true, b.buildSupplicant},
		{"certificates", true, func(ctx context.Context) ([]component.Component, error) { return one(cacerts.Build(ctx, b.repo)) }},
		{"ext4 templates", true, ext4template.Build},
		{"pause image", true, func(ctx context.Context) ([]component.Component, error) { return one(b.buildPause(ctx)) }},
	}
}

// gather builds and fetches the parts side by side.
func (b *builder) gather(ctx context.Context) (*parts, error) {
	steps := b.steps()
	made := make([][]component.Component, len(steps))
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range steps {
		g.Go(func() error {
			return b.log.step(s.name, func() (string, error) {
				cs, err := s.make(ctx)
				if err != nil {
					return "", err
				}
				made[i] = cs
				return measure(cs)
			})
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	p := &parts{}
	var outside []component.Component
	for i, s := range steps {
		if s.root {
			p.root = append(p.root, made[i]...)
		} else {
			outside = append(outside, made[i]...)
		}
	}
	p.kernel, p.stub, p.loader, p.init, p.bios = outside[0], outside[1], outside[2], outside[3], outside[4:]
	if err := b.log.step("boot files", func() (string, error) { return b.bootFiles(p) }); err != nil {
		return nil, err
	}
	return p, b.log.step("line tables", func() (string, error) { return b.stripLines(p) })
}

// bootDir is where the root has what a disk needs beside the OS file: a system
// that runs from memory installs itself with it.
const bootDir = "/share/boot/"

// bootFiles puts what a disk needs beside the OS file into the root.
func (b *builder) bootFiles(p *parts) (string, error) {
	if b.board.Firmware.EFI == nil {
		return "none", nil // its disks are written as images alone
	}
	p.boot = filepath.Join(b.work, "boot")
	if err := b.signLoader(p); err != nil {
		return "", err
	}
	loaders := disk.Loaders{EFI: p.loader.File, Keys: b.secure.keys()}
	for _, c := range p.bios {
		loaders.GRUB = c.File
	}
	names, err := disk.WriteBoot(p.boot, b.board, loaders)
	if err != nil {
		return "", err
	}
	var cs []component.Component
	for _, name := range names {
		c := b.own("boot/"+name, "1", bootDir+name, filepath.Join("boot", filepath.FromSlash(name)))
		if name == b.board.Firmware.EFI.Loader.Install {
			c = p.loader
			c.Path = bootDir + name
		}
		cs = append(cs, c)
	}
	_, err = measure(cs)
	p.root = append(p.root, cs...)
	return fmt.Sprintf("%d files", len(names)), err
}

// stripLines replaces every Go program by a copy without its line tables.
func (b *builder) stripLines(p *parts) (string, error) {
	total := 0
	for _, c := range append(pointers(p.root), &p.init) {
		if !isGo(c.File) {
			continue
		}
		program, err := os.ReadFile(c.File)
		if err != nil {
			return "", err
		}
		n, err := linetable.Strip(program)
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.Name, err)
		}
		total += n
		c.File = filepath.Join(b.work, c.Name+".stripped")
		if err := os.WriteFile(c.File, program, 0o755); err != nil {
			return "", err
		}
		if c.SHA256, err = cache.SumFile(c.File); err != nil {
			return "", err
		}
	}
	return mebibytes(int64(total)) + " removed", nil
}

func pointers(cs []component.Component) []*component.Component {
	ps := make([]*component.Component, len(cs))
	for i := range cs {
		ps[i] = &cs[i]
	}
	return ps
}

// measure fills in what follows from the components' files and returns their
// names with their versions.
func measure(cs []component.Component) (string, error) {
	var names []string
	for i := range cs {
		c := &cs[i]
		st, err := os.Stat(c.File)
		if err != nil {
			return "", fmt.Errorf("measure %s: %w", c.Name, err)
		}
		c.RawSize = st.Size()
		if c.SHA256, err = cache.SumFile(c.File); err != nil {
			return "", fmt.Errorf("measure %s: %w", c.Name, err)
		}
		names = append(names, c.Name+" "+c.Version)
	}
	return strings.Join(names, ", "), nil
}

func (b *builder) buildKernel(ctx context.Context) (component.Component, error) {
	k := b.board.Kernel
	c, _, err := kernel.Build(ctx, b.repo, kernel.Spec{
		Source: k.Source, Fragments: k.Fragments, Target: k.Target, Image: k.Image, Arch: b.board.Arch,
		Patches: k.Patches, DeviceTrees: k.DeviceTrees,
	})
	return c, err
}

// kernelRelease returns what uname -r will say: an x86 image carries it
// (Documentation/arch/x86/boot.rst, kernel_version), for others it is the
// package's version without Debian's revision.
func kernelRelease(image []byte, version string) string {
	const pointer, base, magicAt = 0x20e, 0x200, 0x202
	if len(image) > magicAt+16 && string(image[magicAt:magicAt+4]) == "HdrS" {
		at := base + int(binary.LittleEndian.Uint16(image[pointer:]))
		if at < len(image) {
			text, _, _ := bytes.Cut(image[at:min(len(image), at+256)], []byte{0})
			if release, _, _ := strings.Cut(string(text), " "); release != "" {
				return release
			}
		}
	}
	release, _, _ := strings.Cut(version, "-")
	return release
}

// fetchLoader returns the boot stub and the boot loader.
func (b *builder) fetchLoader(ctx context.Context) ([]component.Component, error) {
	if b.board.Firmware.RaspberryPi != nil {
		return b.fetchRaspberryPi(ctx)
	}
	lock, err := debian.Load(filepath.Join(b.repo, debian.LockPath))
	if err != nil {
		return nil, err
	}
	var cs []component.Component
	for _, f := range []struct {
		name, path string
		from       board.PackageFile
	}{
		{"systemd-stub", "stub", b.board.Firmware.EFI.Stub},
		{"systemd-boot", b.board.Firmware.EFI.Loader.Install, b.board.Firmware.EFI.Loader},
	} {
		deb, pkg, err := lock.Fetch(ctx, f.from.Package, b.board.Arch)
		if err != nil {
			return nil, err
		}
		c := component.Component{Name: f.name, Version: pkg.Version, Source: pkg.PURL(), License: "LGPL-2.1-or-later", Path: f.path}
		if c.File, err = debian.Extract(ctx, deb, f.from.Path); err != nil {
			return nil, err
		}
		cs = append(cs, c)
	}
	return cs, nil
}

// buildGRUB makes what boards that have BIOS machines start with on these.
func (b *builder) buildGRUB(ctx context.Context) ([]component.Component, error) {
	if b.board.Firmware.BIOS == nil {
		return nil, nil
	}
	return one(grub.Build(ctx, b.repo, b.board))
}

// buildPause builds the pause image.
func (b *builder) buildPause(ctx context.Context) (component.Component, error) {
	data, err := pause.Archive(ctx, b.board.Arch)
	if err != nil {
		return component.Component{}, err
	}
	c := b.own("pause", pause.Version, "/share/images/pause.tar", "pause.tar")
	return c, os.WriteFile(c.File, data, 0o644)
}

// buildInit builds PID 1.
func (b *builder) buildInit(ctx context.Context) (component.Component, error) {
	c := b.own("init", b.version.Name, "init", "init")
	// Functions begin at multiples of 16 instead of amd64's 32 (arm64 has 16): init
	// lies in memory whole, and shrinks there by 1.3 %.
	ldflags := fmt.Sprintf("-s -w -buildid= -funcalign=16 -X main.version=%s -X main.buildTime=%d", b.version.Name, b.version.Time.Unix())
	return c, goBuild(ctx, b.repo, b.board.Arch, c.File, ldflags, "./cmd/init")
}

// own describes a component that is built from this repository into the work
// directory.
func (b *builder) own(name, version, path, file string) component.Component {
	return component.Component{
		Name: name, Version: version, License: "Apache-2.0", Path: path, File: filepath.Join(b.work, file),
		Source: "pkg:github/digital-mycelium/os@" + strings.ReplaceAll(b.version.Name, "+", "%2B"),
	}
}
