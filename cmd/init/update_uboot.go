package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/pkg/gpt"
	"github.com/digital-mycelium/os/pkg/update"
	"github.com/digital-mycelium/os/pkg/update/uefi"
)

// ubootMount shows the EFI system partition while U-Boot's variables are read or
// changed there.
const ubootMount = "/run/uboot"

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
	firmware.UBoot = ubootMount + "/" + uefi.UBootFile
	return ubootFirmware{firmware, m.disk.partition(p)}, nil
}

// TryOnce implements update.Firmware.
func (f ubootFirmware) TryOnce(slot string) error {
	return f.mounted(func() error { return f.Firmware.TryOnce(slot) })
}

// Untry implements update.Firmware.
func (f ubootFirmware) Untry() error { return f.mounted(f.Firmware.Untry) }

// mounted makes the partition's file system writable for as long as it is changed.
// Unmounting writes all of it to the disk.
func (f ubootFirmware) mounted(change func() error) (err error) {
	if err := os.MkdirAll(ubootMount, 0o700); err != nil {
		return err
	}
	if err := unix.Mount(f.device, ubootMount, "vfat", nosuid|nodev|noexec, ""); err != nil {
		return fmt.Errorf("mount the EFI system partition %s for U-Boot's variables: %w", f.device, err)
	}
	defer func() {
		err = errors.Join(err, unix.Unmount(ubootMount, 0), os.Remove(ubootMount))
	}()
	return change()
}
