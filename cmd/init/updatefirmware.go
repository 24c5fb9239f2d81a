package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/pkg/gpt"
	"github.com/digital-mycelium/os/pkg/update"
	"github.com/digital-mycelium/os/pkg/update/bootenv"
	"github.com/digital-mycelium/os/pkg/update/uefi"
)

// firmware returns what starts this machine's slots: UEFI when its variables name the
// one that runs, else the boot loader that has named one on the command line.
func (m *machine) firmware() (update.Firmware, error) {
	efi, err := m.uefiFirmware()
	if err == nil || m.cmdline.slot == "" {
		return efi, err
	}
	return m.grubFirmware()
}

// uefiFirmware fails when the machine was not started from a slot by UEFI.
func (m *machine) uefiFirmware() (update.Firmware, error) {
	whole, err := openSyncedDisk("/dev/" + m.disk.Name)
	if err != nil {
		return nil, err
	}
	f, err := m.openUBoot(&uefi.Firmware{
		Variables: uefi.Variables, Disk: whole, DiskBytes: m.disk.Size, Slots: slotLabels(),
		File: `\` + strings.ReplaceAll(slotFile, "/", `\`),
	})
	if err == nil {
		_, err = f.Running()
	}
	if err != nil {
		return nil, errors.Join(err, whole.Close())
	}
	return f, nil
}

// efiFirmware makes the EFI variables writable for as long as one is written.
type efiFirmware struct{ *uefi.Firmware }

func (f efiFirmware) TryOnce(slot string) error {
	return writable(func() error { return f.Firmware.TryOnce(slot) })
}

func (f efiFirmware) Untry() error { return writable(f.Firmware.Untry) }

func writable(change func() error) error {
	const flags = unix.MS_REMOUNT | nosuid | nodev | noexec
	if err := unix.Mount("", uefi.Variables, "", flags, ""); err != nil {
		return fmt.Errorf("make the EFI variables writable: %w", err)
	}
	err := change()
	if readonlyErr := unix.Mount("", uefi.Variables, "", flags|readonly, ""); readonlyErr != nil {
		err = errors.Join(err, fmt.Errorf("make the EFI variables read-only again: %w", readonlyErr))
	}
	return err
}

// grubEnvironment is where GRUB has its environment block on the EFI system partition.
const grubEnvironment = "grub/grubenv"

// grubFirmware is GRUB, on machines that start by BIOS.
func (m *machine) grubFirmware() (update.Firmware, error) {
	p, ok := m.disk.table.Find(gpt.ESP, "")
	if !ok {
		return nil, errors.New("the disk has no EFI system partition, where GRUB has its environment")
	}
	store := grubStore{m.disk.partition(p)}
	f := &bootenv.Firmware{Store: store, Started: m.cmdline.slot, Slots: slotLabels()}
	running, err := f.Running()
	if err != nil {
		return nil, err
	}
	_, err = f.Default()
	if !errors.Is(err, bootenv.ErrDamaged) && !errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	// GRUB has started what it could, which was not on trial: it never is without a block.
	// The journal knows which slot was the default.
	slot := running
	if state, err := update.FileJournal(updateJournal).Load(); err == nil && slices.Contains(f.Slots, state.Default) {
		slot = state.Default
	}
	m.log.Warn("GRUB's environment is made anew", "because", err, "slot", slot)
	return f, store.make(slot)
}

// grubStore is GRUB's environment on the partition of that path, which is mounted only
// while it is read, and writable only while it is written.
type grubStore struct{ device string }

// Read implements bootenv.Store.
func (s grubStore) Read() (v map[string]string, err error) {
	err = withFAT(s.device, readonly, func(dir string) error {
		v, err = bootenv.GRUB(filepath.Join(dir, grubEnvironment)).Read()
		return err
	})
	return v, err
}

// make puts a new environment block in the place of a damaged one.
func (s grubStore) make(slot string) error {
	return withFAT(s.device, 0, func(dir string) error {
		file := filepath.Join(dir, grubEnvironment)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		return bootenv.GRUB(file).Make(slot)
	})
}

// Write implements bootenv.Store.
func (s grubStore) Write(v map[string]string) error {
	return withFAT(s.device, 0, func(dir string) error {
		return bootenv.GRUB(filepath.Join(dir, grubEnvironment)).Write(v)
	})
}
