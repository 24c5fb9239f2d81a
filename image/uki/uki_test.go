package uki

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/image/uki/ukitest"
)

func testParts(stub []byte) Parts {
	return Parts{
		Stub: stub, OSRelease: "ID=mycelium\n", CmdLine: "console=ttyS0", Uname: "6.12.107",
		Linux: bytes.Repeat([]byte("kernel!"), 3001), Initrd: bytes.Repeat([]byte("initramfs"), 5003),
	}
}

func TestBuild(t *testing.T) {
	// 0 to 4 extra headers fit by chance of alignment or not at all: both ways.
	for room := range 12 {
		stub := ukitest.Stub(room)
		p := testParts(stub)
		image, err := Build(p)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			".osrel": p.OSRelease, ".cmdline": p.CmdLine, ".uname": p.Uname,
			".linux": string(p.Linux), ".initrd": string(p.Initrd), ".text": strings.Repeat("\xc3", 100),
		} {
			if got, err := f.ReadSection(name); err != nil || string(got) != want {
				t.Errorf("room %d: section %s: %v, %d bytes, want %d", room, name, err, len(got), len(want))
			}
		}
		checkRules(t, image)
		again, err := Build(p)
		if err != nil || !bytes.Equal(image, again) {
			t.Error("two builds differ")
		}
	}
}

// checkRules holds image against what the PE format demands of sections.
func checkRules(t *testing.T, image []byte) {
	t.Helper()
	f, err := pe.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	opt := f.OptionalHeader.(*pe.OptionalHeader64)
	address, offset := opt.SizeOfHeaders, opt.SizeOfHeaders
	for _, s := range f.Sections {
		if s.VirtualAddress < address || s.Offset < offset {
			t.Errorf("section %s at %#x, file %#x overlaps the one before", s.Name, s.VirtualAddress, s.Offset)
		}
		if s.VirtualAddress%opt.SectionAlignment != 0 || s.Offset%opt.FileAlignment != 0 || s.Size%opt.FileAlignment != 0 {
			t.Errorf("section %s at %#x, file %#x+%#x is not aligned", s.Name, s.VirtualAddress, s.Offset, s.Size)
		}
		address, offset = s.VirtualAddress+s.VirtualSize, s.Offset+s.Size
	}
	if want := uint32(alignUp(uint64(address), uint64(opt.SectionAlignment))); opt.SizeOfImage != want {
		t.Errorf("SizeOfImage %#x, want %#x", opt.SizeOfImage, want)
	}
	if last := f.Sections[len(f.Sections)-1].Name; last != ".linux" {
		t.Errorf("last section is %s", last)
	}
	if len(image)%8 != 0 || int(offset) != len(image) {
		t.Errorf("file of %d bytes, sections end at %d", len(image), offset)
	}
	own, err := Parse(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	if opt.CheckSum != own.checksum(image) {
		t.Errorf("checksum %#x, want %#x", opt.CheckSum, own.checksum(image))
	}
}

func TestObjdump(t *testing.T) {
	tool, err := exec.LookPath("objdump")
	if err != nil {
		t.Fatal("objdump is missing: apt-get install binutils")
	}
	image, err := Build(testParts(ukitest.Stub(0)))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "os.efi")
	if err := os.WriteFile(path, image, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "-h", path).CombinedOutput()
	if err != nil {
		t.Fatalf("objdump -h: %v\n%s", err, out)
	}
	for _, want := range []string{".osrel", ".cmdline", ".uname", ".initrd", ".linux"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("objdump does not see %s:\n%s", want, out)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	good := testParts(ukitest.Stub(5))
	for name, change := range map[string]func(*Parts){
		"no stub":      func(p *Parts) { p.Stub = nil },
		"no kernel":    func(p *Parts) { p.Linux = nil },
		"a UKI itself": func(p *Parts) { p.Stub, _ = Build(good) },
		"truncated":    func(p *Parts) { p.Stub = p.Stub[:len(p.Stub)-100] },
		"headers reach into the first section": func(p *Parts) {
			p.Stub = append([]byte(nil), ukitest.Stub(0)...)
			binary.LittleEndian.PutUint32(p.Stub[64+4+coffSize+optionalSize+16*8+12:], 0x200)
		},
	} {
		p := good
		change(&p)
		if _, err := Build(p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSectionTwice(t *testing.T) {
	f := &File{Sections: []Section{{Name: ".x"}, {Name: ".x"}}}
	if _, err := f.Section(".x"); err == nil {
		t.Error("two sections of one name: no error")
	}
	if _, err := f.Section(".y"); err == nil {
		t.Error("no section: no error")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(ukitest.Stub(0))
	if image, err := Build(testParts(ukitest.Stub(1))); err == nil {
		f.Add(image[:2048])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, s := range file.Sections {
			if b, err := file.ReadSection(s.Name); err == nil && len(b) > len(data) {
				t.Errorf("section %s is longer than the file", s.Name)
			}
		}
		// A stub that parses either builds or is refused; what is built parses.
		image, err := Build(testParts(data))
		if err != nil {
			return
		}
		again, err := Parse(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			t.Fatalf("what was built does not parse: %v", err)
		}
		if _, err := again.ReadSection(".linux"); err != nil {
			t.Fatal(err)
		}
		if errors.Is(err, ErrFormat) {
			t.Fatal(err)
		}
	})
}
