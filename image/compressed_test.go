package image

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/digital-mycelium/os/pkg/bmap"
)

// checkCompressed expects what is beside the disk image in dir to belong to it.
func checkCompressed(t *testing.T, dir string) {
	t.Helper()
	run(t, dir, "sha256sum", "--check", "--strict", "--quiet", Checksums)
	image, packed := read(t, dir, DiskImage), read(t, dir, Compressed)
	var h zstd.Header
	if err := h.Decode(packed); err != nil || !h.HasFCS || h.FrameContentSize != uint64(len(image)) {
		t.Errorf("the frame's header says %d bytes, %v", h.FrameContentSize, err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if got, err := z.DecodeAll(packed, nil); err != nil || !bytes.Equal(got, image) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	f, err := os.Open(filepath.Join(dir, BlockMap))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := bmap.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	disk := make(memory, len(image))
	if err := m.Copy(t.Context(), disk, bytes.NewReader(image)); err != nil || !bytes.Equal(disk, image) {
		t.Errorf("copied by its map: %v", err)
	}
}

type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

// TestDropOld: what belongs to an older disk image does not stay beside a new one.
func TestDropOld(t *testing.T) {
	b := &builder{out: t.TempDir()}
	for _, name := range []string{DiskImage, Compressed, Checksums} {
		if err := os.WriteFile(filepath.Join(b.out, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.dropOld(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(b.out)
	if err != nil || len(left) != 1 || left[0].Name() != DiskImage {
		t.Errorf("%v, %v", left, err)
	}
}

func TestKernelArgs(t *testing.T) {
	for _, good := range []string{"", "quiet", "console=ttyS1 video=HDMI-A-1:1024x768", `dyndbg="file x.c +p"`, "rootflags=x"} {
		if err := checkKernelArgs(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"init=/bin/sh", "quiet rdinit=/x", "a\nb", "mycelium.board=pc", "-- x", "ä", "root=/dev/sda", `"init=/x"`} {
		if err := checkKernelArgs(bad); err == nil || !strings.Contains(err.Error(), "kernel argument") {
			t.Errorf("%q: error %v", bad, err)
		}
	}
	if _, err := Build(t.Context(), Options{Board: "qemu-amd64", KernelArgs: "init=/x"}); err == nil || !strings.Contains(err.Error(), "init=/x") {
		t.Errorf("error %v", err)
	}
}
