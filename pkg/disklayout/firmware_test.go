package disklayout

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// withFirmware is a system for a machine that has its firmware on the disk.
func withFirmware(name string) Content {
	c := testContent(name)
	c.Layout.StartMiB, c.Layout.Raw = 4, nil
	c.Layout.Firmware = []Firmware{{"first", 64 * sectorSize, "3b8cdcfc"}, {"second", 2 * mib, "d00dfeed"}}
	return c
}

// firmware is what a machine's card has in the place.
func firmware(fill byte) []byte {
	b := bytes.Repeat([]byte{fill}, 4*mib-64*sectorSize)
	copy(b, "\x3b\x8c\xdc\xfc")
	copy(b[2*mib-64*sectorSize:], "\xd0\x0d\xfe\xed")
	return b
}

func TestFirmware(t *testing.T) {
	c := withFirmware("a")
	c.Firmware = firmware(7)
	d := newSimDisk(simSize)
	noErr(t, Install(d, simSize, c, Options{}))
	got, err := c.Layout.ReadFirmware(d)
	if err != nil || !bytes.Equal(got, c.Firmware) || !c.Present(d, readTable(t, d)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	// A disk that is kept and has its own is not touched there, whatever was given.
	c.Firmware = firmware(8)
	noErr(t, Install(d, simSize, c, Options{Keep: readTable(t, d)}))
	if got, err = c.Layout.ReadFirmware(d); err != nil || !bytes.Equal(got, firmware(7)) {
		t.Errorf("kept: %v", err)
	}
	// One that has lost it gets it again.
	_, err = d.WriteAt(make([]byte, mib), 2*mib)
	noErr(t, err)
	if _, err := c.Layout.ReadFirmware(d); !errors.Is(err, ErrNoFirmware) || c.Present(d, readTable(t, d)) {
		t.Errorf("half of it: %v", err)
	}
	noErr(t, Install(d, simSize, c, Options{Keep: readTable(t, d)}))
	if got, err = c.Layout.ReadFirmware(d); err != nil || !bytes.Equal(got, c.Firmware) {
		t.Errorf("written again: %v", err)
	}
	if b, err := testLayout().ReadFirmware(d); b != nil || err != nil {
		t.Errorf("a layout without: %d bytes, %v", len(b), err)
	}
}

// TestFirmwareRefusals: nothing is written when there is none for the machine.
func TestFirmwareRefusals(t *testing.T) {
	for name, b := range map[string][]byte{"none": nil, "zeros": make([]byte, 4*mib-64*sectorSize), "short": firmware(7)[:2*mib]} {
		d, c := newSimDisk(simSize), withFirmware("a")
		c.Firmware = b
		if err := Install(d, simSize, c, Options{}); !errors.Is(err, ErrNoFirmware) || len(d.cache)+len(d.durable) > 0 {
			t.Errorf("%s: %v, %d sectors written", name, err, len(d.cache)+len(d.durable))
		}
	}
	c := withFirmware("a")
	c.Firmware = firmware(7)
	if err := Install(liar{newSimDisk(simSize), 3 * mib}, simSize, c, Options{}); !errors.Is(err, errDiffers) {
		t.Errorf("a disk that does not keep it: %v", err)
	}
}

func TestFirmwareLayout(t *testing.T) {
	l := withFirmware("a").Layout
	b, err := l.Encode()
	noErr(t, err)
	if _, err := Parse(b); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Layout){
		"behind 17407":                 func(l *Layout) { l.Firmware[0].Offset = 17*1024 - 512 },
		"multiple of 512":              func(l *Layout) { l.Firmware[0].Offset++ },
		`firmware "second" at 2097152`: func(l *Layout) { l.Firmware[0].Offset = 2 * mib },
		"before the first partition":   func(l *Layout) { l.StartMiB = 2 },
		"in hexadecimal":               func(l *Layout) { l.Firmware[1].Magic = "" },
		`magic "xy"`:                   func(l *Layout) { l.Firmware[1].Magic = "xy" },
	} {
		l := withFirmware("a").Layout
		change(&l)
		if err := l.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestFirmwarePowerCuts: until all is there, firmware or none, no table leads to a
// system.
func TestFirmwarePowerCuts(t *testing.T) {
	c := withFirmware("a")
	c.Firmware = firmware(7)
	before := newSimDisk(simSize)
	cuts(t, before, func(d *simDisk) error { return Install(d, simSize, c, Options{}) }, func(d *simDisk, at string) {
		if starts(t, d, map[string]Content{"a": c}) == "" {
			return
		}
		if got, err := c.Layout.ReadFirmware(d); err != nil || !bytes.Equal(got, c.Firmware) {
			t.Errorf("%s: a system without firmware: %v", at, err)
		}
	})
}
