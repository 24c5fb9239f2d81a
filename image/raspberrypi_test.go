package image

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/board/boardtest"
	"github.com/digital-mycelium/os/pkg/mbr"
	"github.com/digital-mycelium/os/pkg/update/pieces"
)

// newPiBuilder returns a builder of the board whose kernel, device trees and firmware
// are stood in for.
func newPiBuilder(t *testing.T) (*builder, *parts) {
	t.Helper()
	bd, err := board.Load("rpi")
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{
		repo: "..", out: t.TempDir(), work: t.TempDir(), board: bd, firmware: t.TempDir(),
		version: Version{Name: "1.2.3", Time: time.Unix(1_700_000_000, 0)}, log: newProgress(io.Discard, time.Now),
	}
	boardtest.Firmware(t, bd, b.firmware)
	p := &parts{
		kernel: measured(t, fakePart(t, "linux", "kernel", 1<<20)), stub: measured(t, fakePart(t, "firmware", "slot", 1000)),
		loader: measured(t, fakePart(t, "firmware-boot", "boot", 1000)), init: measured(t, fakePart(t, "init", "init", 1<<20)),
	}
	trees := filepath.Join(filepath.Dir(p.kernel.File), "dtb")
	if err := os.MkdirAll(trees, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tree := range bd.Kernel.DeviceTrees {
		if err := os.WriteFile(filepath.Join(trees, filepath.Base(tree)), []byte(tree), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"k3s", "rt"} {
		p.root = append(p.root, measured(t, fakePart(t, f, "/bin/"+f, 1<<20)))
	}
	return b, p
}

// TestRaspberryPi: the files are the same bytes twice, the slot on the disk gives the OS
// file back, and config.txt names no file that the slot lacks.
func TestRaspberryPi(t *testing.T) {
	var first []byte
	for range 2 {
		b, p := newPiBuilder(t)
		if _, err := b.assemble(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		osFile := read(t, b.out, OSFile)
		if first != nil && !bytes.Equal(osFile, first) {
			t.Error("another OS file the second time")
		}
		checkSlot(t, osFile, filepath.Join(b.out, DiskImage))
		checkNames(t, osFile)
		first = osFile
	}
}

// checkSlot wants slot A of a disk image to hold the OS file.
func checkSlot(t *testing.T, osFile []byte, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	table, err := mbr.View(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range table.Partitions {
		if p.Name != "A" {
			continue
		}
		slot := pieces.Slot{Bytes: table.Bytes(p)}
		base, err := slot.Base(int64(len(osFile)))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(osFile))
		if _, err := f.ReadAt(got, table.Offset(p)+base); err != nil || !bytes.Equal(got, osFile) {
			t.Errorf("slot A does not hold the OS file: %v", err)
		}
		return
	}
	t.Error("no slot A")
}

// checkNames wants every file that config.txt names to be a piece.
func checkNames(t *testing.T, osFile []byte) {
	t.Helper()
	list, err := pieces.Parse(osFile, int64(len(osFile)))
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]bool{}
	for _, p := range list {
		has[p.Name] = true
	}
	for line := range strings.SplitSeq(string(read(t, "../board/rpi/config.txt")), "\n") {
		key, value, _ := strings.Cut(line, "=")
		if rest, ok := strings.CutPrefix(line, "initramfs "); ok {
			key, value, _ = strings.Cut("initramfs="+rest, "=")
			value, _, _ = strings.Cut(value, " ")
		}
		switch key {
		case "kernel", "initramfs", "device_tree":
			if !has[value] {
				t.Errorf("config.txt names %q, the OS file has %v", value, list)
			}
		}
	}
	for _, name := range []string{"cmdline.txt", "start.elf", "start4.elf", "LICENCE.txt", "bcm2712-rpi-5-b.dtb", "bcm2712d0-rpi-5-b.dtb"} {
		if !has[name] {
			t.Errorf("no piece %s", name)
		}
	}
}
