package grub

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/pkg/update/bootenv"
)

func pc(t *testing.T) *board.Board {
	t.Helper()
	b, err := board.Load("pc")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestBuild makes the core image from the pinned packages, twice, and places it.
func TestBuild(t *testing.T) {
	c, err := Build(t.Context(), "../..", pc(t))
	if err != nil {
		t.Fatal(err)
	}
	first, err := cache.SumFile(c.File)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TZ", "Asia/Tokyo")
	again := t.TempDir()
	tl, _, err := prepare(t.Context(), "../..", pc(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := tl.run(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if second, err := cache.SumFile(filepath.Join(again, coreFile)); err != nil || second != first {
		t.Errorf("two builds differ: %s, %s, %v", first, second, err)
	}
	f, err := Read(c.File)
	if err != nil {
		t.Fatal(err)
	}
	const at = 2048
	code, core, err := f.Place(at, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if le.Uint64(code[0x5c:]) != at || code[0x66] != 0x90 || code[0x67] != 0x90 {
		t.Errorf("boot code: %x", code[0x58:0x68])
	}
	if le.Uint64(core[0x1f4:]) != at+1 || int(le.Uint16(core[0x1fc:])) != len(core)/512-1 || len(core)%512 != 0 {
		t.Errorf("block list %x of %d sectors", core[0x1f4:0x200], len(core)/512)
	}
	if _, _, err := f.Place(at, int64(len(f.Core)-1)); err == nil {
		t.Error("a partition that is too small: no error")
	}
	f.Boot = bytes.Clone(f.Boot)
	f.Boot[0x5c] = 9
	if _, _, err := f.Place(at, 1<<20); err == nil || !strings.Contains(err.Error(), "2.12") {
		t.Errorf("another boot code: %v", err)
	}
}

// TestEnvironment: the update state machine's adapter reads and writes the block.
func TestEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "grubenv")
	if err := os.WriteFile(path, Environment(pc(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &bootenv.Firmware{Store: bootenv.GRUB(path), Slots: []string{"A", "B"}}
	if got, err := f.Default(); err != nil || got != "A" {
		t.Errorf("default %q, %v", got, err)
	}
	if err := f.TryOnce("B"); err != nil {
		t.Error(err)
	}
}

func TestScript(t *testing.T) {
	script := Script(pc(t))
	for _, want := range []string{
		`env="($disk,gpt2)/grub/grubenv"`, `if [ "$1" = A ]; then part=gpt3; fi`, `if [ "$1" = B ]; then part=gpt4; fi`,
		"source (loop)4+3",
	} {
		if !strings.Contains(script, want) {
			t.Errorf("the script lacks %q:\n%s", want, script)
		}
	}
	if strings.Contains(script, "{{") {
		t.Error("the script holds a template's braces")
	}
}

func TestNoBIOS(t *testing.T) {
	b, err := board.Load("qemu-amd64")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), "../..", b); err == nil {
		t.Error("a board without BIOS: no error")
	}
}
