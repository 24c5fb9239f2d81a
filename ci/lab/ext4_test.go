package lab

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// makeExt4 makes an ext4 file system in a file of size bytes.
func makeExt4(t *testing.T, size int64, options ...string) string {
	t.Helper()
	if _, err := exec.LookPath("mke2fs"); err != nil {
		t.Fatal("mke2fs is missing: apt-get install e2fsprogs")
	}
	name := filepath.Join(t.TempDir(), "ext4.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-q", "-F", "-t", "ext4"}, options...)
	if out, err := exec.Command("mke2fs", append(args, name)...).CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
	return name
}

func TestSuperblocksAreAll(t *testing.T) {
	for _, options := range [][]string{
		{"-b", "4096"},
		{"-b", "1024"},
		{"-b", "4096", "-O", "sparse_super2"},
		{"-b", "1024", "-O", "^sparse_super,^resize_inode"},
	} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			name := makeExt4(t, 600<<20, options...)
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			all, err := Superblocks(f)
			if err != nil {
				t.Fatal(err)
			}
			if len(all) < 3 {
				t.Fatalf("found superblocks at %v: want the primary and backups", all)
			}
			if err := Scramble(f, all[0]); err != nil {
				t.Fatal(err)
			}
			if _, err := Superblocks(f); !errors.Is(err, errNoExt4) {
				t.Errorf("after scrambling the primary: %v", err)
			}
			for _, off := range all[1:] {
				b := make([]byte, superblockSize)
				if _, err := f.ReadAt(b, off); err != nil {
					t.Fatal(err)
				}
				if _, err := parseSuperblock(b); err != nil {
					t.Errorf("backup at %d: %v", off, err)
				}
			}
		})
	}
}

func FuzzParseSuperblock(f *testing.F) {
	f.Add(make([]byte, superblockSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSuperblock(b)
		if err == nil && (s.blockSize < 1024 || s.blocksPerGroup == 0) {
			t.Errorf("accepted %+v", s)
		}
	})
}
