package main

import (
	"errors"
	"path/filepath"

	"github.com/digital-mycelium/os/pkg/gpt"
	"github.com/digital-mycelium/os/pkg/update"
	"github.com/digital-mycelium/os/pkg/update/uefi"
)

// ubootFirmware is a UEFI firmware whose variables stand in a file on the EFI system
// partition.
type ubootFirmware struct {
	*uefi.Firmware
	// device is that partition.
	device string
}

// openUBoot returns firmware as U-Boot's when that has started the machine, and what
// it was given otherwise.
func (m *machine) openUBoot(firmware *uefi.Firmware) (update.Firmware, error) {
	if !uefi.IsUBoot(firmware.Variables) {
		return efiFirmware{firmware}, nil
	}
	p, ok := m.disk.table.Find(gpt.ESP, "")
	if !ok {
		return nil, errors.New("the disk has no EFI system partition, where U-Boot keeps its variables")
	}
	firmware.UBoot = filepath.Join(efiMount, uefi.UBootFile) // while it is mounted
	return ubootFirmware{firmware, m.disk.partition(p)}, nil
}

// TryOnce implements update.Firmware.
func (f ubootFirmware) TryOnce(slot string) error {
	return f.mounted(func() error { return f.Firmware.TryOnce(slot) })
}

// Untry implements update.Firmware.
func (f ubootFirmware) Untry() error { return f.mounted(f.Firmware.Untry) }

// mounted makes the partition's file system writable for as long as it is changed.
func (f ubootFirmware) mounted(change func() error) error {
	return withFAT(f.device, 0, func(string) error { return change() })
}
