package disklayout

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/digital-mycelium/os/pkg/gpt"
)

func TestParse(t *testing.T) {
	l := testLayout()
	b, err := l.Encode()
	noErr(t, err)
	got, err := Parse(b)
	noErr(t, err)
	if !reflect.DeepEqual(got, l) {
		t.Errorf("%+v, want %+v", got, l)
	}
	good := string(b)
	for _, tt := range []struct{ name, old, with, want string }{
		{"unknown field", `"files"`, `"filez"`, `unknown field "filez"`},
		{"type", `"esp"`, `"swap"`, `unknown partition type "swap"`},
		{"two of a type", `"slot"`, `"state"`, "2 partitions of type state"},
		{"label twice", `"B"`, `"A"`, `"A" is empty or used twice`},
		{"size", `"sizeMiB": 2`, `"sizeMiB": -2`, "-2 MiB"},
		{"absolute path", `"loader/loader.conf"`, `"/loader.conf"`, "want relative paths"},
		{"source above", `"source": "conf"`, `"source": "../conf"`, "want relative paths"},
		{"the configuration", `"loader/loader.conf"`, `"mycelium.yaml"`, "is not the layout's"},
		{"start", "{\n", "{\"startMiB\": -1,\n", "startMiB -1"},
		{"offset", `"offset": 0`, `"offset": 7`, "multiple of 512"},
		{"something behind", "}\n]\n}\n", "}\n]\n} {}", ""},
	} {
		bad := strings.Replace(good, tt.old, tt.with, 1)
		if tt.want == "" {
			bad, tt.want = good+"{}", "something follows"
		}
		if _, err := Parse([]byte(bad)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	b, err := testLayout().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Parse(b)
		if err != nil {
			return
		}
		if l.Validate() != nil {
			t.Error("accepted a layout that does not validate")
		}
		again, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Parse(again); err != nil || len(back.Partitions) != len(l.Partitions) || len(back.Raw) != len(l.Raw) {
			t.Errorf("written and read again: %v", err)
		}
	})
}

// TestWriteIsInstall: an image and an installation hold the same, but for the
// identifiers, and what makes STATE empty.
func TestWriteIsInstall(t *testing.T) {
	image, disk := newSimDisk(testLayout().Bytes()), newSimDisk(simSize)
	ids := func(what, label string) gpt.GUID { return gpt.DeriveGUID(what, label) }
	n, err := Write(image, testContent("a"), ids)
	noErr(t, err)
	if n != image.size {
		t.Errorf("the image has %d bytes, the layout %d", n, image.size)
	}
	noErr(t, image.Sync())
	noErr(t, Install(disk, simSize, testContent("a"), Options{}))
	systems := map[string]Content{"a": testContent("a")}
	for name, d := range map[string]*simDisk{"image": image, "installation": disk} {
		if got := starts(t, d, systems); got != "a" {
			t.Errorf("the %s starts %q", name, got)
		}
		if !testContent("a").Present(d, readTable(t, d)) || testContent("b").Present(d, readTable(t, d)) {
			t.Errorf("the %s has other boot code", name)
		}
		table := readTable(t, d)
		p, _ := table.Find(gpt.State, "STATE")
		sector := make([]byte, sectorSize)
		if _, err := d.ReadAt(sector, table.Offset(p)); err != nil || !bytes.Equal(sector, emptySector()) {
			t.Errorf("the %s: STATE is not marked as empty (%v)", name, err)
		}
	}
	if a, b := readTable(t, image), readTable(t, disk); a.Disk == b.Disk || a.Partitions[1].ID == b.Partitions[1].ID {
		t.Error("an installation has the identifiers of its image")
	}
	first := readTable(t, disk)
	noErr(t, Install(disk, simSize, testContent("a"), Options{Keep: first}))
	second := readTable(t, disk)
	if second.Disk == first.Disk || second.Partitions[0].ID == first.Partitions[0].ID {
		t.Error("a second installation has the identifiers of the first")
	}
	for _, p := range second.Partitions {
		if p.Type != gpt.XBOOTLDR && p.Type != gpt.Slot {
			continue
		}
		boot := make([]byte, sectorSize)
		_, err := disk.ReadAt(boot, second.Offset(p))
		noErr(t, err)
		serial := boot[39:43] // FAT16
		if boot[38] != 0x29 {
			serial = boot[67:71] // FAT32
		}
		if !bytes.Equal(serial, p.ID[:4]) {
			t.Errorf("slot %s has the serial number %x, its partition's identifier begins with %x", p.Name, serial, p.ID[:4])
		}
	}
}

func TestKeeps(t *testing.T) {
	l := testLayout()
	table := func(parts ...Partition) *gpt.Table {
		t.Helper()
		tab, err := Layout{Partitions: parts}.Table(simSize, RandomIDs)
		noErr(t, err)
		return tab
	}
	p := l.Partitions
	data := Partition{"DATA", "data", 4}
	for _, tt := range []struct {
		name string
		old  *gpt.Table
		want string
	}{
		{"the same", table(p...), ""},
		{"with DATA", table(append(p[:4:4], data)...), ""},
		{"slots the other way round", table(p[0], Partition{"A", "slot", 3}, Partition{"B", "xbootldr", 3}, p[3]), ""},
		{"one more", table(append(p[:4:4], Partition{"SWAP", "data", 4})...), `("SWAP") is none`},
		{"one less", table(p[0], p[1], p[2]), "no partition STATE"},
		{"larger slots", table(p[0], Partition{"A", "xbootldr", 4}, p[2], p[3]), "partition A is another one"},
		{"moved", table(p[1], p[0], p[2], p[3]), "is another one"},
		{"another type", table(p[0], p[1], Partition{"B", "data", 3}, p[3]), "partition B is another one"},
	} {
		err := l.Keeps(tt.old)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestKeptFiles: what a boot loader has noted stays with the data.
func TestKeptFiles(t *testing.T) {
	change := func(note string, kept map[string][]byte) Content {
		c := testContent("a")
		c.Layout.Files = append(c.Layout.Files, File{"grub/grubenv", "note", true})
		c.Source.(fstest.MapFS)["note"] = &fstest.MapFile{Data: []byte(note)}
		c.Kept = kept
		return c
	}
	d := newSimDisk(simSize)
	noErr(t, Install(d, simSize, change("slot=A", nil), Options{}))
	noErr(t, Install(d, simSize, change("slot=A", map[string][]byte{"grub/grubenv": []byte("slot=B"), "loader/loader.conf": nil}), Options{Keep: readTable(t, d)}))
	for note, want := range map[string]string{"slot=B": "a", "slot=A": ""} {
		table := idLess(readTable(t, d))
		p, _ := table.Find(gpt.ESP, "")
		if got, _ := holds(zeroIDs(d, table), table, p, map[string]Content{"a": change(note, nil)}); got != want {
			t.Errorf("with the note %q the disk holds %q, want %q", note, got, want)
		}
	}
}

// TestStart: pieces stand before the first partition, where nobody puts one.
func TestStart(t *testing.T) {
	c := testContent("a")
	c.Layout.StartMiB, c.Layout.Raw = 4, []Raw{{"core", 3 * mib}}
	if n := c.Layout.Bytes(); n != 16*mib {
		t.Errorf("the layout has %d bytes", n)
	}
	d := newSimDisk(simSize)
	noErr(t, Install(d, simSize, c, Options{}))
	table := readTable(t, d)
	if table.Offset(table.Partitions[0]) != 4*mib || !c.Present(d, table) || c.Layout.Keeps(table) != nil {
		t.Errorf("%+v", table)
	}
	noErr(t, Install(d, simSize, c, Options{Keep: table}))
	if testLayout().Keeps(table) == nil {
		t.Error("a layout that begins elsewhere is kept")
	}
}

// TestInstallRefuses: what does not fit is known before anything is written.
func TestInstallRefuses(t *testing.T) {
	old := newSimDisk(simSize)
	noErr(t, Install(old, simSize, testContent("old"), Options{}))
	table := readTable(t, old)
	none := readTable(t, old)
	for _, p := range none.Partitions {
		if p.Type == gpt.XBOOTLDR {
			p.Type = gpt.Slot
			noErr(t, none.Set(p))
		}
	}
	change := func(f func(*Content)) Content { c := testContent("new"); f(&c); return c }
	for name, tt := range map[string]struct {
		c    Content
		o    Options
		size int64
		want string
	}{
		"a small disk":       {testContent("new"), Options{}, 10 * mib, "no room"},
		"a large system":     {change(func(c *Content) { c.OSFileSize = 4 * mib }), Options{}, simSize, "partition A"},
		"a missing loader":   {change(func(c *Content) { c.Source = fstest.MapFS{} }), Options{}, simSize, "EFI/BOOT/BOOTX64.EFI"},
		"large boot code":    {change(func(c *Content) { c.Source.(fstest.MapFS)["boot"].Data = make([]byte, 441) }), Options{}, simSize, "440"},
		"a piece on A":       {change(func(c *Content) { c.Layout.Raw = []Raw{{"core", 5 * mib}} }), Options{}, simSize, "partition A"},
		"a piece on a table": {change(func(c *Content) { c.Layout.Raw = []Raw{{"core", 512}} }), Options{}, simSize, "lies on the partition table"},
		"another layout":     {change(func(c *Content) { c.Layout.Partitions[1].SizeMiB = 4 }), Options{Keep: table}, simSize, "partition A is another one"},
		"no default":         {testContent("new"), Options{Keep: none}, simSize, "0 slots"},
	} {
		d := old.clone()
		err := Install(d, tt.size, tt.c, tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tt.want)
		}
		if len(d.cache) > 0 || len(d.durable) != len(old.durable) {
			t.Errorf("%s: something was written", name)
		}
	}
}

// liar gives back one byte that was not written.
type liar struct {
	*simDisk
	at int64
}

func (l liar) ReadAt(p []byte, off int64) (int, error) {
	n, err := l.simDisk.ReadAt(p, off)
	if i := l.at - off; i >= 0 && i < int64(n) {
		p[i] ^= 1
	}
	return n, err
}

// TestReadBack: a disk that does not keep what it is given gets no table.
func TestReadBack(t *testing.T) {
	for name, at := range map[string]int64{"loader": mib + 48_000, "system": 4*mib + 100_000, "boot code": 41 * sectorSize} {
		d := liar{newSimDisk(simSize), at}
		if err := Install(d, simSize, testContent("new"), Options{}); !errors.Is(err, errDiffers) {
			t.Errorf("%s: error %v", name, err)
		}
		if _, err := gpt.Read(d.simDisk, simSize); err == nil && name != "boot code" {
			t.Errorf("%s: the disk has a table", name)
		}
	}
}

func TestProgress(t *testing.T) {
	last := 0
	var steps []string
	o := Options{Progress: func(step string, percent int) {
		if percent < last || percent > 100 {
			t.Errorf("%s: %d after %d", step, percent, last)
		}
		if last = percent; len(steps) == 0 || steps[len(steps)-1] != step {
			steps = append(steps, step)
		}
	}}
	noErr(t, Install(newSimDisk(simSize), simSize, testContent("new"), o))
	if got := strings.Join(steps, " "); last != 100 || !strings.HasPrefix(got, "erase system verify") || !strings.HasSuffix(got, "table done") {
		t.Errorf("%q, at last %d", got, last)
	}
}
