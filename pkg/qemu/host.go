package qemu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
)

// Host is where the tools of the host stand. The zero value means Debian's
// places.
type Host struct {
	// Binary is the QEMU system emulator; default: the architecture's on PATH, such as
	// "qemu-system-x86_64".
	Binary string
	// FirmwareCode is the flash image of OVMF or edk2 and FirmwareVars that of its
	// variables; FirmwareCode is U-Boot itself on a machine that starts with that.
	FirmwareCode string
	FirmwareVars string
}

// resolve fills in the defaults and verifies that everything is there that
// firmware needs.
func (h Host) resolve(architecture string, firmware Firmware) (Host, error) {
	a, err := archOf(architecture)
	if err != nil {
		return h, err
	}
	if h.Binary == "" {
		h.Binary = a.binary
	}
	path, err := exec.LookPath(h.Binary)
	if err != nil {
		return h, fmt.Errorf("QEMU is missing: %w; %s", err, a.installHint())
	}
	h.Binary = path
	files := a.firmwares[firmware]
	if h.FirmwareCode == "" {
		h.FirmwareCode = files.code
	}
	if h.FirmwareVars == "" {
		h.FirmwareVars = files.vars
	}
	needed := []string{h.FirmwareCode, h.FirmwareVars}
	switch firmware {
	case BIOS:
		return h, nil
	case UBoot:
		needed = needed[:1]
	}
	for _, p := range needed {
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			return h, fmt.Errorf("the firmware %s is missing; %s", p, a.installHint())
		} else if err != nil {
			return h, fmt.Errorf("look for the firmware: %w", err)
		}
	}
	return h, nil
}
