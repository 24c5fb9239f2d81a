package fatslot

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const mib = 1 << 20

// disk is one in memory, full of what was there before, with a cache that loses
// what was not synced when the power goes.
type disk struct {
	b      []byte
	synced []byte
	writes int
	stop   int // the write at which the power goes; 0 for never
}

var errCut = errors.New("power cut")

func newDisk() *disk {
	b := bytes.Repeat([]byte("what was there before "), 40*mib/22)
	return &disk{b: b, synced: bytes.Clone(b)}
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(d.b).ReadAt(p, off) }

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	if d.writes++; d.stop != 0 && d.writes >= d.stop {
		return 0, errCut
	}
	return copy(d.b[off:], p), nil
}

func (d *disk) Sync() error {
	if d.stop != 0 && d.writes >= d.stop {
		return errCut
	}
	d.synced = bytes.Clone(d.b)
	return nil
}

const offset = 2 * mib

func slotOn(d *disk) *Slot {
	return &Slot{Disk: d, Offset: offset, Bytes: 36 * mib, Start: offset, Label: "B", ID: 7, File: "EFI/Linux/os.efi"}
}

func content(n int) []byte { return bytes.Repeat([]byte("kernel, init, root. "), n/20+1)[:n] }

func readBack(s *Slot, size int64) ([]byte, error) {
	r, err := s.Open(size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// TestWrite: a file system as the field's tools want it, with the file in it, and
// nothing outside of the partition.
func TestWrite(t *testing.T) {
	d := newDisk()
	s, want := slotOn(d), content(3*mib+17)
	for _, want := range [][]byte{content(5 * mib), want} { // the second over the first
		if err := s.Write(bytes.NewReader(want), int64(len(want))); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := readBack(s, int64(len(want))); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if !bytes.Equal(d.b, d.synced) {
		t.Error("not all of it was synced")
	}
	before := newDisk().b
	if !bytes.Equal(d.b[:offset], before[:offset]) || !bytes.Equal(d.b[offset+s.Bytes:], before[offset+s.Bytes:]) {
		t.Error("it wrote outside of the partition")
	}
	path := filepath.Join(t.TempDir(), "slot.img")
	if err := os.WriteFile(path, d.b[offset:offset+s.Bytes], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tool := range [][]string{{"fsck.vfat", "dosfstools"}, {"mcopy", "mtools"}} {
		if _, err := exec.LookPath(tool[0]); err != nil {
			t.Fatalf("%s is missing: apt-get install %s", tool[0], tool[1])
		}
	}
	if out, err := exec.Command("fsck.vfat", "-n", path).CombinedOutput(); err != nil {
		t.Errorf("fsck.vfat: %v\n%s", err, out)
	}
	if got, err := exec.Command("mcopy", "-i", path, "::EFI/Linux/os.efi", "-").Output(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("mcopy gives %d bytes, %v", len(got), err)
	}
}

// TestFlippedBits: one anywhere before the file, or in it, is noticed.
func TestFlippedBits(t *testing.T) {
	d := newDisk()
	s, want := slotOn(d), content(mib)
	if err := s.Write(bytes.NewReader(want), mib); err != nil {
		t.Fatal(err)
	}
	begin := bytes.Index(d.b[offset:], want[:4096])
	for at := 0; at < begin+mib; at += 3331 {
		d.b[offset+at] ^= 0x10
		got, err := readBack(s, mib)
		if err == nil && bytes.Equal(got, want) {
			t.Fatalf("a bit of byte %d flipped, and nobody noticed", at)
		}
		d.b[offset+at] ^= 0x10
	}
	if got, err := readBack(s, mib); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v", err)
	}
	if _, err := s.Open(mib - 1); err == nil {
		t.Error("another size than was written")
	}
}

// TestPowerCuts: until Write has returned, Open finds no whole file, and what was in
// the slot before is not taken for one either.
func TestPowerCuts(t *testing.T) {
	want := content(mib)
	for stop := 1; ; stop++ {
		d := newDisk()
		s := slotOn(d)
		if err := s.Write(bytes.NewReader(want), mib); err != nil {
			t.Fatal(err)
		}
		next := bytes.ToUpper(want)
		d.writes, d.stop = 0, stop
		err := s.Write(bytes.NewReader(next), mib)
		d.b, d.stop = d.synced, 0 // what was not synced is lost
		got, openErr := readBack(s, mib)
		if err == nil {
			if openErr != nil || !bytes.Equal(got, next) {
				t.Fatalf("written, and: %v", openErr)
			}
			if stop < 20 {
				t.Errorf("%d writes", stop)
			}
			return
		}
		if !errors.Is(err, errCut) || openErr == nil && !bytes.Equal(got, want) {
			t.Fatalf("cut at write %d: %v; opened: %v", stop, err, openErr)
		}
	}
}

func TestRefusals(t *testing.T) {
	d := newDisk()
	s, want := slotOn(d), content(mib)
	if err := s.Write(bytes.NewReader(want), mib); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(bytes.NewReader(want), 40*mib); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("more than fits: %v", err)
	}
	if got, err := readBack(s, mib); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what did not fit has damaged what was there: %v", err)
	}
	if err := s.Write(bytes.NewReader(want[:1000]), mib); err == nil {
		t.Error("a file that is shorter than it was said to be")
	}
	if _, err := s.Open(mib); err == nil {
		t.Error("a part of a file counts as one")
	}
}
