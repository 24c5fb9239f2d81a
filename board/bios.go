package board

import (
	"errors"
	"fmt"
)

// BIOS is legacy BIOS on x86: the first sector's boot code starts GRUB's core image
// from the partition of type bios, and that starts a slot's OS file.
type BIOS struct {
	// Modules is the directory of GRUB's boot code, kernel and modules for BIOS.
	Modules PackageFile `yaml:"modules"`
	// Tool is the program of the same GRUB that puts a core image together. It runs
	// on the building machine.
	Tool PackageFile `yaml:"tool"`
}

// validate checks the block and what it needs of the disk.
func (b *BIOS) validate(d Disk) (errs []error) {
	errs = append(errs, b.Modules.validate("firmware.bios.modules")...)
	errs = append(errs, b.Tool.validate("firmware.bios.tool")...)
	if _, ok := d.Number("bios"); !ok {
		errs = append(errs, errors.New("firmware.bios: the disk has no partition of type bios"))
	}
	return errs
}

// Number returns the number of the first partition of a type, from 1 as GPT and GRUB
// count.
func (d Disk) Number(typ string) (int, bool) {
	for i, p := range d.Partitions {
		if p.Type == typ {
			return i + 1, true
		}
	}
	return 0, false
}

// SlotPartition is a partition that holds an OS file.
type SlotPartition struct {
	// Label is the slot's name, Number the partition's.
	Label  string
	Number int
}

// Slots returns the slots' partitions, the one that an image fills first.
func (d Disk) Slots() []SlotPartition {
	var slots []SlotPartition
	for _, typ := range []string{"xbootldr", "slot"} {
		for i, p := range d.Partitions {
			if p.Type == typ {
				slots = append(slots, SlotPartition{p.Label, i + 1})
			}
		}
	}
	return slots
}

// String names the slot as GRUB does its partition.
func (s SlotPartition) String() string { return fmt.Sprintf("gpt%d", s.Number) }
