package install

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/disklayout"
	"github.com/digital-mycelium/os/pkg/gpt"
)

func layout() disklayout.Layout {
	return disklayout.Layout{Partitions: []disklayout.Partition{
		{Label: "EFI", Type: "esp", SizeMiB: 64}, {Label: "A", Type: "xbootldr", SizeMiB: 512}, {Label: "B", Type: "slot", SizeMiB: 512}, {Label: "STATE", Type: "state", SizeMiB: 64},
	}}
}

// memory is a small disk.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

func put(size int, parts map[int]string) []byte {
	b := make([]byte, size)
	for at, text := range parts {
		copy(b[at:], text)
	}
	return b
}

func withTable(t *testing.T, parts ...gpt.Partition) []byte {
	t.Helper()
	b := make(memory, 16*mib)
	table, err := gpt.New(gpt.RandomGUID(), 512, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if _, err := table.AddPartition(p, 2*mib); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Write(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestInspect(t *testing.T) {
	const size = 8 * mib
	basic := gpt.MustParseGUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")
	damaged := withTable(t, gpt.Partition{Type: gpt.State, Name: "STATE"})
	damaged[600] ^= 1
	clear(damaged[len(damaged)-512:])
	for _, tt := range []struct {
		name string
		b    []byte
		kind Kind
		text string
	}{
		{"zeros", make([]byte, size), Blank, "nothing"},
		{"something in the middle", put(size, map[int]string{3 * mib: "x"}), Blank, "nothing"},
		{"something at the beginning", put(size, map[int]string{1000: "x"}), Foreign, "not known"},
		{"something at the end", put(size, map[int]string{size - 1: "x"}), Foreign, "not known"},
		{"tiny", make([]byte, mib), Foreign, "less than"},
		{"ours", withTable(t, gpt.Partition{Type: gpt.ESP, Name: "EFI"}, gpt.Partition{Type: gpt.State, Name: "STATE"}), Ours, "an installation of Digital Mycelium OS"},
		{"Windows", withTable(t, gpt.Partition{Type: gpt.ESP}, gpt.Partition{Type: basic, Name: "Basic\x1b[2J data"}), Foreign, "the partitions EFI (2 MiB), Basic[2J data (2 MiB)"},
		{"an empty table", withTable(t), Foreign, "without partitions"},
		{"a damaged table", damaged, Foreign, "a damaged GUID"},
		{"MBR", put(size, map[int]string{446: "\x80\x00\x00\x00\x0c\x00\x00\x00\x00\x08\x00\x00\x00\x00\x01\x00", 510: "\x55\xaa"}), Foreign, "an MBR with the partitions type 0c (32 MiB)"},
		{"boot sector", put(size, map[int]string{510: "\x55\xaa"}), Foreign, "a boot sector"},
		{"ext4", put(size, map[int]string{1080: "\x53\xef"}), Foreign, "ext4"},
		{"LUKS", put(size, map[int]string{0: "LUKS\xba\xbe"}), Foreign, "LUKS"},
		{"RAID at the end", put(size, map[int]string{size - 64<<10: "\xfc\x4e\x2b\xa9"}), Foreign, "RAID"},
		{"NTFS", put(size, map[int]string{3: "NTFS    ", 510: "\x55\xaa"}), Foreign, "NTFS"},
		{"interrupted", put(size, map[int]string{0: "mycelium-os: an installation is being made here; this disk holds nothing\n", 5000: "x"}), Unfinished, "interrupted"},
	} {
		c, err := Inspect(bytes.NewReader(tt.b), int64(len(tt.b)))
		if err != nil || c.Kind != tt.kind || !strings.Contains(c.Text, tt.text) {
			t.Errorf("%s: %d %q, %v, want %d %q", tt.name, c.Kind, c.Text, err, tt.kind, tt.text)
		}
	}
	if _, err := Inspect(bytes.NewReader(make([]byte, size)), 2*size); err == nil {
		t.Error("a disk that cannot be read to its end: no error")
	}
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte("EFI PART"), uint32(512), []byte{})
	f.Add([]byte("\x55\xaa"), uint32(510), []byte("\xfc\x4e\x2b\xa9"))
	f.Fuzz(func(t *testing.T, b []byte, at uint32, end []byte) {
		disk := make([]byte, 4*mib)
		copy(disk[int(at)%len(disk):], b)
		copy(disk[len(disk)-min(len(end), mib):], end)
		c, err := Inspect(bytes.NewReader(disk), int64(len(disk)))
		if err != nil || c.Text == "" {
			t.Fatalf("%+v, %v", c, err)
		}
		for _, part := range [][]byte{disk[:mib], disk[3*mib:]} {
			if c.Kind == Blank && len(bytes.TrimLeft(part, "\x00")) > 0 {
				t.Fatal("a disk that holds something counts as blank")
			}
		}
	})
}

func TestChoose(t *testing.T) {
	const gib = 1 << 30
	ours, err := layout().Table(8*gib, disklayout.RandomIDs)
	if err != nil {
		t.Fatal(err)
	}
	other := layout()
	other.Partitions[1].SizeMiB = 256
	smaller, err := other.Table(8*gib, disklayout.RandomIDs)
	if err != nil {
		t.Fatal(err)
	}
	disk := func(name string, kind Kind, change func(*Disk)) Disk {
		d := Disk{Name: name, Model: "Disk of " + name, Serial: "S-" + name, Size: 8 * gib, SectorSize: 512, Content: Content{Kind: kind, Text: "something"}}
		if kind == Ours {
			d.Table = ours
		}
		if change != nil {
			change(&d)
		}
		return d
	}
	stick := disk("sda", Ours, func(d *Disk) { d.Medium, d.Removable = true, true })
	blank, mine, windows := disk("sdb", Blank, nil), disk("sdc", Ours, nil), disk("sdd", Foreign, nil)
	for _, tt := range []struct {
		name, order, want, err string
		disks                  []Disk
	}{
		{"auto, blank", "auto", "sdb", "", []Disk{stick, blank}},
		{"auto, ours", "auto", "sdc", "", []Disk{stick, mine}},
		{"auto, interrupted", "auto", "sdb", "", []Disk{stick, disk("sdb", Unfinished, nil)}},
		{"auto, blank beside a foreign one", "auto", "sdb", "", []Disk{stick, windows, blank}},
		{"auto, two", "auto", "", "more than one disk could be meant, name one of: are sdb", []Disk{stick, blank, mine}},
		{"auto, foreign", "auto", "", "sdd (Disk of sdd, 8.0 GiB) holds something: order to wipe", []Disk{stick, windows}},
		{"auto, two foreign", "auto", "", "no disk is blank", []Disk{stick, windows, disk("sde", Foreign, nil)}},
		{"wipe:auto, two foreign", "wipe:auto", "", "no disk is blank", []Disk{stick, windows, disk("sde", Foreign, nil)}},
		{"wipe:auto, foreign", "wipe:auto", "sdd", "", []Disk{stick, windows}},
		{"wipe:auto, ours", "wipe:auto", "sdc", "", []Disk{stick, mine}},
		{"auto, only the stick", "auto", "", "there is no such disk", []Disk{stick}},
		{"auto, another stick", "auto", "", "there is no such disk", []Disk{stick, disk("sdb", Blank, func(d *Disk) { d.Removable = true })}},
		{"auto, too small", "auto", "", "there is no such disk", []Disk{disk("sdb", Blank, func(d *Disk) { d.Size = gib })}},
		{"auto, no disk", "auto", "", "there is no disk at all", nil},
		{"by name", "sdb", "sdb", "", []Disk{stick, blank, mine}},
		{"by name, a removable one", "sdb", "sdb", "", []Disk{stick, disk("sdb", Blank, func(d *Disk) { d.Removable = true })}},
		{"by name, absent", "sdx", "", "there is no such disk: sdx; there are sda", []Disk{stick, blank}},
		{"the stick", "wipe:sda", "", "is what the system was started from", []Disk{stick, blank}},
		{"by name, foreign", "sdd", "", "order to wipe", []Disk{windows}},
		{"by name, foreign, wipe", "wipe:sdd", "sdd", "", []Disk{windows}},
		{"read-only", "wipe:sdb", "", "is read-only", []Disk{disk("sdb", Blank, func(d *Disk) { d.ReadOnly = true })}},
		{"large sectors", "wipe:sdb", "", "sectors of 4096", []Disk{disk("sdb", Blank, func(d *Disk) { d.SectorSize = 4096 })}},
		{"too small", "wipe:sdb", "", "too small: 1.4 GiB", []Disk{disk("sdb", Blank, func(d *Disk) { d.Size = gib })}},
		{"another layout", "auto", "", "another layout", []Disk{disk("sdc", Ours, func(d *Disk) { d.Table = smaller })}},
		{"another layout, wipe", "wipe:auto", "sdc", "", []Disk{disk("sdc", Ours, func(d *Disk) { d.Table = smaller })}},
		{"serial", "serial:S-sdc", "sdc", "", []Disk{stick, blank, mine}},
		{"serial of two", "serial:S-sd", "", "more than one disk", []Disk{blank, mine}},
		{"model", "model:Disk of sdb", "sdb", "", []Disk{stick, blank, mine}},
		{"model, absent", "model:Floppy", "", "there is no such disk", []Disk{stick, blank, mine}},
		{"smallest", "size:smallest", "sdb", "", []Disk{stick, blank, disk("sdc", Ours, func(d *Disk) { d.Size = 9 * gib })}},
		{"largest", "size:largest", "sdc", "", []Disk{stick, blank, disk("sdc", Ours, func(d *Disk) { d.Size, d.Table = 9*gib, ours })}},
		{"largest of equal ones", "size:largest", "", "more than one", []Disk{stick, blank, mine}},
	} {
		o, err := ParseOrder(tt.order)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Choose(tt.disks, o, layout())
		if got.Name != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %q, %v, want %q, %q", tt.name, got.Name, err, tt.want, tt.err)
		}
		if err != nil && !errors.Is(err, ErrNoDisk) && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v has no reason", tt.name, err)
		}
	}
	for _, bad := range []string{"", "wipe:", "/dev/sda", "wipe", "keep:sda:"} {
		if o, err := ParseOrder(bad); err == nil && bad != "wipe" {
			t.Errorf("order %q: %+v", bad, o)
		}
	}
}

func TestMenu(t *testing.T) {
	disks := func() []Disk {
		return []Disk{
			{Name: "sda", Medium: true},
			{Name: "sdb", Size: 8 << 30, Content: Content{Kind: Foreign, Text: "Windows"}},
			{Name: "sdc", Size: 8 << 30, Content: Content{Kind: Ours, Text: "an installation"}},
		}
	}
	for _, tt := range []struct {
		name  string
		lines []string
		last  string
		want  *Order
	}{
		{"noise", []string{"", "x", "1", "YES"}, "", nil},
		{"the list", []string{"i"}, "1  sdb (8.0 GiB): Windows\n  2  sdc", nil},
		{"leave", []string{"i", ""}, "Nothing is installed.", nil},
		{"a wrong number", []string{"i", "3"}, "from 1 to 2", nil},
		{"ask", []string{"i", "1"}, "Everything on sdb (8.0 GiB) is lost: Windows.", nil},
		{"yes", []string{"i", "7", "1", "YES"}, "Installing on sdb.", &Order{"sdb", true}},
		{"not quite", []string{"i", "1", "yes"}, "nothing is installed", nil},
		{"keep", []string{"I", "2", "KEEP"}, "Installing on sdc.", &Order{"sdc", false}},
		{"wipe", []string{"i", "2", " WIPE\r"}, "Installing on sdc.", &Order{"sdc", true}},
		{"YES does not wipe ours", []string{"i", "2", "YES"}, "nothing is installed", nil},
		{"KEEP keeps nothing foreign", []string{"i", "1", "KEEP"}, "nothing is installed", nil},
		{"over again", []string{"i", "1", "q", "YES"}, "", nil},
	} {
		var m Menu
		var answer string
		var order *Order
		for _, line := range tt.lines {
			answer, order = m.Line(line, disks)
		}
		if !strings.Contains(answer, tt.last) || answer != "" && tt.last == "" || (order == nil) != (tt.want == nil) || order != nil && *order != *tt.want {
			t.Errorf("%s: %q, %+v, want %q, %+v", tt.name, answer, order, tt.last, tt.want)
		}
		if order != nil && m.Busy() {
			t.Errorf("%s: the menu goes on after the order", tt.name)
		}
	}
	var m Menu
	if answer, _ := m.Line("i", func() []Disk { return disks()[:1] }); answer != "There is no disk to install on." || m.Busy() {
		t.Errorf("without a disk: %q", answer)
	}
}
