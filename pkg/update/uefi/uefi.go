// Package uefi lets the firmware of a UEFI machine try an operating system's file
// once and start another one by itself.
//
// A slot is a partition of a GPT disk, with a FAT file system and the file in it.
// The one that is started by itself has the type XBOOTLDR, where systemd-boot
// looks; the others have a type that no boot loader knows. A trial is the
// variable BootNext, which the firmware deletes before it starts the slot's file
// directly: whatever happens then, the next start is systemd-boot's again. A change
// of the default touches the partition table alone, so that a firmware that has
// lost its variables, or has no room for them, starts the machine all the same.
//
// U-Boot is such a firmware, too. It cannot change a variable while an operating
// system runs, but keeps them in a file that the system can write.
package uefi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/digital-mycelium/os/pkg/gpt"
	"github.com/digital-mycelium/os/pkg/update"
)

// Disk is the disk that the slots are on.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes what was written durable.
	Sync() error
}

// Firmware is the update.Firmware of a UEFI machine. It is not safe for
// concurrent use.
type Firmware struct {
	// Variables is the directory of the EFI variables.
	Variables string
	// UBoot is the path of the file in which U-Boot keeps its variables, on the EFI
	// system partition (see UBootFile); empty for other firmwares, whose variables
	// are changed in Variables.
	UBoot string
	Disk  Disk
	// DiskBytes is the disk's size.
	DiskBytes int64
	// Slots are the labels of the slots' partitions.
	Slots []string
	// File is the operating system's file in a slot, with backslashes.
	File string

	// before, when it is set, is called before a variable is changed, with the name of
	// its file, and fails the change with its error: tests cut the power there.
	before func(file string) error
}

var _ update.Firmware = (*Firmware)(nil)

// table reads the partition table, and the slots in it by their labels.
func (f *Firmware) table() (*gpt.Table, map[string]gpt.Partition, error) {
	t, err := gpt.Read(f.Disk, f.DiskBytes)
	if err != nil {
		return nil, nil, err
	}
	slots := map[string]gpt.Partition{}
	for _, p := range t.Partitions {
		if slices.Contains(f.Slots, p.Name) && (p.Type == gpt.XBOOTLDR || p.Type == gpt.Slot) {
			slots[p.Name] = p
		}
	}
	for _, name := range f.Slots {
		if _, ok := slots[name]; !ok {
			return nil, nil, fmt.Errorf("the disk has no partition %s for an operating system: write a whole image to it", name)
		}
	}
	return t, slots, nil
}

// Running implements update.Firmware: the boot stub says which partition it is from.
func (f *Firmware) Running() (string, error) {
	const name = "StubDevicePartUUID"
	value, err := variables(f.Variables).get(name, loader)
	if err != nil {
		return "", err
	}
	_, slots, err := f.table()
	if err != nil {
		return "", err
	}
	text := decodeUTF16(value)
	for _, p := range slots {
		if strings.EqualFold(p.ID.String(), text) {
			return p.Name, nil
		}
	}
	return "", fmt.Errorf("the EFI variable %s names the partition %.40q, which is none of the slots on this disk: the machine was started from somewhere else", name, text)
}

// Default implements update.Firmware.
func (f *Firmware) Default() (string, error) {
	_, slots, err := f.table()
	if err != nil {
		return "", err
	}
	found := ""
	for _, p := range slots {
		switch {
		case p.Type != gpt.XBOOTLDR:
		case found != "":
			return "", fmt.Errorf("slots %s and %s are both started by themselves: their types are XBOOTLDR", found, p.Name)
		default:
			found = p.Name
		}
	}
	if found == "" {
		return "", errors.New("no slot is started by itself: none has the type XBOOTLDR")
	}
	return found, nil
}

// SetDefault implements update.Firmware. One write of the partition table changes
// the types of all slots.
func (f *Firmware) SetDefault(slot string) error {
	t, slots, err := f.table()
	if err != nil {
		return err
	}
	if _, ok := slots[slot]; !ok {
		return fmt.Errorf("there is no slot %q", slot)
	}
	for name, p := range slots {
		if p.Type = gpt.Slot; name == slot {
			p.Type = gpt.XBOOTLDR
		}
		if err := t.Set(p); err != nil {
			return err
		}
	}
	return t.Write(f.Disk)
}

// TryOnce implements update.Firmware.
func (f *Firmware) TryOnce(slot string) error {
	_, slots, err := f.table()
	if err != nil {
		return err
	}
	p, ok := slots[slot]
	if !ok {
		return fmt.Errorf("there is no slot %q", slot)
	}
	if err := f.checkUBoot(); err != nil {
		return err
	}
	v := f.keeper()
	number, old, err := entry(v)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("Boot%04X", number)
	if option := loadOption(p, f.File); string(old) != string(option) {
		if err := f.change(name, func() error { return v.set(name, option) }); err != nil {
			return err
		}
	}
	return f.change("BootNext", func() error { return v.set("BootNext", binary.LittleEndian.AppendUint16(nil, number)) })
}

// change changes a variable of the global vendor.
func (f *Firmware) change(name string, how func() error) error {
	if f.before != nil {
		if err := f.before(variables(f.Variables).path(name, global)); err != nil {
			return err
		}
	}
	return how()
}

// keeper is where the firmware keeps the variables of the global vendor.
type keeper interface {
	names() ([]string, error)
	// value returns a variable's value; fs.ErrNotExist when there is none.
	value(name string) ([]byte, error)
	set(name string, value []byte) error
	// remove deletes a variable, if it is there.
	remove(name string) error
}

func (f *Firmware) keeper() keeper {
	if f.UBoot != "" {
		return ubootFile(f.UBoot)
	}
	return variables(f.Variables)
}

var bootEntry = regexp.MustCompile(`^Boot([0-9A-F]{4})$`)

// entry returns the number of our boot entry and what is in it, or the lowest
// number that is free.
func entry(v keeper) (number uint16, option []byte, err error) {
	names, err := v.names()
	if err != nil {
		return 0, nil, err
	}
	taken := map[uint16]bool{}
	for _, name := range names {
		m := bootEntry.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		var n uint16
		if _, err := fmt.Sscanf(m[1], "%X", &n); err != nil {
			continue
		}
		taken[n] = true
		if option, err := v.value(name); err == nil && isOurs(option) {
			return n, option, nil
		}
	}
	for n := range 1 << 16 {
		if !taken[uint16(n)] {
			return uint16(n), nil, nil
		}
	}
	return 0, nil, errors.New("the firmware has no boot entry left: remove old ones")
}

// Untry implements update.Firmware. It leaves a BootNext of somebody else alone.
func (f *Firmware) Untry() error {
	v := f.keeper()
	next, err := v.value("BootNext")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	number, option, err := entry(v)
	if err != nil {
		return err
	}
	if option == nil || len(next) != 2 || binary.LittleEndian.Uint16(next) != number {
		return nil
	}
	return f.change("BootNext", func() error { return v.remove("BootNext") })
}

// decodeUTF16 decodes a little-endian, zero-terminated string.
func decodeUTF16(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
