package flash

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/image/disk"
	"github.com/digital-mycelium/os/pkg/gpt"
	"github.com/digital-mycelium/os/pkg/mbr"
)

// TestRenew: disk and partitions get identifiers that no other disk has, both copies of
// the table are whole, and nothing else differs; a configuration in the same step too.
func TestRenew(t *testing.T) {
	s := newSample(t)
	before := readTable(t, s.data)
	seen := map[gpt.GUID]bool{before.Disk: true}
	for _, p := range before.Partitions {
		seen[p.ID] = true
	}
	config := append(bytes.Clone(disk.ExampleConfig), bytes.Repeat([]byte("# more\n"), 9000)...)
	edit := func([]byte) ([]byte, error) { return config, nil }
	for _, path := range []string{s.plain, s.mapped, s.packed, s.packedMapped} {
		for _, blank := range []bool{true, false} {
			name := fmt.Sprint(filepath.Base(path), " blank ", blank)
			d := old(len(s.data) + 48*mib)
			if blank {
				clear(d.memory)
			}
			if err := Write(t.Context(), open(t, path), d.disk(blank), Options{Renew: true, Edit: edit}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			check(t, s, d.memory, config)
			after := readTable(t, d.memory[:len(s.data)])
			if after.Damage != nil || seen[after.Disk] {
				t.Errorf("%s: %v, disk %s", name, after.Damage, after.Disk)
			}
			seen[after.Disk] = true
			for i, p := range after.Partitions {
				if seen[p.ID] {
					t.Errorf("%s: partition %s has the identifier of another one", name, p.Name)
				}
				seen[p.ID] = true
				// what FAT serial numbers are made of
				if !bytes.Equal(p.ID[:4], before.Partitions[i].ID[:4]) {
					t.Errorf("%s: partition %s: %s", name, p.Name, p.ID)
				}
				p.ID = before.Partitions[i].ID
				if p != before.Partitions[i] {
					t.Errorf("%s: %+v", name, p)
				}
			}
		}
	}
	path := filepath.Join(t.TempDir(), "flashed.img")
	i := open(t, s.packedMapped)
	target, err := OpenFile(path, i.Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(t.Context(), i, target.Disk, Options{Renew: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := target.Finish(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sgdisk", "--verify", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "No problems found") {
		t.Errorf("sgdisk: %v (apt-get install gdisk)\n%s", err, out)
	}
}

// TestRenewOthers: what is no table of ours stays.
func TestRenewOthers(t *testing.T) {
	empty, err := gpt.New(gpt.RandomGUID(), 512, 8*mib)
	if err != nil {
		t.Fatal(err)
	}
	foreign := make(memory, 8*mib)
	if err := empty.Write(foreign); err != nil {
		t.Fatal(err)
	}
	for name, head := range map[string][]byte{"no table": make([]byte, mib), "another system's": foreign[:mib]} {
		if patches, err := renew(head, 8*mib); len(patches) > 0 || err != nil {
			t.Errorf("%s: %d patches, %v", name, len(patches), err)
		}
	}
}

func TestHasMBR(t *testing.T) {
	data := make(memory, 8*mib)
	table := &mbr.Table{Signature: 1, Partitions: []mbr.Partition{{Number: 1, Type: mbr.FAT32, First: 2048, Sectors: 4096}}}
	if err := table.Write(data, int64(len(data))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pi.img")
	write(t, path, data)
	for image, want := range map[string]bool{path: true, newSample(t).plain: false} {
		if got, err := open(t, image).HasMBR(); got != want || err != nil {
			t.Errorf("%s: %v, %v", image, got, err)
		}
	}
}

func readTable(t *testing.T, data []byte) *gpt.Table {
	t.Helper()
	table, err := gpt.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return table
}
