package disklayout

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"testing"
	"testing/fstest"
	"time"

	"github.com/digital-mycelium/os/pkg/gpt"
)

var errCut = errors.New("power cut")

// simDisk is a disk with a write cache whose power can be cut. Only sectors that
// were written take memory.
type simDisk struct {
	size           int64
	durable, cache map[int64][]byte
	left           int // steps until the power is cut; negative: never
}

func newSimDisk(size int64) *simDisk {
	return &simDisk{size: size, durable: map[int64][]byte{}, cache: map[int64][]byte{}, left: -1}
}

func (d *simDisk) clone() *simDisk {
	return &simDisk{size: d.size, durable: maps.Clone(d.durable), cache: map[int64][]byte{}, left: -1}
}

func (d *simDisk) step() error {
	if d.left == 0 {
		return errCut
	}
	d.left--
	return nil
}

func (d *simDisk) sector(n int64) []byte {
	if b, ok := d.cache[n]; ok {
		return b
	}
	if b, ok := d.durable[n]; ok {
		return b
	}
	return make([]byte, sectorSize)
}

func (d *simDisk) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > d.size {
		return 0, io.ErrUnexpectedEOF
	}
	for n := 0; n < len(p); {
		at := off + int64(n)
		n += copy(p[n:], d.sector(at / sectorSize)[at%sectorSize:])
	}
	return len(p), nil
}

// WriteAt is one step; its sectors then survive a cut each by itself.
func (d *simDisk) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > d.size {
		return 0, fmt.Errorf("write at %d of %d", off, d.size)
	}
	if err := d.step(); err != nil {
		return 0, err
	}
	for n := 0; n < len(p); {
		at := off + int64(n)
		b := bytes.Clone(d.sector(at / sectorSize))
		n += copy(b[at%sectorSize:], p[n:])
		d.cache[at/sectorSize] = b
	}
	return len(p), nil
}

func (d *simDisk) Sync() error {
	if err := d.step(); err != nil {
		return err
	}
	maps.Copy(d.durable, d.cache)
	d.cache = map[int64][]byte{}
	return d.step() // the power may go right after
}

// cut loses of what was not synced what survives does not say.
func (d *simDisk) cut(survives func() bool) {
	for n, b := range d.cache {
		if survives() {
			d.durable[n] = b
		}
	}
	d.cache, d.left = map[int64][]byte{}, -1
}

func testLayout() Layout {
	return Layout{
		Partitions: []Partition{{"EFI", "esp", 3}, {"A", "xbootldr", 3}, {"B", "slot", 3}, {"STATE", "state", 2}},
		Files:      []File{{"EFI/BOOT/BOOTX64.EFI", "loader", false}, {"loader/loader.conf", "conf", false}},
		Raw:        []Raw{{"core", 40 * sectorSize}, {"boot", 0}},
	}
}

// testContent is a system; another name makes another one.
func testContent(name string) Content {
	file := bytes.Repeat([]byte("system "+name+" "), 10_000)
	return Content{
		Layout: testLayout(),
		Source: fstest.MapFS{
			"loader": {Data: bytes.Repeat([]byte("loader "+name), 1000)}, "conf": {Data: []byte("conf " + name)},
			"core": {Data: bytes.Repeat([]byte("core "+name), 300)}, "boot": {Data: bytes.Repeat([]byte{0xeb}, gpt.BootCodeSize)},
		},
		OSFileSize: int64(len(file)),
		OpenOSFile: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(file)), nil },
		Config:     []byte("hostname: " + name + "\n"), Mark: []byte(name + "\n"), Time: time.Unix(0, 0),
	}
}

const simSize = 24 * mib

// holds reports what partition p of a disk is: a whole file system of one of the
// systems, or none. Anything between is an error.
func holds(d *simDisk, t *gpt.Table, p gpt.Partition, systems map[string]Content) (string, error) {
	at := io.NewSectionReader(d, t.Offset(p), t.Bytes(p))
	boot := make([]byte, sectorSize)
	if _, err := at.ReadAt(boot, 0); err != nil {
		return "", err
	}
	if boot[510] != 0x55 || boot[511] != 0xaa {
		return "", nil
	}
	var last error
	for name, c := range systems {
		f, err := c.fileSystem(t, p)
		if err != nil {
			return "", err
		}
		// The identifier of the partition may be the one that is still to come.
		if last = f.Write(compare{withID{at, boot}}); last == nil {
			return name, nil
		}
	}
	return "", fmt.Errorf("partition %s has a file system that is no system's: %w", p.Name, last)
}

// withID reads a file system as if it had the serial number of another one.
type withID struct {
	io.ReaderAt
	boot []byte
}

func (w withID) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.ReaderAt.ReadAt(p, off)
	if off == 0 && n >= sectorSize {
		copy(p[39:43], w.boot[39:43])
	}
	return n, err
}

// idLess makes the serial numbers of all file systems zero, for holds.
func idLess(t *gpt.Table) *gpt.Table {
	c := *t
	c.Partitions = append([]gpt.Partition(nil), t.Partitions...)
	for i := range c.Partitions {
		copy(c.Partitions[i].ID[:4], []byte{0, 0, 0, 0})
	}
	return &c
}

// starts returns the system that a firmware would start from the disk, "" for none.
func starts(t *testing.T, d *simDisk, systems map[string]Content) string {
	t.Helper()
	table, err := gpt.Read(d, d.size)
	if err != nil {
		return ""
	}
	table = idLess(table)
	var loader, system string
	for _, p := range table.Partitions {
		if p.Type != gpt.ESP && p.Type != gpt.XBOOTLDR {
			continue
		}
		name, err := holds(zeroIDs(d, table), table, p, systems)
		if err != nil {
			t.Fatal(err)
		}
		if p.Type == gpt.ESP {
			loader = name
		} else {
			system = name
		}
	}
	if loader == "" {
		return ""
	}
	return system
}

// zeroIDs returns the disk with the serial numbers of its FAT16 file systems zero.
func zeroIDs(d *simDisk, t *gpt.Table) *simDisk {
	c := d.clone()
	for _, p := range t.Partitions {
		if b, ok := c.durable[int64(p.First)]; ok && p.Type != gpt.State {
			b = bytes.Clone(b)
			copy(b[39:43], []byte{0, 0, 0, 0})
			c.durable[int64(p.First)] = b
		}
	}
	return c
}

// kept is the checksum of what must not change: STATE and DATA.
func kept(t *testing.T, d *simDisk, old *gpt.Table) [32]byte {
	t.Helper()
	h := sha256.New()
	for _, p := range old.Partitions {
		if p.Type != gpt.State && p.Type != gpt.Data {
			continue
		}
		if _, err := io.Copy(h, io.NewSectionReader(d, old.Offset(p), old.Bytes(p))); err != nil {
			t.Fatal(err)
		}
	}
	return [32]byte(h.Sum(nil))
}

// cuts calls try with disks whose power was cut at each step of what do does, with
// nothing, everything and a random half of the cache surviving.
func cuts(t *testing.T, before *simDisk, do func(*simDisk) error, try func(d *simDisk, at string)) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for n := 0; ; n++ {
		d := before.clone()
		d.left = n
		err := do(d)
		if err == nil {
			if n < 20 {
				t.Fatalf("only %d steps", n)
			}
			return
		}
		if !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		for what, survives := range map[string]func() bool{
			"nothing": func() bool { return false }, "everything": func() bool { return true }, "half": func() bool { return r.IntN(2) == 0 },
		} {
			c := d.clone()
			c.cache = maps.Clone(d.cache)
			c.cut(survives)
			try(c, fmt.Sprintf("cut at step %d, %s of the cache survives", n, what))
		}
	}
}

// TestInstallPowerCuts: on a disk of somebody else's the new system appears whole, or
// nothing starts; the next attempt succeeds.
func TestInstallPowerCuts(t *testing.T) {
	before := newSimDisk(simSize)
	foreign, err := Layout{Partitions: []Partition{{"EFI", "esp", 4}, {"A", "xbootldr", 4}, {"STATE", "state", 4}}}.Table(simSize, RandomIDs)
	noErr(t, err)
	noErr(t, foreign.Write(before))
	_, err = before.WriteAt(bytes.Repeat([]byte("rubbish "), 17*mib/8), mib)
	noErr(t, err)
	noErr(t, before.Sync())
	systems := map[string]Content{"new": testContent("new")}
	install := func(d *simDisk) error { return Install(d, simSize, testContent("new"), Options{}) }
	unfinished := 0
	cuts(t, before, install, func(d *simDisk, at string) {
		table, err := gpt.Read(d, d.size)
		if err == nil && table.Disk != foreign.Disk {
			if got := starts(t, d, systems); got != "new" {
				t.Fatalf("%s: there is a table, and it starts %q", at, got)
			}
			p, _ := table.Find(gpt.State, "STATE")
			state := make([]byte, table.Bytes(p))
			_, err := d.ReadAt(state, table.Offset(p))
			noErr(t, err)
			if string(bytes.TrimRight(state, "\x00")) != EmptyMarker {
				t.Fatalf("%s: STATE is not empty", at)
			}
		}
		if Unfinished(d) {
			unfinished++
		}
		// The next attempt, for some of them: it is what the first one is.
		if at[len("cut at step ")]%3 == 0 {
			noErr(t, install(d))
			if got := starts(t, d, systems); got != "new" {
				t.Fatalf("%s: after the second attempt the disk starts %q", at, got)
			}
		}
	})
	if unfinished == 0 {
		t.Error("no cut was seen to leave an unfinished installation")
	}
}

// TestKeepPowerCuts: STATE and DATA are never touched and stay in the table; the
// machine starts the old system, the new one, or nothing, and after a second attempt
// the new one.
func TestKeepPowerCuts(t *testing.T) {
	before := newSimDisk(simSize)
	noErr(t, Install(before, simSize, testContent("old"), Options{}))
	table := readTable(t, before)
	_, err := table.AddPartition(gpt.Partition{Type: gpt.Data, Name: "DATA"}, 0)
	noErr(t, err)
	noErr(t, table.Write(before))
	for _, p := range table.Partitions {
		if p.Type == gpt.State || p.Type == gpt.Data {
			_, err := before.WriteAt(bytes.Repeat([]byte("kept "), 1000), table.Offset(p))
			noErr(t, err)
		}
	}
	// The other slot is the committed one.
	swap(t, table)
	noErr(t, table.Write(before))
	noErr(t, Install(before, simSize, testContent("old"), Options{Keep: table}))
	table = readTable(t, before)
	systems := map[string]Content{"old": testContent("old"), "new": testContent("new")}
	if got := starts(t, before, systems); got != "old" {
		t.Fatalf("before: starts %q", got)
	}
	want := kept(t, before, table)
	install := func(d *simDisk) error {
		return Install(d, simSize, testContent("new"), Options{Keep: readTable(t, d)})
	}
	seen := map[string]int{}
	cuts(t, before, install, func(d *simDisk, at string) {
		now := readTable(t, d)
		if err := testLayout().Keeps(now); err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		if got := kept(t, d, table); got != want || kept(t, d, now) != want {
			t.Fatalf("%s: STATE or DATA changed", at)
		}
		seen[starts(t, d, systems)]++
		if at[len("cut at step ")]%3 == 0 {
			noErr(t, install(d))
			if got := starts(t, d, systems); got != "new" || kept(t, d, table) != want {
				t.Fatalf("%s: after the second attempt the disk starts %q", at, got)
			}
		}
	})
	for _, name := range []string{"old", "new", ""} {
		if seen[name] == 0 {
			t.Errorf("no cut left a disk that starts %q: %v", name, seen)
		}
	}
}

// swap makes the other slot the one that is started by itself.
func swap(t *testing.T, table *gpt.Table) {
	t.Helper()
	for _, p := range table.Partitions {
		switch p.Type {
		case gpt.Slot:
			p.Type = gpt.XBOOTLDR
		case gpt.XBOOTLDR:
			p.Type = gpt.Slot
		default:
			continue
		}
		noErr(t, table.Set(p))
	}
}

func readTable(t *testing.T, d *simDisk) *gpt.Table {
	t.Helper()
	table, err := gpt.Read(d, d.size)
	noErr(t, err)
	return table
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
