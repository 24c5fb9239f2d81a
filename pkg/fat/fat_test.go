package fat

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"
)

const mib = 1 << 20

// tool returns the path of a host tool or fails with how to get it.
func tool(t *testing.T, name, pkg string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: apt-get install %s", name, pkg)
	}
	return p
}

func sample() map[string][]byte {
	files := map[string][]byte{
		"EFI/BOOT/BOOTX64.EFI": bytes.Repeat([]byte("loader"), 20000),
		"EFI/Linux/os.efi":     bytes.Repeat([]byte("kernel"), 200000),
		"loader/loader.conf":   []byte("timeout 0\n"),
		"loader/loader.config": []byte("alike"),
		"mycelium.yaml":        []byte("# configuration\n"),

		"Übung.txt": []byte("umlaut"),
	}
	files["empty file with a quite long name, more than thirteen.txt"] = nil
	for i := range 60 {
		files[fmt.Sprintf("many/a file number %d.text", i)] = []byte{byte(i)}
	}
	return files
}

func build(t *testing.T, size int64) string {
	t.Helper()
	fs, err := New(Config{Size: size, Label: "TEST", ID: 0x12345678, Time: time.Date(2026, 11, 21, 1, 2, 4, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	files := sample()
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if err := fs.AddBytes(name, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := fs.AddDir("empty/dir"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "fat.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := fs.Write(f); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTools lets the field's tools judge file systems of both kinds and several
// cluster sizes: fsck finds nothing, mtools reads every byte back.
func TestTools(t *testing.T) {
	fsck, mcopy := tool(t, "fsck.vfat", "dosfstools"), tool(t, "mcopy", "mtools")
	for _, size := range []int64{4 * mib, 16 * mib, 35 * mib, 36 * mib, 64 * mib, 512 * mib, 700*mib + 512} {
		path := build(t, size)
		out, err := exec.Command(fsck, "-n", "-V", path).CombinedOutput()
		if err != nil {
			t.Errorf("%d MiB: fsck.vfat: %v\n%s", size/mib, err, out)
		}
		for _, bad := range []string{"differ", "wrong", "should", "Fixing", "rong", "bad", "Dirty", "irregular"} {
			if strings.Contains(string(out), bad) {
				t.Errorf("%d MiB: fsck.vfat found something:\n%s", size/mib, out)
			}
		}
		dir := t.TempDir()
		cmd := exec.Command(mcopy, "-s", "-n", "-i", path, "::", dir)
		cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=0", "LC_ALL=C.UTF-8")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%d MiB: mcopy: %v\n%s", size/mib, err, out)
		}
		for name, want := range sample() {
			got, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d MiB: %s: %v, %d bytes, want %d", size/mib, name, err, len(got), len(want))
			}
		}
	}
}

func TestSameBytes(t *testing.T) {
	sum := func(path string) (s [32]byte) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return sha256.Sum256(b)
	}
	first, second := build(t, 64*mib), build(t, 64*mib)
	if sum(first) != sum(second) {
		t.Error("two builds differ")
	}
}

// TestClear writes over what was there before: the tools find nothing of it, and a
// file is where Extent says. Until the boot sector, the last write, there is no
// file system.
func TestClear(t *testing.T) {
	fsck, mcopy := tool(t, "fsck.vfat", "dosfstools"), tool(t, "mcopy", "mtools")
	for _, size := range []int64{16 * mib, 64 * mib} {
		path := filepath.Join(t.TempDir(), "fat.img")
		if err := os.WriteFile(path, bytes.Repeat([]byte{0xa5}, int(size)), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fs, err := New(Config{Size: size, Label: "TEST"})
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Repeat([]byte("kernel"), 100_001)
		if err := fs.AddBytes("EFI/Linux/os.efi", want); err != nil {
			t.Fatal(err)
		}
		if err := fs.Clear(f); err != nil {
			t.Fatal(err)
		}
		boot := &lastWrite{WriterAt: f}
		if err := fs.Write(boot); err != nil {
			t.Fatal(err)
		}
		if boot.first != boot.count {
			t.Errorf("%d MiB: the boot sector was write %d of %d", size/mib, boot.first, boot.count)
		}
		if out, err := exec.Command(fsck, "-n", path).CombinedOutput(); err != nil {
			t.Errorf("%d MiB: fsck.vfat: %v\n%s", size/mib, err, out)
		}
		out, err := exec.Command(mcopy, "-i", path, "::EFI/Linux/os.efi", "-").Output()
		if err != nil || !bytes.Equal(out, want) {
			t.Errorf("%d MiB: mcopy gives %d bytes, %v", size/mib, len(out), err)
		}
		offset, n, err := fs.Extent("EFI/Linux/os.efi")
		got := make([]byte, n)
		if _, rerr := f.ReadAt(got, offset); err != nil || rerr != nil || !bytes.Equal(got, want) {
			t.Errorf("%d MiB: not at %d: %v, %v", size/mib, offset, err, rerr)
		}
		for _, name := range []string{"EFI/Linux", "none", ""} {
			if _, _, err := fs.Extent(name); err == nil {
				t.Errorf("%q has an extent", name)
			}
		}
	}
}

// lastWrite notes which of the writes was the first one of offset 0.
type lastWrite struct {
	io.WriterAt
	count, first int
}

func (w *lastWrite) WriteAt(p []byte, off int64) (int, error) {
	if w.count++; off == 0 && w.first == 0 {
		w.first = w.count
	}
	return w.WriterAt.WriteAt(p, off)
}

func TestShortNames(t *testing.T) {
	taken := map[[11]byte]bool{}
	for _, tt := range []struct{ long, short string }{
		{"OS.EFI", "OS      EFI"},
		{"os.efi", "OS~1    EFI"},
		{"loader.conf", "LOADER~1CON"},
		{"loader.config", "LOADER~2CON"},
		{".hidden", "HIDDEN~1   "},
		{"a b.c.d", "ABC~1   D  "},
	} {
		got, err := shortName(tt.long, taken)
		if err != nil || string(got[:]) != tt.short {
			t.Errorf("%s: %q, %v; want %q", tt.long, got, err, tt.short)
		}
		taken[got] = true
	}
}

func TestErrors(t *testing.T) {
	if _, err := New(Config{Size: 1 << 20}); err == nil {
		t.Error("1 MiB accepted")
	}
	if _, err := New(Config{Size: 64*mib + 1}); err == nil {
		t.Error("odd size accepted")
	}
	if _, err := New(Config{Size: 64 * mib, Label: "lower"}); err == nil {
		t.Error("label accepted")
	}
	fs, err := New(Config{Size: 4 * mib})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a:b", "a?", strings.Repeat("x", 256), "dot."} {
		if err := fs.AddBytes(name, nil); err == nil {
			t.Errorf("name %q accepted", name)
		}
	}
	if err := fs.AddBytes("a", nil); err != nil {
		t.Fatal(err)
	}
	if err := fs.AddBytes("A", nil); err == nil {
		t.Error("same name in another case accepted")
	}
	if err := fs.AddBytes("a/b", nil); err == nil {
		t.Error("file below a file accepted")
	}
	if err := fs.AddFile("short", 5, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("1234")), nil }); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := fs.Write(f); err == nil {
		t.Error("content shorter than announced accepted")
	}
	full, err := New(Config{Size: 4 * mib})
	if err != nil {
		t.Fatal(err)
	}
	if err := full.AddBytes("big", make([]byte, 4*mib)); err != nil {
		t.Fatal(err)
	}
	if err := full.Write(f); err == nil {
		t.Error("more than the file system holds accepted")
	}
}

// syncedDisk notes what a file system wrote before it asked for a Sync.
type syncedDisk struct{ now, synced []byte }

func (d *syncedDisk) WriteAt(p []byte, off int64) (int, error) { return copy(d.now[off:], p), nil }
func (d *syncedDisk) Sync() error {
	d.synced = append(d.synced, d.now...)
	return nil
}

// TestContentFirst: what names a file is written when its content is durable, and
// what makes all of it a file system when everything else is.
func TestContentFirst(t *testing.T) {
	const size = 3 << 20
	f, err := New(Config{Size: size})
	if err != nil {
		t.Fatal(err)
	}
	content := []byte(strings.Repeat("content ", 1000))
	if err := f.AddBytes("dir/file", content); err != nil {
		t.Fatal(err)
	}
	d := &syncedDisk{now: make([]byte, size)}
	if err := f.Write(d); err != nil {
		t.Fatal(err)
	}
	at, _, err := f.Extent("dir/file")
	if err != nil || len(d.synced) != 2*size {
		t.Fatalf("%d bytes were synced, want two times all; %v", len(d.synced), err)
	}
	first, second := d.synced[:size], d.synced[size:]
	if !bytes.Equal(first[at:][:len(content)], content) || !bytes.Equal(first[:at], make([]byte, at)) {
		t.Error("the first sync is not between the content and the tables")
	}
	if !bytes.Equal(second[sectorSize:], d.now[sectorSize:]) || !bytes.Equal(second[:sectorSize], make([]byte, sectorSize)) {
		t.Error("the second sync is not between the tables and the boot sector")
	}
}
