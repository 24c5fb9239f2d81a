package disk

import (
	"errors"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/gpt"
)

const mib = 1 << 20

// table returns a table for size bytes with the named partitions of 64 MiB.
func table(t *testing.T, size int64, parts ...string) *gpt.Table {
	t.Helper()
	tab, err := gpt.New(gpt.DeriveGUID("disk", strings.Join(parts, " ")), 512, size)
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]gpt.GUID{"EFI": gpt.ESP, "STATE": gpt.State, "DATA": gpt.Data, "A": gpt.Slot}
	for _, name := range parts {
		if _, err := tab.AddPartition(gpt.Partition{Type: types[name], Name: name, ID: gpt.DeriveGUID(strings.Join(parts, " "), name)}, 64*mib); err != nil {
			t.Fatal(err)
		}
	}
	return tab
}

func TestChoose(t *testing.T) {
	ours := Disk{Name: "vda", Table: table(t, 1<<30, "EFI", "A", "STATE")}
	other := Disk{Name: "vdb", Table: table(t, 1<<30, "EFI", "STATE")}
	stranger := Disk{Name: "sda", Table: table(t, 1<<30, "EFI")}
	id := func(d Disk, n int) string { return strings.ToUpper(d.Table.Partitions[n].ID.String()) }
	tests := []struct {
		name   string
		disks  []Disk
		loader []string
		want   string
		err    string
	}{
		{"none", nil, nil, "", ErrNone.Error()},
		{"only a stranger's", []Disk{stranger}, nil, "", ErrNone.Error()},
		{"only one", []Disk{stranger, ours}, nil, "vda", ""},
		{"two", []Disk{ours, other}, nil, "", "vda, vdb all hold"},
		{"two, loader knows", []Disk{ours, other}, []string{id(other, 0)}, "vdb", ""},
		{"two, loader's second knows", []Disk{ours, other}, []string{"0", id(ours, 1)}, "vda", ""},
		{"loader on a stranger's disk (USB loader)", []Disk{stranger, ours}, []string{id(stranger, 0)}, "vda", ""},
		{"two copies of one image", []Disk{ours, {Name: "vdc", Table: ours.Table}}, []string{id(ours, 0)}, "", "vda, vdc are copies of one image"},
		{"two copies, loader names a third", []Disk{ours, {Name: "vdc", Table: ours.Table}, other}, []string{id(other, 0)}, "vdb", ""},
		{"loader names nothing here", []Disk{ours, other}, []string{"5f0c6d1e-0000-0000-0000-000000000000"}, "", "all hold"},
	}
	for _, tt := range tests {
		got, err := Choose(tt.disks, tt.loader)
		if got.Name != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %q, %v, want %q, %q", tt.name, got.Name, err, tt.want, tt.err)
		}
	}
	if all := []Disk{ours, stranger}; !Names(all, []string{"0", id(stranger, 0)}) || Names(all, []string{id(other, 0)}) || Names(all, nil) {
		t.Error("Names does not say which disks the loader names")
	}
	if _, err := Choose(nil, nil); !errors.Is(err, ErrNone) {
		t.Errorf("error %v is not ErrNone", err)
	}
}

func TestPlan(t *testing.T) {
	tests := []struct {
		name              string
		table             *gpt.Table
		size              int64
		fit, create, grow bool
		dataBytes         int64
		inTable           bool
		err               string
	}{
		{"first boot, larger disk", table(t, 256*mib, "EFI", "STATE"), 2048 * mib, true, true, false, (2048 - 129 - 1) * mib, false, ""},
		{"first boot, disk of the image's size", table(t, 1024*mib, "EFI", "STATE"), 1024 * mib, false, true, false, (1024 - 129 - 1) * mib, false, ""},
		{"later boot", table(t, 256*mib, "EFI", "STATE", "DATA"), 256 * mib, false, false, true, (256 - 129 - 1) * mib, true, ""},
		{"disk grew", table(t, 194*mib, "EFI", "STATE", "DATA"), 1024 * mib, true, false, true, (1024 - 129 - 1) * mib, true, ""},
		{"grew too little", table(t, 194*mib, "EFI", "STATE", "DATA"), 200 * mib, true, false, false, 64 * mib, true, ""},
		{"DATA is not last", table(t, 400*mib, "DATA", "EFI", "STATE"), 400 * mib, false, false, false, 64 * mib, true, ""},
		{"disk too small", table(t, 256*mib, "EFI", "STATE"), 300 * mib, true, false, false, 0, false, "only 170 MiB are left"},
		{"no space at all", table(t, 130*mib, "EFI", "STATE"), 130 * mib, false, false, false, 0, false, "no room"},
	}
	for _, tt := range tests {
		p, err := NewPlan(tt.table, tt.size)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.err)
			continue
		}
		if p.Fit != tt.fit || p.Create != tt.create || p.Grow != tt.grow {
			t.Errorf("%s: fit %v, create %v, grow %v", tt.name, p.Fit, p.Create, p.Grow)
		}
		if err == nil && tt.table.Bytes(p.Data) != tt.dataBytes {
			t.Errorf("%s: DATA of %d MiB, want %d", tt.name, tt.table.Bytes(p.Data)/mib, tt.dataBytes/mib)
		}
		got, ok := tt.table.Find(gpt.Data, "DATA")
		if ok != tt.inTable || ok && got != p.Data {
			t.Errorf("%s: the table has %+v (%v), the plan %+v", tt.name, got, ok, p.Data)
		}
	}
}

func TestPlanRepairsDamage(t *testing.T) {
	tab := table(t, 256*mib, "EFI", "STATE", "DATA")
	tab.Damage = errors.New("backup header: bad checksum")
	if p, err := NewPlan(tab, 256*mib); err != nil || !p.Fit {
		t.Errorf("plan %+v, %v, want a rewrite", p, err)
	}
}
