package image

import (
	"context"
	"os"
	"path/filepath"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/image/debian"
	"github.com/digital-mycelium/os/image/kernel"
	"github.com/digital-mycelium/os/image/uki"
)

const (
	// coffARM64 is the machine type in an OS file of pieces.
	coffARM64 = 0xaa64
	// firmwareLicense is the licence of a Raspberry Pi's firmware: it may be passed on
	// unchanged, with its text, for use on a Raspberry Pi.
	firmwareLicense = "LicenseRef-Broadcom-Raspberry-Pi"
)

// fetchRaspberryPi returns the firmware's files in a slot, which stand in for the boot
// stub, and those on the boot partition, which stand in for the loader.
func (b *builder) fetchRaspberryPi(ctx context.Context) ([]component.Component, error) {
	lock, err := debian.Load(filepath.Join(b.repo, debian.LockPath))
	if err != nil {
		return nil, err
	}
	r := b.board.Firmware.RaspberryPi
	deb, pkg, err := lock.Fetch(ctx, r.Package, b.board.Arch)
	if err != nil {
		return nil, err
	}
	if b.firmware, err = debian.ExtractDir(ctx, deb); err != nil {
		return nil, err
	}
	var cs []component.Component
	for _, part := range []struct {
		name, path string
		files      []board.FirmwareFile
	}{{r.Package, "slot", r.Slot}, {r.Package + "-boot", "boot", r.Boot}} {
		c := b.own(part.name, pkg.Version, part.path, part.name)
		c.Source, c.License = pkg.PURL(), firmwareLicense
		if err := b.join(c.File, part.files); err != nil {
			return nil, err
		}
		cs = append(cs, c)
	}
	return cs, nil
}

// join writes files of the firmware's package one behind the other, to be measured.
func (b *builder) join(path string, files []board.FirmwareFile) error {
	var all []byte
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(b.firmware, f.Path))
		if err != nil {
			return err
		}
		all = append(all, content...)
	}
	return os.WriteFile(path, all, 0o644)
}

// writePieces puts an OS file of pieces together.
func (b *builder) writePieces(path string, p *parts, ramfs []byte) error {
	linux, err := os.ReadFile(p.kernel.File)
	if err != nil {
		return err
	}
	files, err := b.slotFiles(p)
	if err != nil {
		return err
	}
	r := b.board.Firmware.RaspberryPi
	data, err := uki.BuildPieces(uki.Piecewise{
		Parts: uki.Parts{
			Linux: linux, Initrd: ramfs, OSRelease: OSRelease(b.version.Name, b.board.Name),
			CmdLine: b.commandLine(),
			Uname:   kernelRelease(nil, p.kernel.Version),
		},
		Machine: coffARM64, Files: files,
		CmdLineName: "cmdline.txt", InitrdName: r.Initramfs, LinuxName: r.Kernel,
	})
	if err != nil {
		return err
	}
	return b.keepOSFile(path, data)
}

// slotFiles reads what the firmware wants to find in a slot: its configuration, its own
// files and the device trees.
func (b *builder) slotFiles(p *parts) ([]uki.NamedFile, error) {
	r := b.board.Firmware.RaspberryPi
	type source struct{ name, path string }
	sources := []source{{"config.txt", filepath.Join(b.repo, "board", r.Config)}}
	for _, f := range r.Slot {
		sources = append(sources, source{f.Install, filepath.Join(b.firmware, f.Path)})
	}
	for _, tree := range b.board.Kernel.DeviceTrees {
		name := filepath.Base(tree)
		if other, ok := r.Rename[name]; ok {
			name = other
		}
		sources = append(sources, source{name, kernel.DeviceTree(p.kernel, tree)})
	}
	var files []uki.NamedFile
	for _, s := range sources {
		content, err := os.ReadFile(s.path)
		if err != nil {
			return nil, err
		}
		files = append(files, uki.NamedFile{Name: s.name, Content: content})
	}
	return files, nil
}
