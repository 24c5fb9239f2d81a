package qemu

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func writeTemp(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCopySparse(t *testing.T) {
	data := append([]byte("head"), make([]byte, 8<<20)...)
	data = append(data, []byte("tail")...)
	from := filepath.Join(t.TempDir(), "from")
	f, err := os.Create(from)
	if err != nil {
		t.Fatal(err)
	}
	for at, part := range map[int64]string{0: "head", int64(len(data)) - 4: "tail"} {
		if _, err := f.WriteAt([]byte(part), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "to")
	const size = 32 << 20
	if err := copySparse(to, from, size); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != size || !bytes.Equal(got[:len(data)], data) {
		t.Fatal("the copy differs")
	}
	info, err := os.Stat(to)
	if err != nil {
		t.Fatal(err)
	}
	if blocks := info.Sys().(*syscall.Stat_t).Blocks * 512; blocks > 1<<20 {
		t.Errorf("the copy takes %d bytes: holes became data", blocks)
	}
}

func TestCopySparseRefusesASmallDisk(t *testing.T) {
	from := writeTemp(t, make([]byte, 4096))
	to := filepath.Join(t.TempDir(), "to")
	if err := copySparse(to, from, 1024); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Fatalf("error %v", err)
	}
	if _, err := os.Stat(to); err == nil {
		t.Fatal("it left a file")
	}
}

func TestClassify(t *testing.T) {
	tests := []struct {
		head string
		want imageKind
		ok   bool
	}{
		{"MZ\x90\x00rest", osFile, true},
		{"\xebc\x90\x00 a boot sector", diskImage, true},
		{"QFI\xfb\x00\x00\x00\x03", 0, false},
		{"MZ", 0, false},
	}
	for _, tt := range tests {
		got, err := classify(writeTemp(t, []byte(tt.head)))
		if (err == nil) != tt.ok || got != tt.want {
			t.Errorf("classify(%q) = %v, %v", tt.head, got, err)
		}
	}
	if _, err := classify("/no/such/image"); err == nil {
		t.Error("no error for a missing image")
	}
}

func TestPrepareDiskFromAnOSFile(t *testing.T) {
	s := NodeSpec{Name: "n", Arch: AMD64, Dir: t.TempDir(), Image: writeTemp(t, []byte("MZ program")), DiskBytes: 1 << 20}
	for range 2 { // the second time it is there already
		esp, err := prepareDisk(s)
		if err != nil || !esp {
			t.Fatalf("esp %v, %v", esp, err)
		}
	}
	got, err := os.ReadFile(filepath.Join(s.Dir, "esp/EFI/BOOT/BOOTX64.EFI"))
	if err != nil || string(got) != "MZ program" {
		t.Fatalf("%q, %v", got, err)
	}
	if size, err := fileSize(s.file(diskFile)); err != nil || size != 1<<20 {
		t.Fatalf("disk of %d bytes, %v", size, err)
	}
}
