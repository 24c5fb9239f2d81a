package blockmap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image/disk"
	"github.com/digital-mycelium/os/pkg/disklayout"
)

const mib = 1 << 20

// image writes a board's image with small partitions of 40 MiB each.
func image(t *testing.T) (path string, size int64) {
	t.Helper()
	b, err := board.Load("qemu-amd64")
	if err != nil {
		t.Fatal(err)
	}
	for i := range b.Disk.Partitions {
		b.Disk.Partitions[i].SizeMiB = 40
	}
	dir := t.TempDir()
	s := disk.Spec{Board: b, OSFile: filepath.Join(dir, "os.efi"), Boot: filepath.Join(dir, "boot"), Time: time.Unix(1_700_000_000, 0)}
	// Zeros in a file are content: they must arrive.
	loader := filepath.Join(dir, "loader")
	for path, content := range map[string][]byte{s.OSFile: append(make([]byte, mib), "os"...), loader: []byte("loader")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := disk.WriteBoot(s.Boot, b, disk.Loaders{EFI: loader}); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "disk.img")
	if err := disk.Write(path, s); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, st.Size()
}

// TestOverOldData copies an image by its map over a disk full of something else: the
// field's tools find nothing wrong with the file systems, the files are whole,
// STATE is empty, and less than half was written.
func TestOverOldData(t *testing.T) {
	path, size := image(t)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(bytes.NewReader(data), size)
	if err != nil {
		t.Fatal(err)
	}
	if m.MappedBlocks() > m.Blocks()/2 {
		t.Errorf("%d of %d blocks are mapped", m.MappedBlocks(), m.Blocks())
	}
	target := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(target, bytes.Repeat([]byte{0xa5}, int(size)), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(target, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := m.Copy(t.Context(), f, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sgdisk", "--verify", target).CombinedOutput(); err != nil {
		t.Errorf("sgdisk: %v (apt-get install gdisk)\n%s", err, out)
	}
	partitions, err := Partitions(f, size)
	if err != nil || len(partitions) != 4 {
		t.Fatalf("%v, %v", partitions, err)
	}
	for i, p := range partitions {
		content := make([]byte, p.Length)
		if _, err := f.ReadAt(content, p.Offset); err != nil {
			t.Fatal(err)
		}
		if p.State {
			if rest, ok := bytes.CutPrefix(content, []byte(disklayout.EmptyMarker)); !ok || len(bytes.Trim(rest, "\x00")) > 0 {
				t.Error("STATE holds something old")
			}
			continue
		}
		part := filepath.Join(t.TempDir(), "part")
		if err := os.WriteFile(part, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("fsck.vfat", "-n", part).CombinedOutput(); err != nil {
			t.Errorf("partition %d: fsck.vfat: %v (apt-get install dosfstools)\n%s", i, err, out)
		}
		if i != 1 {
			continue
		}
		out, err := exec.Command("mtype", "-i", part, "::EFI/Linux/os.efi").Output()
		if err != nil || len(out) != mib+2 || len(bytes.Trim(out[:mib], "\x00")) > 0 {
			t.Errorf("the OS file has %d bytes, %v (apt-get install mtools)", len(out), err)
		}
	}
}

// mbrEntry is one partition of a boot record, in sectors.
type mbrEntry struct {
	kind         byte
	first, count int64
}

// record is a boot record with the given partitions.
func record(entries ...mbrEntry) []byte {
	b := make([]byte, sectorSize)
	for i, e := range entries {
		at := b[446+16*i:]
		at[4] = e.kind
		binary.LittleEndian.PutUint32(at[8:], uint32(e.first))
		binary.LittleEndian.PutUint32(at[12:], uint32(e.count))
	}
	binary.LittleEndian.PutUint16(b[510:], 0xaa55)
	return b
}

func TestMBR(t *testing.T) {
	disk := make([]byte, mib)
	copy(disk, record(mbrEntry{0x0c, 8, 8}, mbrEntry{0x0f, 100, 200}, mbrEntry{0x83, 16, 4}))
	copy(disk[100*sectorSize:], record(mbrEntry{0x83, 1, 9}, mbrEntry{0x05, 20, 10}))
	copy(disk[120*sectorSize:], record(mbrEntry{0x0c, 2, 8}))
	got, err := Partitions(bytes.NewReader(disk), mib)
	if err != nil || len(got) != 4 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, want := range [][2]int64{{8, 8}, {16, 4}, {101, 9}, {122, 8}} {
		if got[i].Offset != want[0]*sectorSize || got[i].Length != want[1]*sectorSize {
			t.Errorf("partition %d: %+v, want sectors %v", i, got[i], want)
		}
	}
	if got, err = Partitions(bytes.NewReader(disk[:1024]), mib); err != nil || len(got) != 2 {
		t.Errorf("of the head alone: %+v, %v", got, err)
	}
	for name, bad := range map[string][]byte{
		"zeros": make([]byte, mib), "empty": record(), "none but the extended one": append(record(mbrEntry{0x0f, 8, 8}), make([]byte, 4096)...), "short": disk[:100], "too large": append(record(mbrEntry{0x0c, 8, 1 << 30}), make([]byte, 4096)...),
	} {
		if got, err := Partitions(bytes.NewReader(bad), mib); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if _, err := New(bytes.NewReader(make([]byte, mib)), mib); !errors.Is(err, ErrNoTable) {
		t.Errorf("error %v", err)
	}
}

func FuzzPartitions(f *testing.F) {
	f.Add(record(mbrEntry{0x0c, 8, 8}, mbrEntry{0x0f, 1, 200}), record(mbrEntry{0x83, 1, 9}, mbrEntry{0x05, 0, 10}))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		disk := make([]byte, 64<<10)
		copy(disk[sectorSize:], second)
		copy(disk[:sectorSize], first)
		list, err := Partitions(bytes.NewReader(disk), int64(len(disk)))
		if err != nil {
			return
		}
		for _, p := range list {
			if p.Offset <= 0 || p.Length <= 0 || p.End() > int64(len(disk)) {
				t.Fatalf("%+v", p)
			}
		}
		if _, err := New(bytes.NewReader(disk), int64(len(disk))); err != nil {
			t.Fatal(err)
		}
	})
}
