package uefi

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/gpt"
)

const mib = 1 << 20

// disk is one in memory that counts its writes and stops at one.
type disk struct {
	b      []byte
	writes int
	stop   int // no write from this one on takes effect; 0 for never
}

var errCut = errors.New("power cut")

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(d.b).ReadAt(p, off)
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	for i := 0; i < len(p); i += 512 { // a sector is written whole or not
		if d.writes++; d.stop != 0 && d.writes >= d.stop {
			return i, errCut
		}
		copy(d.b[off+int64(i):], p[i:min(i+512, len(p))])
	}
	return len(p), nil
}

func (d *disk) Sync() error { return nil }

// machine returns one that runs slot A, which is the default.
func machine(t *testing.T) (*Firmware, *disk) {
	t.Helper()
	const size = 8 * mib
	table, err := gpt.New(gpt.DeriveGUID("disk"), 512, size)
	noErr(t, err)
	for _, p := range []gpt.Partition{{Type: gpt.ESP, Name: "EFI"}, {Type: gpt.XBOOTLDR, Name: "A"}, {Type: gpt.Slot, Name: "B"}, {Type: gpt.State, Name: "STATE"}} {
		p.ID = gpt.DeriveGUID("partition", p.Name)
		_, err := table.AddPartition(p, mib)
		noErr(t, err)
	}
	d := &disk{b: make([]byte, size)}
	noErr(t, table.Write(d))
	d.writes = 0
	f := &Firmware{Variables: t.TempDir(), Disk: d, DiskBytes: size, Slots: []string{"A", "B"}, File: `\EFI\Linux\os.efi`}
	startedFrom(t, f, "A")
	return f, d
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put stores a variable as a firmware or a boot loader does.
func put(t *testing.T, f *Firmware, name, vendor string, value []byte) {
	t.Helper()
	noErr(t, os.WriteFile(filepath.Join(f.Variables, name+"-"+vendor), append([]byte{7, 0, 0, 0}, value...), 0o600))
}

func startedFrom(t *testing.T, f *Firmware, slot string) {
	t.Helper()
	put(t, f, "StubDevicePartUUID", loader, utf16z(strings.ToUpper(gpt.DeriveGUID("partition", slot).String())))
}

func wantSlots(t *testing.T, f *Firmware, running, def string) {
	t.Helper()
	if got, err := f.Running(); err != nil || got != running {
		t.Errorf("runs %q, %v, want %s", got, err, running)
	}
	if got, err := f.Default(); err != nil || got != def {
		t.Errorf("default %q, %v, want %s", got, err, def)
	}
}

func TestDefault(t *testing.T) {
	f, _ := machine(t)
	wantSlots(t, f, "A", "A")
	noErr(t, f.SetDefault("B"))
	wantSlots(t, f, "A", "B")
	startedFrom(t, f, "B")
	noErr(t, f.SetDefault("B"))
	wantSlots(t, f, "B", "B")
	noErr(t, f.SetDefault("A"))
	wantSlots(t, f, "B", "A")
	if err := f.SetDefault("STATE"); err == nil {
		t.Error("STATE became a slot")
	}
	startedFrom(t, f, "STATE")
	if got, err := f.Running(); err == nil || !strings.Contains(err.Error(), "somewhere else") {
		t.Errorf("%q, %v", got, err)
	}
}

// After a power cut at any sector of a change of the default there is one default,
// and before the change has returned it may be either.
func TestPowerCutInSetDefault(t *testing.T) {
	for stop := 1; ; stop++ {
		f, d := machine(t)
		d.stop = stop
		err := f.SetDefault("B")
		d.stop = 0
		got, gotErr := f.Default()
		if gotErr != nil || err == nil && got != "B" {
			t.Fatalf("cut at write %d: default %q, %v; SetDefault: %v", stop, got, gotErr, err)
		}
		noErr(t, f.SetDefault("B")) // what was damaged is mended
		wantSlots(t, f, "A", "B")
		if err == nil {
			if stop < 10 {
				t.Errorf("%d writes in all", stop)
			}
			return
		}
		if !errors.Is(err, errCut) {
			t.Fatal(err)
		}
	}
}

// TestTryOnce holds the entry against the bytes of the UEFI Specification's
// structures, written out by hand.
func TestTryOnce(t *testing.T) {
	f, _ := machine(t)
	put(t, f, "Boot0000", global, []byte("somebody's"))
	put(t, f, "Boot0001", global, append([]byte{1, 0, 0, 0, 0, 0}, utf16z("Debian")...))
	put(t, f, "BootOrder", global, []byte{0, 0, 1, 0})
	noErr(t, f.TryOnce("B"))
	v := variables(f.Variables)
	next, err := v.get("BootNext", global)
	if err != nil || !bytes.Equal(next, []byte{2, 0}) {
		t.Errorf("BootNext %x, %v", next, err)
	}
	option, err := v.get("Boot0002", global)
	noErr(t, err)
	id := gpt.DeriveGUID("partition", "B")
	want := "01000000" + "5600" + hex.EncodeToString(utf16z(description)) +
		"0401" + "2a00" + "03000000" + "0018000000000000" + "0008000000000000" +
		hex.EncodeToString([]byte{id[3], id[2], id[1], id[0], id[5], id[4], id[7], id[6]}) + hex.EncodeToString(id[8:]) + "0202" +
		"0404" + "2800" + hex.EncodeToString([]byte("\\\x00E\x00F\x00I\x00\\\x00L\x00i\x00n\x00u\x00x\x00\\\x00o\x00s\x00.\x00e\x00f\x00i\x00\x00\x00")) +
		"7fff" + "0400"
	if got := hex.EncodeToString(option); got != want {
		t.Errorf("the entry is\n%s, want\n%s", got, want)
	}
	if order, err := v.get("BootOrder", global); err != nil || !bytes.Equal(order, []byte{0, 0, 1, 0}) {
		t.Errorf("BootOrder %x, %v", order, err)
	}

	// The entry is used again, for another slot as well.
	noErr(t, f.TryOnce("A"))
	noErr(t, f.TryOnce("B"))
	files, err := os.ReadDir(f.Variables)
	noErr(t, err)
	if len(files) != 6 {
		t.Errorf("variables: %v", files)
	}
	noErr(t, f.Untry())
	noErr(t, f.Untry())
	if _, err := os.Stat(v.path("BootNext", global)); err == nil {
		t.Error("BootNext is still there")
	}
	put(t, f, "BootNext", global, binary.LittleEndian.AppendUint16(nil, 1))
	noErr(t, f.Untry())
	if next, err := v.get("BootNext", global); err != nil || next[0] != 1 {
		t.Errorf("another system's BootNext: %x, %v", next, err)
	}
	if err := f.TryOnce("C"); err == nil {
		t.Error("a slot that is none was tried")
	}
}

func TestRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*Firmware, *disk)
		want  string
	}{
		"no variables": {func(f *Firmware, _ *disk) { f.Variables = filepath.Join(f.Variables, "none") }, "no such file"},
		"no slot B":    {func(f *Firmware, _ *disk) { f.Slots = []string{"A", "C"} }, "write a whole image to it"},
		"no table":     {func(_ *Firmware, d *disk) { clear(d.b) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, d := machine(t)
			tt.spoil(f, d)
			if err := f.TryOnce("B"); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("try: %v", err)
			}
			if _, err := f.Running(); err == nil {
				t.Error("it runs")
			}
		})
	}
	t.Run("two defaults", func(t *testing.T) {
		f, d := machine(t)
		table, slots, err := f.table()
		noErr(t, err)
		p := slots["B"]
		p.Type = gpt.XBOOTLDR
		noErr(t, table.Set(p))
		noErr(t, table.Write(d))
		if got, err := f.Default(); err == nil || !strings.Contains(err.Error(), "both") {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("a variable without a value", func(t *testing.T) {
		f, _ := machine(t)
		noErr(t, os.WriteFile(filepath.Join(f.Variables, "StubDevicePartUUID-"+loader), []byte{7}, 0o600))
		if got, err := f.Running(); err == nil {
			t.Errorf("%q", got)
		}
	})
}
