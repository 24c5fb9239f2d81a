// Package image builds the product's files for a board: the OS file, the disk
// image with it, and the bill of materials.
//
// The same commit gives the same bytes: every time in the output is the
// commit's, every identifier follows from the content or the board's name.
// What takes long is kept in the build cache by the content of its inputs.
// Neither root nor loop devices are needed.
package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/semver"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/image/disk"
	"github.com/digital-mycelium/os/image/sbom"
	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/initramfs"
)

// The files that Build leaves in its output directory.
const (
	OSFile    = "os.efi"
	DiskImage = "disk.img"
	Manifest  = "manifest.json"
)

// Options say what to build.
type Options struct {
	// RepoRoot is the repository's root directory.
	RepoRoot string
	// Board is the board's name.
	Board string
	// Changed is the board itself, in place of the one called Board: for tests.
	Changed *board.Board
	// Out is the directory that gets the files; it is created.
	Out string
	// Log gets a line when a step begins and when it ends.
	Log io.Writer
	// Version is the release's; the one of the source when empty (SourceVersion).
	Version string
	// Variant is the one of the board that the disk image is for, where the board has
	// some; the first one when empty.
	Variant string
	// Config is the machine configuration on the disk image, disk.ExampleConfig
	// when empty. The OS file does not depend on it.
	Config []byte
	// KernelArgs are appended to the board's kernel command line.
	KernelArgs string
	// Compress makes Compressed, BlockMap and Checksums as well.
	Compress bool
	// SecureBootKeys is a directory with keys of package secureboot, with which the OS
	// file and the boot loader are signed; empty for images without a signature.
	SecureBootKeys string
}

// Result is what was built.
type Result struct {
	Version string
	// Size is the OS file's in bytes.
	Size int64
}

// builder is one build.
type builder struct {
	repo, out, work string
	variant         string
	config          []byte
	kernelArgs      string
	compressed      bool
	board           *board.Board
	version         Version
	log             *progress
	// firmware is the directory with the files of a Raspberry Pi's firmware package.
	firmware string
	// secure signs what the firmware starts; nil for no signatures.
	secure *secureBoot
}

// Build builds the files for a board. They appear in the output directory one
// by one, each only when it is whole; builds into one directory may overlap.
func Build(ctx context.Context, o Options) (*Result, error) {
	b := &builder{
		repo: o.RepoRoot, out: o.Out, variant: o.Variant, config: o.Config, kernelArgs: o.KernelArgs, compressed: o.Compress,
		log: newProgress(o.Log, time.Now),
	}
	err := checkKernelArgs(o.KernelArgs)
	if err != nil {
		return nil, err
	}
	if b.board = o.Changed; b.board == nil {
		if b.board, err = board.Load(o.Board); err != nil {
			return nil, err
		}
	}
	if err := b.checkVariant(); err != nil {
		return nil, err
	}
	if b.secure, err = loadSecureBoot(o.SecureBootKeys, b.board); err != nil {
		return nil, err
	}
	if b.version, err = SourceVersion(ctx, o.RepoRoot); err != nil {
		return nil, err
	}
	if o.Version != "" {
		if !semver.IsValid("v" + o.Version) {
			return nil, fmt.Errorf("version %q: write a semantic version such as 1.2.3", o.Version)
		}
		b.version.Name = o.Version
	}
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return nil, fmt.Errorf("create the output directory: %w", err)
	}
	if b.work, err = os.MkdirTemp("", "mycelium-image"); err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(b.work) }()
	p, err := b.gather(ctx)
	if err != nil {
		return nil, err
	}
	if p.uboot, err = b.fetchUBoot(ctx); err != nil {
		return nil, err
	}
	if p.firmware, err = b.fetchFirmware(ctx); err != nil {
		return nil, err
	}
	return b.assemble(ctx, p)
}

// assemble makes the files out of their parts.
func (b *builder) assemble(ctx context.Context, p *parts) (*Result, error) {
	var root string
	err := b.log.step("root", func() (_ string, err error) {
		root, err = b.packRoot(ctx, p.root)
		return sizeOf(root), err
	})
	if err != nil {
		return nil, err
	}
	var ramfs *initramfs.Result
	err = b.log.step("initramfs", func() (_ string, err error) {
		if ramfs, err = initramfs.Build(ctx, initramfs.Config{Init: p.init.File, Root: root, Arch: b.board.Arch, Firmware: p.firmware.files}); err != nil {
			return "", err
		}
		return mebibytes(int64(len(ramfs.Data))), nil
	})
	if err != nil {
		return nil, err
	}
	efi := filepath.Join(b.work, OSFile)
	err = b.log.step("OS file", func() (string, error) {
		write := b.writeOSFile
		if b.board.Firmware.RaspberryPi != nil {
			write = b.writePieces
		}
		err := write(efi, p, ramfs.Data)
		return sizeOf(efi), err
	})
	if err != nil {
		return nil, err
	}
	if err := b.share(p, ramfs, root); err != nil {
		return nil, err
	}
	res := &Result{Version: b.version.Name}
	err = b.log.step("manifest", func() (_ string, err error) {
		res.Size, err = b.writeManifest(ctx, p, efi)
		return fmt.Sprintf("%d components", len(p.all())), err
	})
	if err != nil {
		return nil, err
	}
	if err := b.dropOld(); err != nil {
		return nil, err
	}
	err = b.log.step("disk image", func() (string, error) {
		spec := disk.Spec{Board: b.board, OSFile: efi, Boot: p.boot, UBoot: b.placedUBoot(p.uboot), Time: b.version.Time, Config: b.config, Firmware: b.firmware}
		if err := disk.Write(filepath.Join(b.out, DiskImage), spec); err != nil {
			return "", err
		}
		return DiskImage, errors.Join(b.publish(OSFile), b.publish(Manifest))
	})
	if err != nil || !b.compressed {
		return res, err
	}
	return res, b.log.step("compressed", b.compress)
}

// writeOSFile puts the unified kernel image together.
func (b *builder) writeOSFile(path string, p *parts, ramfs []byte) error {
	stub, err := os.ReadFile(p.stub.File)
	if err != nil {
		return err
	}
	kernel, err := os.ReadFile(p.kernel.File)
	if err != nil {
		return err
	}
	data, err := uki.Build(uki.Parts{
		Stub: stub, Linux: kernel, Initrd: ramfs,
		OSRelease: OSRelease(b.version.Name, b.board.Name),
		CmdLine:   b.commandLine(),
		Uname:     kernelRelease(kernel, p.kernel.Version),
		BIOS:      b.board.Firmware.BIOS != nil,
	})
	if err != nil {
		return err
	}
	if data, err = b.secure.sign(data); err != nil {
		return err
	}
	return b.keepOSFile(path, data)
}

// keepOSFile stores an OS file that is not too large.
func (b *builder) keepOSFile(path string, data []byte) error {
	if limit := b.board.OSFile.LimitMiB << 20; int64(len(data)) > limit {
		return fmt.Errorf("the OS file has %s, the limit is %s: see where it goes with `mycelium image sizes`", mebibytes(int64(len(data))), mebibytes(limit))
	}
	return os.WriteFile(path, data, 0o644)
}

// OSRelease returns what os-release(5) is to say of the system.
func OSRelease(version, board string) string {
	return fmt.Sprintf("ID=mycelium\nNAME=\"Digital Mycelium OS\"\nPRETTY_NAME=\"Digital Mycelium OS %s\"\n"+
		"VERSION_ID=%q\nVARIANT_ID=%s\nHOME_URL=\"https://github.com/digital-mycelium/os\"\n", version, version, board)
}

// writeManifest writes the bill of materials into the work directory and returns
// the OS file's size.
func (b *builder) writeManifest(ctx context.Context, p *parts, efi string) (int64, error) {
	st, err := os.Stat(efi)
	if err != nil {
		return 0, err
	}
	m := sbom.Image{Board: b.board.Name, Version: b.version.Name, Size: st.Size(), Created: b.version.Time, Modules: map[string][]sbom.Module{}}
	if m.SHA256, err = cache.SumFile(efi); err != nil {
		return 0, err
	}
	if m.Tools, err = toolVersions(ctx); err != nil {
		return 0, err
	}
	m.Components = p.all()
	for _, c := range m.Components {
		if !isGo(c.File) {
			continue
		}
		if m.Modules[c.Name], err = sbom.Modules(ctx, c.File); err != nil {
			return 0, err
		}
	}
	data, err := sbom.Write(m)
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(b.work, Manifest), data, 0o644); err != nil {
		return 0, err
	}
	return m.Size, nil
}

// publish moves a finished file from the work directory to the output.
func (b *builder) publish(name string) error {
	data, err := os.ReadFile(filepath.Join(b.work, name))
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(b.out, name+".tmp*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone already when all went well
	if _, err := tmp.Write(data); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Chmod(0o644); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), filepath.Join(b.out, name))
}

func sizeOf(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return "absent"
	}
	return mebibytes(st.Size())
}

func mebibytes(n int64) string { return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20)) }
