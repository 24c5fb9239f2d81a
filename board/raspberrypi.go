package board

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// RaspberryPi is the firmware of a Raspberry Pi: it reads a configuration, the kernel
// and what belongs to it as files, from a FAT partition that autoboot.txt on the first
// partition names. The OS file is a file of pieces (package pieces).
type RaspberryPi struct {
	// Package is the package of the prerequisites' lock with the firmware.
	Package string `yaml:"package"`
	// Boot are its files on the first partition, Slot those in every slot.
	Boot []FirmwareFile `yaml:"boot"`
	Slot []FirmwareFile `yaml:"slot"`
	// Config is the file that a slot has as config.txt, relative to board/.
	Config string `yaml:"config"`
	// Kernel and Initramfs are their names in a slot, as Config has them.
	Kernel    string `yaml:"kernel"`
	Initramfs string `yaml:"initramfs"`
	// Rename are the names that device trees have in a slot, by the kernel's.
	Rename map[string]string `yaml:"rename"`
}

// FirmwareFile is a file of the firmware's package.
type FirmwareFile struct {
	// Path is its path in the package, Install its name on the partition.
	Path    string `yaml:"path"`
	Install string `yaml:"install"`
}

func (r *RaspberryPi) validate() (errs []error) {
	if r.Package == "" {
		errs = append(errs, errors.New("firmware.raspberryPi.package is empty"))
	}
	errs = append(errs, validPaths(r.Config)...)
	names := []string{r.Kernel, r.Initramfs}
	for _, f := range append(append([]FirmwareFile(nil), r.Boot...), r.Slot...) {
		errs = append(errs, validPaths(f.Path)...)
		names = append(names, f.Install)
	}
	for from, to := range r.Rename {
		names = append(names, from, to)
	}
	for _, name := range names {
		if name == "" || path.Base(name) != name || strings.ContainsAny(name, " \\") {
			errs = append(errs, fmt.Errorf("firmware.raspberryPi: %q: want a file's name", name))
		}
	}
	return errs
}
