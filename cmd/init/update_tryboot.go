package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/digital-mycelium/os/pkg/gpt"
	"github.com/digital-mycelium/os/pkg/update"
	"github.com/digital-mycelium/os/pkg/update/pieces"
	"github.com/digital-mycelium/os/pkg/update/tryboot"
)

const (
	// autobootFile names, on the boot partition, the slots for the firmware.
	autobootFile = "autoboot.txt"
	// runningLink leads to the loop device that shows the OS file that runs as one.
	runningLink = "/run/os.efi"
)

// startedFromDisk says whether a Raspberry Pi's firmware, whose answers are in dir, read
// this system from a disk. A USB disk may be there seconds later than the system.
func startedFromDisk(dir string) bool {
	mode, err := os.ReadFile(filepath.Join(dir, "boot-mode"))
	if err != nil || len(mode) != 4 {
		return false
	}
	switch binary.BigEndian.Uint32(mode) { // Raspberry Pi documentation, BOOT_ORDER
	case 1, 4, 5, 6: // SD card, USB, USB of the Compute Module, NVMe
		return true
	}
	return false
}

// openTryboot returns the firmware of a Raspberry Pi that started this system from a
// slot, and the slots.
func (m *machine) openTryboot() (*trybootFirmware, map[string]update.Content, error) {
	boot, ok := m.disk.table.Find(gpt.ESP, "")
	if !ok {
		return nil, nil, fmt.Errorf("the disk has no boot partition with %s", autobootFile)
	}
	f := &trybootFirmware{
		device: m.disk.partition(boot),
		pi:     tryboot.Firmware{Bootloader: tryboot.Bootloader, Partitions: map[string]int{}},
	}
	slots := map[string]update.Content{}
	for _, label := range slotLabels() {
		p, ok := m.slotPartition(label)
		if !ok {
			return nil, nil, fmt.Errorf("the disk has no partition %s", label)
		}
		f.pi.Partitions[label] = p.Number
		slot, err := m.piecesIn(p)
		if err != nil {
			return nil, nil, err
		}
		slots[label] = slot
	}
	_, err := f.Running()
	return f, slots, err
}

// trybootSlots is updateSlots on a Raspberry Pi.
func (m *machine) trybootSlots() (update.Config, error) {
	f, slots, err := m.openTryboot()
	if err != nil {
		return update.Config{}, err
	}
	m.rebootArgument = f.Argument
	return update.Config{
		Journal: update.FileJournal(updateJournal), Slots: slots, Firmware: f,
		Release: update.Release{Version: m.version}, Now: time.Now,
	}, nil
}

// piecesIn returns the slot in a partition.
func (m *machine) piecesIn(p gpt.Partition) (*pieces.Slot, error) {
	part, err := openSyncedDisk(m.disk.partition(p))
	if err != nil {
		return nil, err
	}
	id := p.ID
	return &pieces.Slot{
		Disk: part, Bytes: m.disk.table.Bytes(p), Start: m.disk.table.Offset(p), Label: p.Name,
		ID: uint32(id[0]) | uint32(id[1])<<8 | uint32(id[2])<<16 | uint32(id[3])<<24,
	}, nil
}

// showRunningPieces shows the pieces of the OS file that runs as the one that they are.
func (m *machine) showRunningPieces(p gpt.Partition) error {
	slot, err := m.piecesIn(p)
	if err != nil {
		return err
	}
	size, err := slot.Size()
	if err != nil {
		return fmt.Errorf("find the OS file in slot %s: %w", p.Name, err)
	}
	base, err := slot.Base(size)
	if err != nil {
		return err
	}
	loop, err := attachLoopRange(m.disk.partition(p), base, size)
	if err != nil {
		return err
	}
	return os.Symlink(loop, runningLink)
}

// runningFile is the path of the OS file that runs.
func (m *machine) runningFile() string {
	if m.disk.table != nil && m.disk.table.Keeper != nil {
		return runningLink
	}
	return runningMount + "/" + slotFile
}

// trybootFirmware mounts the boot partition only while autoboot.txt is read, and
// writable only while it is written.
type trybootFirmware struct {
	device string

	mu sync.Mutex
	pi tryboot.Firmware
}

var _ update.Firmware = (*trybootFirmware)(nil)

// with calls use while the boot partition is mounted.
func (f *trybootFirmware) with(flags uintptr, use func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return withFAT(f.device, flags, func(dir string) error {
		f.pi.Autoboot = filepath.Join(dir, autobootFile)
		return use()
	})
}

// Argument is what the reboot has to tell the firmware.
func (f *trybootFirmware) Argument() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pi.Argument()
}

// Running implements update.Firmware.
func (f *trybootFirmware) Running() (string, error) { return f.pi.Running() }

// Default implements update.Firmware.
func (f *trybootFirmware) Default() (slot string, err error) {
	err = f.with(readonly, func() error {
		slot, err = f.pi.Default()
		return err
	})
	return slot, err
}

// SetDefault implements update.Firmware.
func (f *trybootFirmware) SetDefault(slot string) error {
	return f.with(0, func() error { return f.pi.SetDefault(slot) })
}

// TryOnce implements update.Firmware.
func (f *trybootFirmware) TryOnce(slot string) error {
	return f.with(readonly, func() error { return f.pi.TryOnce(slot) })
}

// Untry implements update.Firmware.
func (f *trybootFirmware) Untry() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pi.Untry()
}
