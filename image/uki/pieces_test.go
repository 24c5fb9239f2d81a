package uki

import (
	"bytes"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/update/pieces"
)

func somePieces() Piecewise {
	return Piecewise{
		Parts:   Parts{OSRelease: "ID=mycelium\n", CmdLine: "console=tty1", Uname: "7.2.12", Linux: bytes.Repeat([]byte("k"), 5000), Initrd: []byte("initramfs")},
		Machine: 0xaa64, CmdLineName: "cmdline.txt", InitrdName: "initramfs", LinuxName: "kernel8.img",
		Files: []NamedFile{{"config.txt", []byte("arm_64bit=1\n")}, {"start4.elf", bytes.Repeat([]byte("s"), 9000)}},
	}
}

// TestBuildPieces: the file has the sections of a unified kernel image, and the same
// bytes are pieces by their names.
func TestBuildPieces(t *testing.T) {
	p := somePieces()
	b, err := BuildPieces(p)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{".osrel": p.OSRelease, ".uname": p.Uname, ".cmdline": p.CmdLine, ".linux": string(p.Linux), ".initrd": string(p.Initrd)} {
		if got, err := f.ReadSection(name); err != nil || string(got) != want {
			t.Errorf("section %s has %d bytes, %v", name, len(got), err)
		}
	}
	list, err := pieces.Parse(b, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"cmdline.txt": p.CmdLine, "kernel8.img": string(p.Linux), "initramfs": string(p.Initrd)}
	for _, file := range p.Files {
		want[file.Name] = string(file.Content)
	}
	for _, piece := range list[1:] {
		if got := string(b[piece.Offset:][:piece.Size]); got != want[piece.Name] {
			t.Errorf("piece %s has %d bytes, want %d", piece.Name, len(got), len(want[piece.Name]))
		}
		delete(want, piece.Name)
	}
	if len(want) > 0 || list[0].Name != headName {
		t.Errorf("no pieces: %v of %+v", want, list)
	}
	again, err := BuildPieces(p)
	if err != nil || !bytes.Equal(again, b) {
		t.Errorf("other bytes the second time, %v", err)
	}
}

func TestBuildPiecesRefuses(t *testing.T) {
	for want, change := range map[string]func(*Piecewise){
		".initrd is empty": func(p *Piecewise) { p.Initrd = nil },
		"no file of":       func(p *Piecewise) { p.LinuxName = "a b/c" },
		"the list of":      func(p *Piecewise) { p.LinuxName = strings.Repeat("k", 4000) },
	} {
		p := somePieces()
		change(&p)
		if _, err := BuildPieces(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
