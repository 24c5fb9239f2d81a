package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// simDisk is a device whose power can be cut: what was written since the last
// Sync then reaches the platter sector by sector or does not.
type simDisk struct {
	platter []byte
	cache   []byte
	writes  int // left before the power is cut; negative: never
	size    int64
}

var errCut = errors.New("power cut")

func newSimDisk(size int64) *simDisk {
	return &simDisk{platter: make([]byte, size), cache: make([]byte, size), writes: -1, size: size}
}

func (d *simDisk) step() error {
	if d.writes == 0 {
		return errCut
	}
	d.writes--
	return nil
}

func (d *simDisk) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, d.cache[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (d *simDisk) WriteAt(p []byte, off int64) (int, error) {
	if err := d.step(); err != nil {
		return 0, err
	}
	return copy(d.cache[off:], p), nil
}

func (d *simDisk) Zero(off, n int64) error {
	if err := d.step(); err != nil {
		return err
	}
	clear(d.cache[off : off+n])
	return nil
}

func (d *simDisk) Sync() error {
	if err := d.step(); err != nil {
		return err
	}
	copy(d.platter, d.cache)
	return nil
}

func (d *simDisk) Size() int64 { return d.size }

// cut loses a random half of the sectors that were not synced.
func (d *simDisk) cut(r *rand.Rand) {
	for off := 0; off < len(d.platter); off += 512 {
		if r.IntN(2) == 0 {
			copy(d.platter[off:off+512], d.cache[off:])
		}
	}
	copy(d.cache, d.platter)
	d.writes = -1
}

// mkfs returns an ext4 image of 16 MiB (1 KiB blocks: copies of the superblock
// at 8193 only).
func mkfs(t *testing.T, blockSize string, size int64) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fs")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("mke2fs", "-q", "-t", "ext4", "-b", blockSize, "-F", path)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v: %s (apt-get install e2fsprogs)", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func inspect(t *testing.T, b []byte) Inspection {
	t.Helper()
	in, err := Inspect(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestInspect(t *testing.T) {
	fs := mkfs(t, "1024", 16*mib)
	le := binary.LittleEndian
	// change returns fs with a change and the superblock's checksum made right.
	change := func(f func(b []byte)) []byte {
		b := slices.Clone(fs)
		f(b)
		if super := b[superOffset : superOffset+superSize]; !isZero(super) {
			le.PutUint32(super[offChecksum:], superChecksum(super))
		}
		return b
	}
	tests := []struct {
		name    string
		b       []byte
		want    Finding
		backups int
	}{
		{"zero", make([]byte, 4*mib), Blank, 0},
		{"tiny", make([]byte, 1000), Foreign, 0},
		{"unfinished", append([]byte(marker), make([]byte, 4*mib)...), Unfinished, 0},
		{"unfinished with superblock", change(func(b []byte) { copy(b, marker) }), Unfinished, 0},
		{"one byte", append(make([]byte, mib-1), 1), Foreign, 0},
		{"behind the first MiB", append(make([]byte, mib), 1), Blank, 0},
		{"ext4", fs, Clean, 1},
		{"not unmounted", change(func(b []byte) { b[superOffset+offIncompat] |= incompatRecover }), Unclean, 1},
		{"errors seen", change(func(b []byte) { le.PutUint16(b[superOffset+offState:], stateValid|stateErrors) }), Unclean, 1},
		{"state not valid", change(func(b []byte) { le.PutUint16(b[superOffset+offState:], 0) }), Unclean, 1},
		{"no magic", change(func(b []byte) { clear(b[superOffset : superOffset+superSize]) }), Damaged, 1},
		{"first MiB lost", change(func(b []byte) { clear(b[:mib]) }), Damaged, 1},
		{"no superblock anywhere", change(func(b []byte) { clear(b[superOffset : superOffset+superSize]); clear(b[8193*1024 : 8194*1024]) }), Foreign, 0},
		{"wrong checksum", func() []byte { b := slices.Clone(fs); b[superOffset+0x78] ^= 1; return b }(), Damaged, 1},
		{"mad block size", change(func(b []byte) { b[superOffset+offLogBlockSize] = 200 }), Damaged, 1},
	}
	for _, tt := range tests {
		in := inspect(t, tt.b)
		if in.Finding != tt.want || len(in.Backups) != tt.backups {
			t.Errorf("%s: %v with %v, want %v with %d", tt.name, in.Finding, in.Backups, tt.want, tt.backups)
		}
	}
	if in := inspect(t, fs); in.Bytes != 16*mib || in.Backups[0] != (Backup{8193, 1024}) {
		t.Errorf("inspection %+v", in)
	}
	if in := inspect(t, mkfs(t, "4096", 160*mib)); in.Finding != Clean || !slices.Equal(in.Backups, []Backup{{32768, 4096}}) {
		t.Errorf("4 KiB blocks: %+v", in)
	}
}

func TestFormat(t *testing.T) {
	fs := mkfs(t, "1024", 16*mib)
	dev := newSimDisk(20 * mib)
	for i := range dev.cache[mib:] {
		dev.cache[mib+i] = 0xaa // rubbish behind a blank first MiB
	}
	if err := Format(dev, bytes.NewReader(fs)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(dev.platter[:16*mib], fs) {
		t.Error("the partition does not hold the template")
	}
}

func TestFormatTrimmedTemplate(t *testing.T) {
	fs := mkfs(t, "1024", 16*mib)
	dev := newSimDisk(16 * mib)
	if err := Format(dev, bytes.NewReader(bytes.TrimRight(fs, "\x00"))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(dev.platter, fs) {
		t.Error("the partition does not hold the template")
	}
}

func TestFormatRefuses(t *testing.T) {
	fs := mkfs(t, "1024", 16*mib)
	if err := Format(newSimDisk(8*mib), bytes.NewReader(fs)); !errors.Is(err, ErrTooSmall) {
		t.Errorf("small partition: %v", err)
	}
	for name, b := range map[string][]byte{"empty": nil, "zeros": make([]byte, mib), "short": fs[:1500]} {
		dev := newSimDisk(16 * mib)
		if err := Format(dev, bytes.NewReader(b)); err == nil {
			t.Errorf("%s template: no error", name)
		}
		if in := inspect(t, dev.platter); in.Finding != Unfinished {
			t.Errorf("%s template: left %v", name, in.Finding)
		}
	}
}

// TestFormatPowerCut cuts the power at every write and expects that the next
// boot either formats again or finds the whole file system.
func TestFormatPowerCut(t *testing.T) {
	fs := mkfs(t, "1024", 16*mib)
	r := rand.New(rand.NewPCG(1, 2))
	for cut := 0; ; cut++ {
		dev := newSimDisk(16 * mib)
		dev.writes = cut
		err := Format(dev, bytes.NewReader(fs))
		if err != nil && !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		dev.cut(r)
		in := inspect(t, dev.platter)
		switch in.Finding {
		case Blank, Unfinished:
			if err := Format(dev, bytes.NewReader(fs)); err != nil {
				t.Fatalf("cut at %d: format again: %v", cut, err)
			}
		case Clean:
		default:
			t.Fatalf("cut at write %d leaves %v", cut, in.Finding)
		}
		if !bytes.Equal(dev.platter, fs) {
			t.Fatalf("cut at write %d: the partition does not hold the template", cut)
		}
		if err == nil {
			return
		}
	}
}

func TestClearRecover(t *testing.T) {
	const at = 8193 * 1024
	fs := mkfs(t, "1024", 16*mib)
	if got := binary.LittleEndian.Uint32(fs[at+offChecksum:]); got != superChecksum(fs[at:at+superSize]) {
		t.Fatalf("checksum %#x, mke2fs wrote %#x", superChecksum(fs[at:at+superSize]), got)
	}
	backup := Backup{Block: 8193, BlockSize: 1024}
	dev := newSimDisk(16 * mib)
	copy(dev.cache, fs)
	if changed, err := ClearRecover(dev, backup); changed || err != nil {
		t.Errorf("without the flag: %v, %v", changed, err)
	}
	super := dev.cache[at : at+superSize]
	super[offIncompat] |= incompatRecover
	if changed, err := ClearRecover(dev, backup); changed || err != nil {
		t.Errorf("with a wrong checksum: %v, %v", changed, err)
	}
	binary.LittleEndian.PutUint32(super[offChecksum:], superChecksum(super))
	if changed, err := ClearRecover(dev, backup); !changed || err != nil {
		t.Errorf("with the flag: %v, %v", changed, err)
	}
	if !bytes.Equal(dev.platter, fs) {
		t.Error("more than the flag changed")
	}
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte{}, uint32(0))
	f.Add([]byte(marker), uint32(0))
	f.Add([]byte{0x53, 0xef}, uint32(superOffset+offMagic))
	f.Fuzz(func(t *testing.T, b []byte, at uint32) {
		img := make([]byte, 2*mib)
		copy(img[int(at)%len(img):], b)
		if _, err := Inspect(bytes.NewReader(img), int64(len(img))); err != nil {
			t.Fatal(err)
		}
	})
}
