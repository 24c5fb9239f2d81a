package gpt

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const mib = 1 << 20

// memDisk is a disk in memory.
type memDisk []byte

func (d memDisk) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(d)) {
		return 0, os.ErrInvalid
	}
	return copy(p, d[off:]), nil
}

func (d memDisk) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(d)) {
		return 0, os.ErrInvalid
	}
	return copy(d[off:], p), nil
}

func testTable(t *testing.T, sectorSize int, size int64) *Table {
	t.Helper()
	tab, err := New(DeriveGUID("disk"), sectorSize, size)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		typ  GUID
		name string
	}{{ESP, "EFI"}, {XBOOTLDR, "A"}, {State, "STATE"}} {
		if _, err := tab.AddPartition(Partition{Type: p.typ, ID: DeriveGUID(p.name), Name: p.name}, 2*mib); err != nil {
			t.Fatal(err)
		}
	}
	return tab
}

func TestRoundTrip(t *testing.T) {
	for _, ss := range []int{512, 4096} {
		tab := testTable(t, ss, 16*mib)
		disk := make(memDisk, 16*mib)
		if err := tab.Write(disk); err != nil {
			t.Fatal(err)
		}
		got, err := Read(disk, int64(len(disk)))
		if err != nil {
			t.Fatal(err)
		}
		if got.Damage != nil {
			t.Errorf("sector size %d: fresh table is damaged: %v", ss, got.Damage)
		}
		if !reflect.DeepEqual(got, tab) {
			t.Errorf("sector size %d: read %+v, wrote %+v", ss, got, tab)
		}
	}
}

// TestBootCode: what a BIOS starts survives that the table is written anew, and marks the
// protective entry active.
func TestBootCode(t *testing.T) {
	tab := testTable(t, 512, 16*mib)
	disk := make(memDisk, 16*mib)
	if err := tab.Write(disk); err != nil {
		t.Fatal(err)
	}
	if disk[446] != 0 {
		t.Error("active without boot code")
	}
	tab.BootCode[0], tab.BootCode[BootCodeSize-1] = 0xeb, 0x90
	if err := tab.Write(disk); err != nil {
		t.Fatal(err)
	}
	again, err := Read(disk, int64(len(disk)))
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Write(disk); err != nil {
		t.Fatal(err)
	}
	if disk[0] != 0xeb || disk[BootCodeSize-1] != 0x90 || disk[446] != 0x80 || disk[450] != 0xee {
		t.Errorf("first sector: % x ... % x", disk[:4], disk[436:452])
	}
}

func TestDamage(t *testing.T) {
	const size = 16 * mib
	tests := []struct {
		name   string
		hit    []int // bytes flipped
		damage string
		err    string
	}{
		{name: "primary header", hit: []int{512 + 40}, damage: "primary"},
		{name: "primary signature", hit: []int{512}, damage: "primary"},
		{name: "primary entries", hit: []int{1024 + 33}, damage: "primary"},
		{name: "backup header", hit: []int{size - 512 + 40}, damage: "backup"},
		{name: "backup entries", hit: []int{size - 512 - 16384 + 5}, damage: "backup"},
		{name: "both", hit: []int{512 + 40, size - 512 + 40}, err: "checksum"},
		{name: "no trace", hit: []int{512, size - 512}, err: ErrNoTable.Error()},
	}
	for _, tt := range tests {
		disk := make(memDisk, size)
		want := testTable(t, 512, size)
		if err := want.Write(disk); err != nil {
			t.Fatal(err)
		}
		for _, at := range tt.hit {
			disk[at] ^= 0xff
		}
		got, err := Read(disk, size)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got.Damage == nil || !strings.Contains(got.Damage.Error(), tt.damage) {
			t.Errorf("%s: damage %v, want one with %q", tt.name, got.Damage, tt.damage)
		}
		if !reflect.DeepEqual(got.Partitions, want.Partitions) {
			t.Errorf("%s: partitions %+v", tt.name, got.Partitions)
		}
		if err := got.Write(disk); err != nil {
			t.Fatal(err)
		}
		if again, err := Read(disk, size); err != nil || again.Damage != nil {
			t.Errorf("%s: after repair: %v, %v", tt.name, err, again)
		}
	}
}

// TestPowerCut cuts the power after every single write of a change and expects
// to read either the old or the new table, never an error.
func TestPowerCut(t *testing.T) {
	const size = 16 * mib
	for cut := 0; ; cut++ {
		disk := make(memDisk, size)
		old := testTable(t, 512, 12*mib)
		if err := old.Write(disk); err != nil {
			t.Fatal(err)
		}
		changed := testTable(t, 512, 12*mib)
		if err := changed.Resize(size); err != nil {
			t.Fatal(err)
		}
		if _, err := changed.AddPartition(Partition{Type: Data, ID: DeriveGUID("DATA"), Name: "DATA"}, 0); err != nil {
			t.Fatal(err)
		}
		w := &cutDisk{memDisk: disk, left: cut}
		err := changed.Write(w)
		got, readErr := Read(disk, size)
		if readErr != nil {
			t.Fatalf("cut after %d writes: %v", cut, readErr)
		}
		if n := len(got.Partitions); n != 3 && n != 4 {
			t.Fatalf("cut after %d writes: %d partitions", cut, n)
		}
		if err == nil {
			return
		}
	}
}

// TestPowerCutAfterDamage: when a power cut has left one copy, either one, the next
// change does not give that one up before there is another.
func TestPowerCutAfterDamage(t *testing.T) {
	const size = 12 * mib
	for _, damaged := range []int64{512, size - 512} {
		for cut := 0; ; cut++ {
			disk := make(memDisk, size)
			if err := testTable(t, 512, size).Write(disk); err != nil {
				t.Fatal(err)
			}
			clear(disk[damaged:][:512])
			changed, err := Read(disk, size)
			if err != nil || changed.Damage == nil {
				t.Fatalf("%v, %v", changed, err)
			}
			p := changed.Partitions[1]
			p.Name = "changed"
			if err := changed.Set(p); err != nil {
				t.Fatal(err)
			}
			err = changed.Write(&cutDisk{memDisk: disk, left: cut})
			got, readErr := Read(disk, size)
			if readErr != nil {
				t.Fatalf("damaged at %d, cut after %d writes: %v", damaged, cut, readErr)
			}
			if err == nil {
				if got.Damage != nil || got.Partitions[1].Name != "changed" {
					t.Errorf("damaged at %d: %v, %v", damaged, got.Partitions[1], got.Damage)
				}
				break
			}
		}
	}
}

// cutDisk tears the write after the last one allowed: half of it arrives.
type cutDisk struct {
	memDisk
	left int
}

func (d *cutDisk) WriteAt(p []byte, off int64) (int, error) {
	if d.left == 0 {
		_, _ = d.memDisk.WriteAt(p[:len(p)/2], off)
		return len(p) / 2, errors.New("power cut")
	}
	d.left--
	return d.memDisk.WriteAt(p, off)
}

func TestGrow(t *testing.T) {
	disk := make(memDisk, 32*mib)
	tab := testTable(t, 512, 8*mib)
	if err := tab.Write(disk); err != nil {
		t.Fatal(err)
	}
	tab, err := Read(disk, int64(len(disk)))
	if err != nil {
		t.Fatal(err)
	}
	if tab.DiskBytes() != 8*mib {
		t.Errorf("table is for %d bytes", tab.DiskBytes())
	}
	if _, err := tab.AddPartition(Partition{Type: Data, Name: "DATA"}, 0); !errors.Is(err, ErrNoSpace) {
		t.Errorf("full disk: %v", err)
	}
	if err := tab.Resize(int64(len(disk))); err != nil {
		t.Fatal(err)
	}
	p, err := tab.AddPartition(Partition{Type: Data, Name: "DATA"}, 4*mib)
	if err != nil {
		t.Fatal(err)
	}
	if p.Number != 4 || tab.Bytes(p) != 4*mib || tab.Offset(p)%mib != 0 {
		t.Errorf("added %+v", p)
	}
	g, grown := tab.GrowLast()
	if !grown || g.Number != 4 || tab.Offset(g)+tab.Bytes(g) != 31*mib {
		t.Errorf("grown %v to %+v", grown, g)
	}
	if _, again := tab.GrowLast(); again {
		t.Error("grew twice")
	}
	if err := tab.Write(disk); err != nil {
		t.Fatal(err)
	}
	got, err := Read(disk, int64(len(disk)))
	if err != nil || got.Damage != nil || len(got.Partitions) != 4 || got.DiskBytes() != 32*mib {
		t.Errorf("read back %+v, %v", got, err)
	}
	if err := got.Resize(8 * mib); !errors.Is(err, ErrNoSpace) {
		t.Errorf("shrink below a partition: %v", err)
	}
}

func TestSet(t *testing.T) {
	tab := testTable(t, 512, 16*mib)
	a, ok := tab.Find(XBOOTLDR, "")
	if !ok {
		t.Fatal("no XBOOTLDR")
	}
	a.Type = Slot
	if err := tab.Set(a); err != nil {
		t.Fatal(err)
	}
	if _, ok := tab.Find(Slot, "A"); !ok {
		t.Error("type did not change")
	}
	a.Last = tab.LastUsable + 1
	if err := tab.Set(a); err == nil {
		t.Error("set a partition beyond the disk")
	}
	a.Number = 99
	if err := tab.Set(a); err == nil {
		t.Error("set a partition that is not there")
	}
}

func TestGUID(t *testing.T) {
	const s = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	g, err := ParseGUID(strings.ToUpper(s))
	if err != nil || g.String() != s {
		t.Errorf("%v, %v", g, err)
	}
	if d := g.swap(); d[0] != 0x28 || d.swap() != g {
		t.Errorf("swapped %x", d)
	}
	for _, bad := range []string{"", s[1:], strings.ReplaceAll(s, "-", "+"), "g" + s[1:]} {
		if _, err := ParseGUID(bad); err == nil {
			t.Errorf("parsed %q", bad)
		}
	}
	if DeriveGUID("ab", "c") == DeriveGUID("a", "bc") {
		t.Error("derived GUIDs collide by concatenation")
	}
	for _, n := range []string{"esp", "xbootldr", "slot", "state", "data"} {
		if _, err := TypeByName(n); err != nil {
			t.Error(err)
		}
	}
	if _, err := TypeByName("swap"); err == nil {
		t.Error("unknown type accepted")
	}
}

func TestSgdiskVerify(t *testing.T) {
	tool, err := exec.LookPath("sgdisk")
	if err != nil {
		t.Fatal("sgdisk is missing: apt-get install gdisk")
	}
	tab := testTable(t, 512, 16*mib)
	path := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(16 * mib); err != nil {
		t.Fatal(err)
	}
	if err := tab.Write(f); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "--verify", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "No problems found") {
		t.Errorf("sgdisk --verify: %v\n%s", err, out)
	}
	out, err = exec.Command(tool, "--info=2", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), strings.ToUpper(XBOOTLDR.String())) {
		t.Errorf("sgdisk --info: %v\n%s", err, out)
	}
}

// FuzzRead gives the reader a header and entries with right checksums, so that
// the fuzzer reaches what lies behind them.
func FuzzRead(f *testing.F) {
	const size = 128 << 10
	tab, err := New(DeriveGUID("disk"), 512, size)
	if err != nil {
		f.Fatal(err)
	}
	tab.Partitions = []Partition{{Number: 1, Type: ESP, ID: DeriveGUID("x"), First: tab.FirstUsable, Last: tab.LastUsable, Name: "EFI"}}
	seed := make(memDisk, size)
	if err := tab.Write(seed); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(seed[512:512+headerSize]), []byte(seed[1024:1024+2*entrySize]), true)
	f.Add([]byte(seed[size-512:size-512+headerSize]), []byte(seed[1024:1024+entrySize]), false)
	f.Fuzz(func(t *testing.T, head, entries []byte, primary bool) {
		disk := make(memDisk, size)
		at, array := 512, 1024
		if !primary {
			at, array = size-512, size-512-entryCount*entrySize
		}
		sector := disk[at : at+512]
		copy(sector, head)
		copy(disk[array:array+entryCount*entrySize], entries)
		if n := binary.LittleEndian.Uint32(sector[12:]); n >= headerSize && n <= 512 {
			binary.LittleEndian.PutUint32(sector[88:], crc32.ChecksumIEEE(disk[array:array+entryCount*entrySize]))
			clear(sector[16:20])
			binary.LittleEndian.PutUint32(sector[16:], crc32.ChecksumIEEE(sector[:n]))
		}
		tab, err := Read(disk, size)
		if err != nil {
			return
		}
		// Whatever Read accepts can be written and read back.
		if err := tab.Write(disk); err != nil {
			t.Fatalf("write what was read: %v", err)
		}
		again, err := Read(disk, size)
		if err != nil || again.Damage != nil || !reflect.DeepEqual(again.Partitions, tab.Partitions) {
			t.Fatalf("read back: %v, %+v", err, again)
		}
	})
}
