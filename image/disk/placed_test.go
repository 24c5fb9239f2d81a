package disk

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
