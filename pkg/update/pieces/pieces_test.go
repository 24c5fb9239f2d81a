package pieces

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const mib = 1 << 20

// disk is one in memory, with a cache that loses what was not synced when the power
// goes.
type disk struct {
	b      []byte
	undo   []func() // of what was not synced
	writes int
	stop   int // the write at which the power goes; 0 for never
}

var errCut = errors.New("power cut")

// newDisk returns a disk full of what was there before.
func newDisk(size int) *disk {
	return &disk{b: bytes.Repeat([]byte("what was there before "), size/22+1)}
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(d.b).ReadAt(p, off) }

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	if d.writes++; d.stop != 0 && d.writes >= d.stop {
		return 0, errCut
	}
	old := bytes.Clone(d.b[off:][:len(p)])
	d.undo = append(d.undo, func() { copy(d.b[off:], old) })
	return copy(d.b[off:], p), nil
}

func (d *disk) Sync() error {
	if d.stop != 0 && d.writes >= d.stop {
		return errCut
	}
	d.undo = nil
	return nil
}

// lose forgets what was not synced.
func (d *disk) lose() {
	for _, u := range slices.Backward(d.undo) {
		u()
	}
	d.undo, d.stop = nil, 0
}

const offset = 2 * mib

func slotOn(d *disk) *Slot {
	return &Slot{Disk: d, Offset: offset, Bytes: 264 * mib, Start: offset, Label: "B", ID: 7}
}

// newFile makes a file of pieces, all of whose bytes are fill but the head's.
func newFile(t testing.TB, fill byte, list ...Piece) []byte {
	t.Helper()
	text, err := Format(list)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, FileSize(list))
	copy(b[ListAt:], text)
	at := int64(0)
	for i, p := range list {
		if i > 0 {
			copy(b[at:], bytes.Repeat([]byte{fill}, int(p.Size)))
		}
		at += pages(p.Size)
	}
	return b
}

func someFile(t testing.TB, fill byte) []byte {
	return newFile(t, fill, Piece{Name: "os.head", Size: Page}, Piece{Name: "config.txt", Size: 7}, Piece{Name: "bcm2711-rpi-4-b.dtb", Size: Page}, Piece{Name: "kernel8.img", Size: mib + 1})
}

func readBack(s *Slot, size int) ([]byte, error) {
	r, err := s.Open(int64(size))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// TestWrite: the field's tools see the pieces as files and find nothing wrong, and the
// slot gives the whole file back.
func TestWrite(t *testing.T) {
	d := newDisk(268 * mib)
	s, want := slotOn(d), someFile(t, 'k')
	for _, b := range [][]byte{newFile(t, 'x', Piece{Name: "other", Size: 9 * mib}), want} {
		if err := s.Write(bytes.NewReader(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := readBack(s, len(want)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n, err := s.Size(); err != nil || n != int64(len(want)) {
		t.Errorf("size %d, %v", n, err)
	}
	if len(d.undo) > 0 {
		t.Error("not all of it was synced")
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
	for name, want := range map[string][]byte{"os.head": want[:Page], "config.txt": []byte("kkkkkkk"), "kernel8.img": bytes.Repeat([]byte("k"), mib+1)} {
		if got, err := exec.Command("mcopy", "-i", path, "::"+name, "-").Output(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s has %d bytes, %v", name, len(got), err)
		}
	}
}

// TestPowerCuts: until Write has returned nothing but what was there whole is found.
func TestPowerCuts(t *testing.T) {
	old, next := someFile(t, 'o'), someFile(t, 'n')
	d := newDisk(268 * mib)
	s := slotOn(d)
	write := func(b []byte) error { return s.Write(bytes.NewReader(b), int64(len(b))) }
	if err := write(next); err != nil {
		t.Fatal(err)
	}
	all := d.writes
	for stop := 1; stop <= all; stop++ {
		if stop == 4 {
			stop = all - 8 // the long middle is all alike
		}
		if err := write(old); err != nil {
			t.Fatal(err)
		}
		d.writes, d.stop = 0, stop
		if err := write(next); !errors.Is(err, errCut) {
			t.Fatalf("cut at write %d: %v", stop, err)
		}
		d.lose()
		if got, err := readBack(s, len(next)); err == nil && !bytes.Equal(got, old) {
			t.Fatalf("cut at write %d: opened", stop)
		}
	}
}

// TestFlippedBits: one anywhere before the pieces, or in them, is noticed.
func TestFlippedBits(t *testing.T) {
	d := newDisk(268 * mib)
	s, want := slotOn(d), someFile(t, 'k')
	if err := s.Write(bytes.NewReader(want), int64(len(want))); err != nil {
		t.Fatal(err)
	}
	base, err := s.Base(int64(len(want)))
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < int(base)+len(want); at += 33331 {
		d.b[offset+at] ^= 0x10
		if got, err := readBack(s, len(want)); err == nil && bytes.Equal(got, want) {
			t.Fatalf("a bit of byte %d flipped, and nobody noticed", at)
		}
		d.b[offset+at] ^= 0x10
	}
}

func TestRefusals(t *testing.T) {
	d := newDisk(268 * mib)
	s, good := slotOn(d), someFile(t, 'k')
	n := int64(len(good))
	if err := s.Write(bytes.NewReader(good), 300*mib); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("more than fits: %v", err)
	}
	if err := s.Write(bytes.NewReader(make([]byte, n)), n); !errors.Is(err, ErrFormat) {
		t.Errorf("a file without pieces: %v", err)
	}
	for _, size := range []int64{n - Page, n + Page} {
		if err := s.Write(bytes.NewReader(good), size); err == nil {
			t.Error("a file of another length than it was said to have")
		}
	}
	small := *s
	small.Bytes = 64 * mib // its clusters have 512 bytes
	if err := small.Write(bytes.NewReader(good), n); err == nil || !strings.Contains(err.Error(), "clusters") {
		t.Errorf("clusters that are no pages: %v", err)
	}
	for name, list := range map[string][]Piece{
		"no head": {{Name: "a", Size: 1}}, "empty": {{Name: "a", Size: Page}, {Name: "b"}}, "a path": {{Name: "a/b", Size: Page}},
		"too long": {{Name: strings.Repeat("a", 65), Size: Page}}, "a dot": {{Name: ".a", Size: Page}}, "none": nil,
		"too many": {{Name: "a", Size: Page}, {Name: strings.Repeat("b ", 1000), Size: 1}},
	} {
		if _, err := Format(list); err == nil {
			t.Errorf("%s: %v is taken", name, list)
		}
	}
}

// FuzzParse: what is taken is written the same.
func FuzzParse(f *testing.F) {
	f.Add(someFile(f, 'k')[ListAt:Page], int64(5*Page+mib))
	f.Add([]byte(magic+"4096 a\n"), int64(Page))
	f.Fuzz(func(t *testing.T, list []byte, size int64) {
		head := make([]byte, Page)
		copy(head[ListAt:], list)
		got, err := Parse(head, size)
		if err != nil {
			return
		}
		text, err := Format(got)
		if err != nil || !bytes.Equal(text, head[ListAt:]) || FileSize(got) != size {
			t.Fatalf("%q, %v, %d bytes of %d", text, err, FileSize(got), size)
		}
	})
}
