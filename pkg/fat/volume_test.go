package fat

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReplaceFile: the field's tools find nothing wrong afterwards, the new content
// and every other file as it was.
func TestReplaceFile(t *testing.T) {
	fsck, mcopy := tool(t, "fsck.vfat", "dosfstools"), tool(t, "mcopy", "mtools")
	for _, size := range []int64{16 * mib, 64 * mib, 700 * mib} {
		for _, length := range []int{0, 1, 3000, 40_000, 100} {
			path := build(t, size)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			v, err := Open(f, size)
			if err != nil {
				t.Fatal(err)
			}
			used := v.Used()
			want := bytes.Repeat([]byte("k"), length)
			for range 2 { // again in the chain of the first time
				if err := v.ReplaceFile("Mycelium.yaml", want); err != nil {
					t.Fatalf("%d MiB: %v", size/mib, err)
				}
			}
			got, err := v.ReadFile("mycelium.yaml", 1<<20)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d MiB: %d bytes, %v", size/mib, len(got), err)
			}
			if v.Used() < used || v.Used() > used+100_000 {
				t.Errorf("%d MiB: %d bytes in use, before %d", size/mib, v.Used(), used)
			}
			if out, err := exec.Command(fsck, "-n", "-V", path).CombinedOutput(); err != nil || strings.Contains(string(out), "rong") {
				t.Errorf("%d MiB, %d bytes: fsck.vfat: %v\n%s", size/mib, length, err, out)
			}
			dir := t.TempDir()
			cmd := exec.Command(mcopy, "-s", "-n", "-i", path, "::", dir)
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("mcopy: %v\n%s", err, out)
			}
			files := sample()
			files["mycelium.yaml"] = want
			for name, content := range files {
				if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%d MiB, %d bytes: %s: %v, %d bytes, want %d", size/mib, length, name, err, len(got), len(content))
				}
			}
		}
	}
}

// TestUsed: nothing stands behind what is said to be in use.
func TestUsed(t *testing.T) {
	for _, size := range []int64{16 * mib, 64 * mib} {
		image, err := os.ReadFile(build(t, size))
		if err != nil {
			t.Fatal(err)
		}
		v, err := Open(memory(image), size)
		if err != nil {
			t.Fatal(err)
		}
		used := v.Used()
		if len(bytes.Trim(image[used:], "\x00")) > 0 {
			t.Errorf("%d MiB: something is behind byte %d", size/mib, used)
		}
		if len(bytes.Trim(image[used-v.geo.clusterBytes():used], "\x00")) == 0 {
			t.Errorf("%d MiB: nothing is before byte %d", size/mib, used)
		}
	}
}

type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	if off > int64(len(m)) {
		return 0, errors.New("behind the end")
	}
	return copy(p, m[off:]), nil
}

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(m)) {
		return 0, errors.New("behind the end")
	}
	return copy(m[off:], p), nil
}

func TestVolumeErrors(t *testing.T) {
	image, err := os.ReadFile(build(t, 4*mib))
	if err != nil {
		t.Fatal(err)
	}
	v, err := Open(memory(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(image)
	if err := v.ReplaceFile("mycelium.yaml", make([]byte, 4*mib)); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("too large: %v", err)
	}
	if err := v.ReplaceFile("absent", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	if !bytes.Equal(image, before) {
		t.Error("a failed replacement changed something")
	}
	if _, err := v.ReadFile("EFI", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory: %v", err)
	}
	if _, err := v.ReadFile("mycelium.yaml", 3); err == nil || !strings.Contains(err.Error(), "more than 3") {
		t.Errorf("limit: %v", err)
	}
	if _, err := Open(memory(image[:mib]), mib); err == nil {
		t.Error("a cut off file system was opened")
	}
	if _, err := Open(memory(make([]byte, mib)), mib); err == nil || !strings.Contains(err.Error(), "no boot sector") {
		t.Errorf("zeros: %v", err)
	}
}

// FuzzVolume changes the first sectors of a file system and where its root directory is.
func FuzzVolume(f *testing.F) {
	const size = 4 * mib
	fsys, err := New(Config{Size: size})
	if err != nil {
		f.Fatal(err)
	}
	for name, content := range map[string]string{"mycelium.yaml": "a: b", "OS.EFI": "MZ"} {
		if err := fsys.AddBytes(name, []byte(content)); err != nil {
			f.Fatal(err)
		}
	}
	image := make(memory, size)
	if err := fsys.Write(image); err != nil {
		f.Fatal(err)
	}
	v, err := Open(image, size)
	if err != nil {
		f.Fatal(err)
	}
	roots, _, err := v.rootExtents()
	if err != nil {
		f.Fatal(err)
	}
	root := roots[0]
	f.Add([]byte(image[:1024]), []byte(image[root:root+512]), []byte("new"))
	big := bytes.Clone(image[:1024])
	clear(big[22:24]) // FAT32
	big[36], big[44] = 60, 2
	f.Add(big, []byte(image[root:root+512]), []byte{})
	f.Fuzz(func(t *testing.T, head, dir, content []byte) {
		disk := bytes.Clone(image)
		copy(disk[root:], dir)
		copy(disk, head)
		v, err := Open(memory(disk), size)
		if err != nil {
			return
		}
		if v.Used() < 0 || v.Used() > size {
			t.Fatalf("%d bytes in use", v.Used())
		}
		if v.ReplaceFile("mycelium.yaml", content) != nil {
			return
		}
		if got, err := v.ReadFile("mycelium.yaml", size); err != nil || !bytes.Equal(got, content) {
			// Clusters may be shared with the directory or another copy of the table.
			t.Logf("reads %d bytes: %v", len(got), err)
		}
	})
}
