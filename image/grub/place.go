package grub

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Places in boot.img (grub-core/boot/i386/pc/boot.S of GRUB 2.12) and in the first
// sector of core.img (diskboot.S).
const (
	sectorSize = 512
	bootCode   = 440 // what follows belongs to the partition table

	bootKernelSector = 0x5c // where on the disk the core image begins
	bootDriveCheck   = 0x66 // a jump over what mends the drive number of broken BIOSes
	coreBlockList    = 0x1f4
	coreSegment      = 0x820 // where the second sector of the core image goes
)

// Files are what goes on a disk.
type Files struct {
	// Boot is for the first sector, Core for the partition.
	Boot, Core []byte
}

// Read reads what [Build] made: the core image at a path and the boot code beside it.
func Read(core string) (f Files, err error) {
	if f.Core, err = os.ReadFile(core); err != nil {
		return f, err
	}
	f.Boot, err = os.ReadFile(filepath.Join(filepath.Dir(core), bootFile))
	return f, err
}

// Place returns the first sector's boot code and the core image for a partition that
// begins at a sector and has a length in bytes.
func (f Files) Place(first uint64, length int64) (code [bootCode]byte, core []byte, err error) {
	if len(f.Boot) != sectorSize || len(f.Core) <= sectorSize {
		return code, nil, fmt.Errorf("GRUB's boot code has %d bytes, its core image %d", len(f.Boot), len(f.Core))
	}
	if int64(len(f.Core)) > length {
		return code, nil, fmt.Errorf("GRUB's core image has %d bytes, its partition %d", len(f.Core), length)
	}
	sectors := (len(f.Core) + sectorSize - 1) / sectorSize
	core = append([]byte(nil), f.Core...)
	core = append(core, make([]byte, sectors*sectorSize-len(core))...)
	le := binary.LittleEndian
	if le.Uint64(f.Boot[bootKernelSector:]) != 1 || le.Uint64(core[coreBlockList:]) != 2 || le.Uint16(core[coreBlockList+10:]) != coreSegment {
		return code, nil, errors.New("GRUB's boot code is not laid out as that of GRUB 2.12: look at boot.S and diskboot.S of its version")
	}
	copy(code[:], f.Boot)
	le.PutUint64(code[bootKernelSector:], first)
	copy(code[bootDriveCheck:], []byte{0x90, 0x90}) // as grub-install does for hard disks
	le.PutUint64(core[coreBlockList:], first+1)
	le.PutUint16(core[coreBlockList+8:], uint16(sectors-1))
	return code, core, nil
}
