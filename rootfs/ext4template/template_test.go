package ext4template

import (
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func TestBuildTwiceGivesTheSameBytes(t *testing.T) {
	var sums [2][]string
	for i := range sums {
		t.Setenv("MYCELIUM_CACHE", t.TempDir())
		all, err := Build(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			sums[i] = append(sums[i], c.SHA256)
			if st, err := os.Stat(c.File); err != nil || st.Size() > 64<<10 {
				t.Errorf("%s: %v, want at most 64 KiB", c.Path, st.Size())
			}
		}
	}
	for i := range sums[0] {
		if sums[0][i] != sums[1][i] {
			t.Errorf("template %d: two builds differ", i)
		}
	}
}

// TestTemplates checks each file system and what growing it relies on.
func TestTemplates(t *testing.T) {
	t.Setenv("MYCELIUM_CACHE", t.TempDir())
	all, err := Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range all {
		image := filepath.Join(t.TempDir(), "image")
		unpack(t, c.File, image)
		cmd := exec.Command("e2fsck", "-fn", image)
		cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/sbin:/usr/sbin")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: e2fsck: %v: %s", c.Path, err, out)
		}
		b, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		super := b[1024:2048]
		const (
			incompat64bit, incompatSeed, compatResize = 0x80, 0x2000, 0x10
		)
		if binary.LittleEndian.Uint32(super[0x60:])&(incompat64bit|incompatSeed) != incompat64bit|incompatSeed ||
			binary.LittleEndian.Uint32(super[0x5c:])&compatResize == 0 {
			t.Errorf("%s: a feature that growing needs is missing", c.Path)
		}
		group := int64(templates[i].blockSize) * 8 * int64(templates[i].blockSize)
		backup := group
		if templates[i].blockSize == 1024 {
			backup += 1024
		}
		if magic := binary.LittleEndian.Uint16(b[backup+0x38:]); magic != 0xef53 {
			t.Errorf("%s: no copy of the superblock at byte %d", c.Path, backup)
		}
	}
}

func unpack(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	z, err := zstd.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, z); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
