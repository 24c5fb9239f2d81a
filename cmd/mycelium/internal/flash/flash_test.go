package flash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image/blockmap"
	"github.com/digital-mycelium/os/image/disk"
	"github.com/digital-mycelium/os/pkg/disklayout"
)

// sample is a board's disk image with small partitions, in each form.
type sample struct {
	data                 []byte
	plain, mapped        string // without and with a map beside it
	packed, packedMapped string
}

func newSample(t *testing.T) *sample {
	t.Helper()
	b, err := board.Load("qemu-amd64")
	if err != nil {
		t.Fatal(err)
	}
	for i := range b.Disk.Partitions {
		b.Disk.Partitions[i].SizeMiB = 10 // FAT16
	}
	dir := t.TempDir()
	d := disk.Spec{Board: b, OSFile: filepath.Join(dir, "os.efi"), Boot: filepath.Join(dir, "boot"), Time: time.Unix(1_700_000_000, 0)}
	write(t, d.OSFile, append(make([]byte, mib), bytes.Repeat([]byte("kernel"), mib)...))
	loader := filepath.Join(dir, "loader")
	write(t, loader, []byte("loader"))
	if _, err := disk.WriteBoot(d.Boot, b, disk.Loaders{EFI: loader}); err != nil {
		t.Fatal(err)
	}
	s := &sample{}
	paths := map[string]*string{"plain.img": &s.plain, "mapped.img": &s.mapped, "packed.img.zst": &s.packed, "both.img.zst": &s.packedMapped}
	for name, path := range paths {
		*path = filepath.Join(dir, name)
	}
	if err := disk.Write(s.plain, d); err != nil {
		t.Fatal(err)
	}
	if s.data, err = os.ReadFile(s.plain); err != nil {
		t.Fatal(err)
	}
	write(t, s.mapped, s.data)
	packed := pack(t, s.data, true)
	write(t, s.packed, packed)
	write(t, s.packedMapped, packed)
	m, err := blockmap.New(bytes.NewReader(s.data), int64(len(s.data)))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := m.Write(&text); err != nil {
		t.Fatal(err)
	}
	write(t, s.mapped+".bmap", text.Bytes())
	write(t, strings.TrimSuffix(s.packedMapped, ".zst")+".bmap", text.Bytes())
	return s
}

func pack(t *testing.T, data []byte, sized bool) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	if sized {
		z.ResetContentSize(&b, int64(len(data)))
	}
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) *Image {
	t.Helper()
	i, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	return i
}

// fake is a disk in memory, which may fail.
type fake struct {
	memory
	// writes is how many are done before fail is what they return; negative: all.
	writes int
	fail   error
	// forget is where it does not keep what is written; 0: nowhere.
	forget int64
}

func (f *fake) WriteAt(b []byte, off int64) (int, error) {
	if f.writes == 0 && f.fail != nil {
		return 0, &os.PathError{Op: "write", Path: "/dev/sdx", Err: f.fail}
	}
	f.writes--
	n, err := f.memory.WriteAt(b, off)
	if f.forget >= off && f.forget < off+int64(len(b)) && f.forget > 0 {
		f.memory[f.forget] ^= 1
	}
	return n, err
}

func (f *fake) Sync() error { return nil }

// old is a disk of size bytes full of something else.
func old(size int) *fake {
	return &fake{memory: bytes.Repeat([]byte{0xa5}, size), writes: -1}
}

func (f *fake) disk(blank bool) Disk {
	return Disk{Device: f, Name: "/dev/sdx", Size: int64(len(f.memory)), Blank: blank}
}

// check expects file systems and files as they were made, STATE empty, and nothing
// that would be taken for DATA, whatever the disk held before.
func check(t *testing.T, s *sample, got []byte, config []byte) {
	t.Helper()
	partitions, err := blockmap.Partitions(bytes.NewReader(got), int64(len(got)))
	if err != nil || len(partitions) != 4 {
		t.Fatalf("%v, %v", partitions, err)
	}
	for n, p := range partitions {
		content := got[p.Offset:p.End()]
		if p.State {
			marker := []byte(disklayout.EmptyMarker)
			if !bytes.HasPrefix(content, marker) || !isZero(content[len(marker):]) {
				t.Error("STATE holds something old")
			}
			continue
		}
		part := filepath.Join(t.TempDir(), "part")
		write(t, part, content)
		if out, err := exec.Command("fsck.vfat", "-n", part).CombinedOutput(); err != nil {
			t.Errorf("partition %d: fsck.vfat: %v (apt-get install dosfstools)\n%s", n, err, out)
		}
		want := map[string][]byte{}
		switch n {
		case 0:
			want = map[string][]byte{"mycelium.yaml": config, "loader/loader.conf": disk.LoaderConf, "EFI/BOOT/BOOTX64.EFI": []byte("loader")}
		case 1:
			want["EFI/Linux/os.efi"] = append(make([]byte, mib), bytes.Repeat([]byte("kernel"), mib)...)
		}
		for name, content := range want {
			if out, err := exec.Command("mtype", "-i", part, "::"+name).Output(); err != nil || !bytes.Equal(out, content) {
				t.Errorf("%s: %d bytes, %v (apt-get install mtools)", name, len(out), err)
			}
		}
	}
	last := partitions[3].End()
	for _, at := range []int64{last + 8*mib, last + 24*mib, last + 32*mib, int64(len(got)) - mib} {
		if at < int64(len(got)) && !isZero(got[at:min(at+4096, int64(len(got)))]) {
			t.Errorf("byte %d, %d behind the last partition, is not wiped", at, at-last)
		}
	}
}

func TestWrite(t *testing.T) {
	s := newSample(t)
	for _, path := range []string{s.plain, s.mapped, s.packed, s.packedMapped} {
		name := filepath.Base(path)
		blank := &fake{memory: make(memory, len(s.data)), writes: -1}
		if err := Write(t.Context(), open(t, path), blank.disk(true), Options{}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(blank.memory, s.data) {
			t.Errorf("%s: a blank disk does not become the image", name)
		}
		var seen []string
		used := old(len(s.data) + 48*mib)
		err := Write(t.Context(), open(t, path), used.disk(false), Options{Progress: func(p Phase, done, total int64) {
			if done > total || total == 0 {
				t.Errorf("%s: %d of %d", name, done, total)
			}
			if done == total {
				seen = append(seen, string(p))
			}
		}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if fmt.Sprint(seen) != "[writing verifying]" {
			t.Errorf("%s: phases that came to their end: %v", name, seen)
		}
		check(t, s, used.memory, disk.ExampleConfig)
		if name == filepath.Base(s.packedMapped) && !bytes.Equal(used.memory[25*mib:26*mib], bytes.Repeat([]byte{0xa5}, mib)) {
			t.Error("what the map leaves out was written: slot B is empty")
		}
	}
}

// TestEdit: another configuration arrives, larger than the one it replaces, and is verified.
func TestEdit(t *testing.T) {
	s := newSample(t)
	config := append(bytes.Clone(disk.ExampleConfig), bytes.Repeat([]byte("# more\n"), 9000)...)
	for _, path := range []string{s.plain, s.packedMapped} {
		edit := func(image []byte) ([]byte, error) {
			if !bytes.Equal(image, disk.ExampleConfig) {
				t.Errorf("the image's configuration is %q", image)
			}
			return config, nil
		}
		used := old(len(s.data) + 48*mib)
		if err := Write(t.Context(), open(t, path), used.disk(false), Options{Edit: edit}); err != nil {
			t.Fatal(err)
		}
		check(t, s, used.memory, config)
	}
	used := old(len(s.data))
	no := errors.New("no")
	err := Write(t.Context(), open(t, s.plain), used.disk(false), Options{Edit: func([]byte) ([]byte, error) { return nil, no }})
	if !errors.Is(err, no) || errors.Is(err, ErrUnusable) || used.memory[0] != 0xa5 {
		t.Errorf("error %v, or something was written", err)
	}
}

// TestErrors: each is clear, and leaves no partition table on a disk that was written to.
func TestErrors(t *testing.T) {
	s := newSample(t)
	dir := t.TempDir()
	damaged := func(name, of string, change func([]byte) []byte) string {
		data, err := os.ReadFile(of)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		write(t, path, change(data))
		return path
	}
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 8; return b }
	}
	// Not every bit of a compressed file counts.
	flipPacked := func(b []byte) []byte {
		z, err := zstd.NewReader(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		for at := len(b) / 2; at < len(b); at++ {
			b[at] ^= 8
			if _, err := z.DecodeAll(b, nil); err != nil {
				return b
			}
			b[at] ^= 8
		}
		t.Fatal("no bit counts")
		return nil
	}
	half := func(b []byte) []byte { return b[:len(b)/2] }
	cutTail := func(b []byte) []byte { return b[:len(b)-2] }
	flipped := damaged("flipped.img", s.mapped, flip(15*mib))
	damaged("flipped.img.bmap", s.mapped+".bmap", func(b []byte) []byte { return b })
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name, path string
		disk       *fake
		ctx        context.Context
		want       string
		written    bool
	}{
		{"truncated", damaged("half.img.zst", s.packed, half), old(len(s.data)), nil, "damaged or incomplete", true},
		{"checksum cut off", damaged("tail.img.zst", s.packed, cutTail), old(len(s.data)), nil, "damaged or incomplete", true},
		{"flipped bit in zstd", damaged("flip.img.zst", s.packed, flipPacked), old(len(s.data)), nil, "damaged or incomplete", true},
		{"flipped bit", flipped, old(len(s.data)), nil, "checksum mismatch", true},
		{"too small", s.packed, old(len(s.data) - 512), nil, "/dev/sdx is too small: it has 41 MiB, the image needs 42", false},
		{"full", s.packed, &fake{memory: old(len(s.data)).memory, writes: 9, fail: unix.ENOSPC}, nil, "no room left", true},
		{"pulled", s.packedMapped, &fake{memory: old(len(s.data)).memory, writes: 9, fail: unix.ENODEV}, nil, "was it pulled out?", true},
		{"broken", s.packed, &fake{memory: old(len(s.data)).memory, writes: 3, fail: unix.EIO}, nil, "is it broken?", true},
		{"forgetful", s.packedMapped, &fake{memory: old(len(s.data)).memory, writes: -1, forget: 15 * mib}, nil, ErrVerify.Error(), true},
		{"forgetful where the table is", s.packedMapped, &fake{memory: old(len(s.data)).memory, writes: -1, forget: 700}, nil, ErrVerify.Error(), true},
		{"cancelled", s.packed, old(len(s.data)), cancelled, "context canceled", true},
	} {
		ctx := tt.ctx
		if ctx == nil {
			ctx = t.Context()
		}
		err := Write(ctx, open(t, tt.path), tt.disk.disk(false), Options{})
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, ErrUnusable) != tt.written {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
		if _, err := blockmap.Partitions(tt.disk.memory, int64(len(tt.disk.memory))); err == nil {
			t.Errorf("%s: a partition table stands on the disk", tt.name)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	s := newSample(t)
	dir := t.TempDir()
	for want, data := range map[string][]byte{
		"it is empty":       {},
		"not known here":    {0x1f, 0x8b, 8, 0, 0, 0},
		"does not say how":  pack(t, make([]byte, 9*mib), false),
		"it is not whole":   {0x28, 0xb5, 0x2f, 0xfd},
		"of another image":  s.data[:mib],
		"read the block ma": s.data[:2*mib],
	} {
		path := filepath.Join(dir, strings.ReplaceAll(want, " ", "-"))
		write(t, path, data)
		switch want {
		case "of another image":
			text, err := os.ReadFile(s.mapped + ".bmap")
			if err != nil {
				t.Fatal(err)
			}
			write(t, path+".bmap", text)
		case "read the block ma":
			write(t, path+".bmap", []byte("<bmap"))
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "no file") {
		t.Errorf("a directory: %v", err)
	}
}

// TestFile: a new file appears when it is whole and is sparse; one that failed
// does not appear; one that exists is a disk.
func TestFile(t *testing.T) {
	s := newSample(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "new.img")
	flash := func(image string) error {
		i := open(t, image)
		target, err := OpenFile(path, i.Size)
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(t.Context(), i, target.Disk, Options{}); err != nil {
			return errors.Join(err, target.Abort())
		}
		_, err = target.Finish()
		return err
	}
	data, err := os.ReadFile(s.packed)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.img.zst")
	write(t, cut, data[:len(data)/2])
	if err := flash(cut); err == nil || errors.Is(err, ErrUnusable) {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := flash(s.packedMapped); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, s.data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Blocks*512 > 16*mib {
		t.Errorf("the file takes %d bytes: it is not sparse", st.Blocks*512)
	}
	write(t, path, bytes.Repeat([]byte{0xa5}, len(s.data)+20*mib))
	if err := flash(s.packedMapped); err != nil {
		t.Fatal(err)
	}
	if got, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	check(t, s, got, disk.ExampleConfig)
	write(t, path, make([]byte, mib))
	if err := flash(s.packed); err == nil || !strings.Contains(err.Error(), "too small") {
		t.Errorf("error %v", err)
	}
	if _, err := OpenFile(dir, 1); err == nil {
		t.Error("a directory was opened")
	}
}

// TestOddSize: an image that does not end with a block arrives whole.
func TestOddSize(t *testing.T) {
	data := bytes.Repeat([]byte("odd"), 2*mib+77)
	path := filepath.Join(t.TempDir(), "image")
	write(t, path, data)
	i := open(t, path)
	target, err := OpenFile(path+".out", i.Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(t.Context(), i, target.Disk, Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := target.Finish(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path + ".out"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestRun(t *testing.T) {
	b := make([]byte, 5*64<<10+10)
	b[64<<10] = 1
	b[2*64<<10+5] = 1
	b[len(b)-1] = 1
	var got []string
	for at := 0; at < len(b); {
		end, zero := run(b, at)
		got = append(got, fmt.Sprint(end/(64<<10), zero))
		at = end
	}
	if fmt.Sprint(got) != "[1 true 3 false 5 true 5 false]" {
		t.Error(got)
	}
}
