package mbr

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/digital-mycelium/os/pkg/gpt"
)

const (
	mib  = 1 << 20
	size = 2048 * mib
)

// disk is a sparse disk in memory that can lose its power.
type disk struct {
	sectors map[int64][]byte
	writes  int
	stop    int // the write at which the power goes; 0 for never
}

var errCut = errors.New("power cut")

func newDisk() *disk { return &disk{sectors: map[int64][]byte{}} }

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	if d.writes++; d.stop != 0 && d.writes >= d.stop {
		return 0, errCut
	}
	if off%sectorSize != 0 || len(p) != sectorSize {
		return 0, errors.New("not one sector: a power cut could tear it")
	}
	d.sectors[off] = bytes.Clone(p)
	return len(p), nil
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	copy(p, d.sectors[off])
	return len(p), nil
}

func (d *disk) clone() *disk {
	c := newDisk()
	for at, s := range d.sectors {
		c.sectors[at] = bytes.Clone(s)
	}
	return c
}

func newImage(t *testing.T, bytes int64) *gpt.Table {
	t.Helper()
	v, err := NewView(bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		name string
		mib  int64
	}{{"BOOT", 64}, {"A", 512}, {"B", 512}, {"STATE", 64}} {
		if _, err := v.AddPartition(gpt.Partition{Type: gpt.Slot, Name: p.name}, p.mib*mib); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func view(t *testing.T, d *disk) *gpt.Table {
	t.Helper()
	v, err := View(d, size)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestView: an image's table, then DATA, then a longer DATA, each read back.
func TestView(t *testing.T) {
	d := newDisk()
	if err := newImage(t, size).Write(d); err != nil {
		t.Fatal(err)
	}
	v := view(t, d)
	if _, ok := v.Find(gpt.Data, "DATA"); ok || len(v.Partitions) != 4 {
		t.Errorf("%+v", v.Partitions)
	}
	data, err := v.AddPartition(gpt.Partition{Type: gpt.Data, Name: "DATA"}, 256*mib)
	if err != nil || data.Number != 6 {
		t.Fatalf("%+v, %v", data, err)
	}
	if err := v.Write(d); err != nil {
		t.Fatal(err)
	}
	v = view(t, d)
	got, ok := v.Find(gpt.Data, "DATA")
	if !ok || got.First != data.First || got.Last != data.Last || v.Offset(got)%mib != 0 {
		t.Errorf("%+v, want %+v", got, data)
	}
	for name, typ := range map[string]gpt.GUID{"BOOT": gpt.ESP, "A": gpt.XBOOTLDR, "B": gpt.Slot, "STATE": gpt.State} {
		if _, ok := v.Find(typ, name); !ok {
			t.Errorf("%s is missing in %+v", name, v.Partitions)
		}
	}
	grown, ok := v.GrowLast()
	if !ok || grown.Number != 6 {
		t.Fatalf("%+v, %v", grown, ok)
	}
	if err := v.Write(d); err != nil {
		t.Fatal(err)
	}
	if got, _ := view(t, d).Find(gpt.Data, ""); got.Last != grown.Last || grown.Last < size/sectorSize-2048 {
		t.Errorf("%+v, want %+v", got, grown)
	}
	if _, err := v.AddPartition(gpt.Partition{Type: gpt.Data, Name: "MORE"}, mib); err == nil {
		t.Error("a seventh partition")
	}
}

// TestPowerCuts: after a cut at any write the table is the old or the new one.
func TestPowerCuts(t *testing.T) {
	d := newDisk()
	if err := newImage(t, size).Write(d); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*gpt.Table) error{
		func(v *gpt.Table) error {
			_, err := v.AddPartition(gpt.Partition{Type: gpt.Data, Name: "DATA"}, 256*mib)
			return err
		},
		func(v *gpt.Table) error {
			if _, grown := v.GrowLast(); !grown {
				return errors.New("it does not grow")
			}
			return nil
		},
	} {
		before, whole := view(t, d), d.clone()
		after := view(t, d)
		if err := change(after); err != nil {
			t.Fatal(err)
		}
		if err := after.Write(whole); err != nil {
			t.Fatal(err)
		}
		want := view(t, whole)
		for stop := 1; stop <= whole.writes; stop++ {
			c := d.clone()
			c.stop = stop
			if err := after.Write(c); !errors.Is(err, errCut) {
				t.Fatalf("cut %d: %v", stop, err)
			}
			got := view(t, c)
			if !reflect.DeepEqual(got.Partitions, before.Partitions) && !reflect.DeepEqual(got.Partitions, want.Partitions) {
				t.Errorf("cut %d: %+v", stop, got.Partitions)
			}
		}
		d = whole
	}
}

// TestSfdisk: the field's tool finds nothing, and sees the same partitions.
func TestSfdisk(t *testing.T) {
	sfdisk, err := exec.LookPath("sfdisk")
	if err != nil {
		t.Fatal("sfdisk is missing: apt-get install fdisk")
	}
	path := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	v := newImage(t, size)
	if _, err := v.AddPartition(gpt.Partition{Type: gpt.Data, Name: "DATA"}, 0); err != nil {
		t.Fatal(err)
	}
	if err := v.Write(f); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(sfdisk, "--verify", path).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("No errors detected")) {
		t.Errorf("sfdisk --verify: %v\n%s", err, out)
	}
	out, err = exec.Command(sfdisk, "--dump", path).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("disk.img6 : start=     2365440,")) || !bytes.Contains(out, []byte("label-id: 0x4f43594d")) {
		t.Errorf("sfdisk --dump: %v\n%s", err, out)
	}
}

func TestRefusals(t *testing.T) {
	good := func() *Table {
		return &Table{Partitions: []Partition{{1, FAT32, 2048, 2048}, {4, Extended, 8192, 8192}, {5, Linux, 10240, 2048}, {6, Linux, 14336, 1024}}}
	}
	if err := good().Write(newDisk(), size); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Table){
		"overlap":        func(t *Table) { t.Partitions[0].Sectors = 8000 },
		"outside":        func(t *Table) { t.Partitions[3].Sectors = 10000 },
		"beyond":         func(t *Table) { t.Partitions[0].First = 1 << 31 },
		"no room":        func(t *Table) { t.Partitions[2].Sectors = 4096 },
		"order":          func(t *Table) { t.Partitions[0].Number = 7 },
		"empty":          func(t *Table) { t.Partitions[0].Sectors = 0 },
		"no extended":    func(t *Table) { t.Partitions[1].Type = FAT32 },
		"extended twice": func(t *Table) { t.Partitions[0].Type = Extended },
		"a gap":          func(t *Table) { t.Partitions[3].Number = 7 },
	} {
		bad := good()
		change(bad)
		d := newDisk()
		if err := bad.Write(d, size); err == nil || d.writes > 0 {
			t.Errorf("%s: %v after %d writes", name, err, d.writes)
		}
	}
	d := newDisk()
	if _, err := Read(d, size); !errors.Is(err, ErrNoTable) {
		t.Errorf("an empty disk: %v", err)
	}
	table, err := gpt.New(gpt.RandomGUID(), sectorSize, size)
	if err != nil {
		t.Fatal(err)
	}
	file := make(memory, size/64)
	if err := table.Resize(int64(len(file))); err != nil {
		t.Fatal(err)
	}
	if err := table.Write(file); err != nil {
		t.Fatal(err)
	}
	if _, err := View(file, int64(len(file))); !errors.Is(err, ErrNoTable) {
		t.Errorf("a GUID partition table: %v", err)
	}
}

type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m).ReadAt(p, off)
}

// FuzzRead: what can be read can be written where the links are where Write puts them,
// and reads the same again.
func FuzzRead(f *testing.F) {
	for _, table := range []*Table{
		{Signature: signature, Partitions: []Partition{{1, FAT32, 1, 1}, {4, Extended, 3, 9}, {5, Linux, 4, 2}, {6, Linux, 8, 3}}},
		{Partitions: []Partition{{2, FAT32, 1, 1}, {4, 0x05, 3, 9}}},
	} {
		seed := make(memory, 16*sectorSize)
		if err := table.Write(seed, int64(len(seed))); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64*sectorSize {
			return
		}
		table, err := Read(memory(b), int64(len(b)))
		if err != nil {
			return
		}
		again := make(memory, len(b))
		if err := table.Write(again, int64(len(b))); err != nil {
			return // links elsewhere
		}
		got, err := Read(again, int64(len(b)))
		if err != nil || !reflect.DeepEqual(got, table) {
			t.Fatalf("%+v, %v, want %+v", got, err, table)
		}
	})
}
