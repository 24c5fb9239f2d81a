package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image"
	"github.com/digital-mycelium/os/image/debian"
	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/pkg/identity"
)

// OSFile is an OS file to update to.
type OSFile struct {
	Path, Version string
	// Board is the one that it is for.
	Board string
	// Size is in bytes.
	Size   int64
	Digest [sha256.Size]byte
}

// Newer builds the image under test once more, as another version.
func (s *Suite) Newer(ctx context.Context, version string) (OSFile, error) {
	out := filepath.Join(s.Out, s.Board, "release-"+version)
	_, err := image.Build(ctx, image.Options{RepoRoot: s.Root, Board: s.Board, Out: out, Log: io.Discard, Version: version})
	if err != nil {
		return OSFile{}, err
	}
	return s.openOSFile(filepath.Join(out, image.OSFile), version)
}

// Variant takes the OS file under test apart, has it changed, and puts it together
// as a file of another version in dir.
func (s *Suite) Variant(ctx context.Context, dir, version string, change func(*uki.Parts) error) (OSFile, error) {
	parts, err := s.parts(ctx)
	if err == nil {
		err = change(&parts)
	}
	if err != nil {
		return OSFile{}, fmt.Errorf("change the OS file: %w", err)
	}
	parts.OSRelease = image.OSRelease(version, s.Board)
	data, err := uki.Build(parts)
	if err != nil {
		return OSFile{}, err
	}
	return s.saveOSFile(dir, version, data)
}

// saveOSFile puts an OS file into dir.
func (s *Suite) saveOSFile(dir, version string, data []byte) (OSFile, error) {
	path := filepath.Join(dir, version+".efi")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return OSFile{}, err
	}
	return s.openOSFile(path, version)
}

// parts are what the OS file under test is made of.
func (s *Suite) parts(ctx context.Context) (p uki.Parts, err error) {
	f, err := os.Open(filepath.Join(filepath.Dir(s.Image), image.OSFile))
	if err != nil {
		return p, fmt.Errorf("%w: make image BOARD=%s", err, s.Board)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return p, err
	}
	file, err := uki.Parse(f, st.Size())
	if err != nil {
		return p, err
	}
	var command, uname []byte
	for name, into := range map[string]*[]byte{".cmdline": &command, ".uname": &uname, ".initrd": &p.Initrd, ".linux": &p.Linux} {
		if *into, err = file.ReadSection(name); err != nil {
			return p, err
		}
	}
	p.CmdLine, p.Uname = string(command), string(uname)
	b, err := board.Load(s.Board)
	if err != nil {
		return p, err
	}
	p.BIOS = b.Firmware.BIOS != nil
	p.Stub, err = s.stub(ctx, b)
	return p, err
}

// stub reads the boot stub of the board from the package that the image takes it from.
func (s *Suite) stub(ctx context.Context, b *board.Board) ([]byte, error) {
	lock, err := debian.Load(filepath.Join(s.Root, debian.LockPath))
	if err != nil {
		return nil, err
	}
	deb, _, err := lock.Fetch(ctx, b.Firmware.EFI.Stub.Package, b.Arch)
	if err != nil {
		return nil, err
	}
	path, err := debian.Extract(ctx, deb, b.Firmware.EFI.Stub.Path)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func (s *Suite) openOSFile(path, version string) (OSFile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return OSFile{}, err
	}
	return OSFile{Path: path, Version: version, Board: s.Board, Size: int64(len(data)), Digest: sha256.Sum256(data)}, nil
}

// Developer signs OS files for a machine's network.
type Developer struct{ Key identity.PrivateKey }

// NewDeveloper makes a developer's key.
func NewDeveloper() Developer { return Developer{identity.GenerateKey()} }

// Sign returns the statement that lets the machines of a network take the file.
func (d Developer) Sign(network identity.NetworkID, f OSFile, change func(*identity.OSFile)) ([]byte, error) {
	o := identity.OSFile{
		Network: network, Key: d.Key.Public(), Version: f.Version, Board: f.Board,
		Digest: f.Digest, Size: uint64(f.Size), NotAfter: time.Now().Add(time.Hour),
	}
	if change != nil {
		change(&o)
	}
	return identity.Sign(d.Key, o)
}

// BadInit puts a program into an OS file's place of PID 1 that fails as mode says; see
// package badinit.
func (s *Suite) BadInit(p *uki.Parts, mode string) error {
	program, err := s.build("ci/lab/badinit", "badinit", "")
	if err != nil {
		return err
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := cpio.Newc.Writer(&b)
	if err := w.WriteRecord(cpio.StaticFile("init", string(content), 0o755)); err != nil {
		return err
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return err
	}
	// The kernel unpacks archives one after the other; each begins on four bytes.
	pad := make([]byte, (4-len(p.Initrd)%4)%4)
	p.Initrd = bytes.Join([][]byte{p.Initrd, pad, b.Bytes()}, nil)
	p.CmdLine += " panic=1 badinit=" + mode
	return nil
}

// hangingCode is "jmp $" of x86: an EFI program that never returns.
var hangingCode = []byte{0xeb, 0xfe}

// HangingKernel is in a kernel's place what stands still at its first instruction: a
// PE32+ image for EFI on x86-64 of one section.
func HangingKernel() []byte {
	const headers, size = 0x200, 0x2000
	b := make([]byte, headers+0x200)
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], 0x40)
	copy(b[0x40:], "PE\x00\x00")
	coff := b[0x44:]
	le.PutUint16(coff, 0x8664)     // x86-64
	le.PutUint16(coff[2:], 1)      // sections
	le.PutUint16(coff[16:], 0xf0)  // size of the optional header
	le.PutUint16(coff[18:], 0x22e) // executable, large addresses, stripped
	opt := coff[20:]
	le.PutUint16(opt, 0x20b)        // PE32+
	le.PutUint32(opt[4:], 0x200)    // size of code
	le.PutUint32(opt[16:], 0x1000)  // entry point
	le.PutUint32(opt[20:], 0x1000)  // base of code
	le.PutUint32(opt[32:], 0x1000)  // alignment in memory
	le.PutUint32(opt[36:], 0x200)   // alignment in the file
	le.PutUint16(opt[44:], 1)       // image version: a Linux kernel that takes its initrd from EFI
	le.PutUint32(opt[56:], size)    // in memory
	le.PutUint32(opt[60:], headers) // size of the headers
	le.PutUint16(opt[68:], 10)      // subsystem: EFI application
	le.PutUint32(opt[108:], 16)     // data directories
	section := opt[0xf0:]
	copy(section, ".text")
	le.PutUint32(section[8:], 0x200) // the stub refuses more in the file than in memory
	le.PutUint32(section[12:], 0x1000)
	le.PutUint32(section[16:], 0x200)
	le.PutUint32(section[20:], headers)
	le.PutUint32(section[36:], 0x60000020) // code, executable, readable
	copy(b[headers:], hangingCode)
	return b
}
