package disk

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/disklayout"
	"github.com/digital-mycelium/os/pkg/gpt"
)

// rockchipSpec is a small image of the board rockchip with contents of that size for
// U-Boot's files.
func rockchipSpec(t *testing.T, sizes ...int) Spec {
	t.Helper()
	s := specOf(t, "rockchip")
	for i, f := range s.Board.Firmware.UBoot.Files {
		path := filepath.Join(t.TempDir(), f.Name)
		if err := os.WriteFile(path, bytes.Repeat([]byte{byte(i + 1)}, sizes[i]), 0o600); err != nil {
			t.Fatal(err)
		}
		s.UBoot = append(s.UBoot, Placed{Path: path, Sector: f.Sector})
	}
	return s
}

// TestPlaced: U-Boot stands at its sectors, and no partition nor the partition table
// comes near it.
func TestPlaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := Write(path, rockchipSpec(t, 200<<10, 8<<20)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range []struct {
		sector int64
		size   int
		value  byte
	}{{64, 200 << 10, 1}, {16384, 8 << 20, 2}} {
		got := make([]byte, place.size)
		if _, err := f.ReadAt(got, place.sector*512); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{place.value}, place.size)) {
			t.Errorf("sector %d: another content, %v", place.sector, err)
		}
	}
	tool(t, "gdisk", "sgdisk", "--verify", path)
	table, err := gpt.Read(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	if first := table.Offset(table.Partitions[0]); first != 16<<20 || table.FirstUsable != 32768 {
		t.Errorf("the first partition begins at %d, the first usable sector is %d", first, table.FirstUsable)
	}
	for _, p := range table.Partitions {
		if p.Type == gpt.State {
			continue
		}
		part := filepath.Join(t.TempDir(), p.Name)
		cut(t, f, part, table.Offset(p), table.Bytes(p))
		tool(t, "dosfstools", "fsck.vfat", "-n", part)
	}
}

func TestPlacedDoesNotFit(t *testing.T) {
	for _, sizes := range [][]int{{8 << 20, 1}, {1, 8<<20 + 1}} {
		err := Write(filepath.Join(t.TempDir(), "disk.img"), rockchipSpec(t, sizes...))
		if err == nil || !strings.Contains(err.Error(), "its place on the disk") {
			t.Errorf("%v: %v", sizes, err)
		}
	}
}

// fileDisk is a disk image that is installed on.
type fileDisk struct{ *os.File }

// TestInstallFirmware: what an installation started from a card writes stands on the
// other disk as on the card, before the partitions; without the card it does not begin.
func TestInstallFirmware(t *testing.T) {
	s := rockchipSpec(t, 200<<10, 900<<10)
	for i, magic := range []string{"\x3b\x8c\xdc\xfc", "\xd0\x0d\xfe\xed"} {
		data, err := os.ReadFile(s.UBoot[i].Path)
		if err != nil {
			t.Fatal(err)
		}
		copy(data, magic)
		if err := os.WriteFile(s.UBoot[i].Path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	card := filepath.Join(t.TempDir(), "card.img")
	if err := Write(card, s); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(card)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	layout, err := Layout(s.Board)
	if err != nil {
		t.Fatal(err)
	}
	c := disklayout.Content{
		Layout: layout, Source: os.DirFS(s.Boot), OSFileSize: 2,
		OpenOSFile: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("OS")), nil },
	}
	target, err := os.Create(filepath.Join(t.TempDir(), "emmc.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	size := layout.Bytes() + 300<<20
	if err := target.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := disklayout.Install(fileDisk{target}, size, c, disklayout.Options{}); !errors.Is(err, disklayout.ErrNoFirmware) {
		t.Errorf("without the card: %v", err)
	}
	if c.Firmware, err = layout.ReadFirmware(f); err != nil {
		t.Fatal(err)
	}
	if err := disklayout.Install(fileDisk{target}, size, c, disklayout.Options{}); err != nil {
		t.Fatal(err)
	}
	want, got := make([]byte, 16<<20-64*512), make([]byte, 16<<20-64*512)
	if _, err := f.ReadAt(want, 64*512); err != nil {
		t.Fatal(err)
	}
	if _, err := target.ReadAt(got, 64*512); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what stands before the partitions is not the card's: %v", err)
	}
	tool(t, "gdisk", "sgdisk", "--verify", target.Name())
}
