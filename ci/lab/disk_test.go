package lab

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/gpt"
)

// partitioned makes a raw disk of size bytes with one partition, and returns its
// file's name and where the partition begins.
func partitioned(t *testing.T, size, part int64, p gpt.Partition) (name string, offset int64) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	table, err := gpt.New(gpt.DeriveGUID("lab"), 512, size)
	if err != nil {
		t.Fatal(err)
	}
	added, err := table.AddPartition(p, part)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Write(f); err != nil {
		t.Fatal(err)
	}
	return name, table.Offset(added)
}

// makeDisk makes a raw disk whose partition DATA holds an ext4 file system
// with the file /heap.
func makeDisk(t *testing.T) string {
	t.Helper()
	const size, part = 128 << 20, 64 << 20
	name, offset := partitioned(t, size, part, gpt.Partition{Type: gpt.Data, Name: "DATA", ID: gpt.DeriveGUID("data")})
	system := makeExt4(t, part, "-b", "1024")
	heap := filepath.Join(t.TempDir(), "heap")
	if err := os.WriteFile(heap, []byte("full"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("debugfs", "-w", "-R", "write "+heap+" heap", system).CombinedOutput(); err != nil {
		t.Fatalf("debugfs: %v\n%s", err, out)
	}
	content, err := os.Open(system)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(io.NewOffsetWriter(f, offset), content); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPartitionSurgery(t *testing.T) {
	name := makeDisk(t)
	disk, err := OpenDisk(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := disk.Partition("NONE"); err == nil {
		t.Error("found a partition that is not there")
	}
	p, err := disk.Partition("DATA")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if dirty, err := p.Dirty(); err != nil || dirty {
		t.Errorf("dirty %v, %v: want a clean file system", dirty, err)
	}
	before, err := p.Sum()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Remove(t.Context(), "/heap"); err != nil {
		t.Fatal(err)
	}
	if after, err := p.Sum(); err != nil || after == before {
		t.Errorf("removing a file left the bytes as they were (%v)", err)
	}
	if err := p.Check(t.Context()); err != nil {
		t.Errorf("after removing a file: %v", err)
	}
	all, err := Superblocks(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := Scramble(p, all[0]); err != nil {
		t.Fatal(err)
	}
	if err := p.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "DATA") {
		t.Errorf("check without a superblock: %v", err)
	}
	if _, err := p.WriteAt([]byte{1}, p.Size); err == nil {
		t.Error("wrote beyond the partition")
	}
}

func TestFilesOfAFATPartition(t *testing.T) {
	const size, part = 64 << 20, 32 << 20
	name, offset := partitioned(t, size, part, gpt.Partition{Type: gpt.ESP, Name: "EFI", ID: gpt.DeriveGUID("efi")})
	at := fmt.Sprintf("%s@@%d", name, offset)
	if out, err := exec.Command("mformat", "-i", at, "-T", fmt.Sprint(part/512), "::").CombinedOutput(); err != nil {
		t.Fatalf("mformat (of mtools): %v\n%s", err, out)
	}
	disk, err := OpenDisk(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
	}()
	p, err := disk.Partition("EFI")
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"first", "second, longer", ""} {
		if err := p.PutFile(t.Context(), "a.yaml", []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := exec.Command("mtype", "-i", at, "::a.yaml").Output(); err != nil || string(got) != content {
			t.Errorf("%q, want %q (%v)", got, content, err)
		}
	}
	if err := p.RemoveFile(t.Context(), "a.yaml"); err != nil {
		t.Fatal(err)
	}
	if err := p.RemoveFile(t.Context(), "a.yaml"); err == nil || !strings.Contains(err.Error(), "a.yaml") {
		t.Errorf("a file that is not there: %v", err)
	}
}
