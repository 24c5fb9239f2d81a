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
	// Binary is the QEMU system emulator; default "qemu-system-x86_64" on PATH.
	Binary string
	// FirmwareCode and FirmwareVars are OVMF's flash images.
	FirmwareCode string
	FirmwareVars string
}

const installHint = "install it with: apt-get install qemu-system-x86 ovmf"

// resolve fills in the defaults and verifies that everything is there that
// firmware needs.
func (h Host) resolve(firmware Firmware) (Host, error) {
	if h.Binary == "" {
		h.Binary = "qemu-system-x86_64"
	}
	path, err := exec.LookPath(h.Binary)
	if err != nil {
		return h, fmt.Errorf("QEMU is missing: %w; %s", err, installHint)
	}
	h.Binary = path
	if h.FirmwareCode == "" {
		h.FirmwareCode = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	}
	if h.FirmwareVars == "" {
		h.FirmwareVars = "/usr/share/OVMF/OVMF_VARS_4M.fd"
	}
	if firmware != UEFI {
		return h, nil
	}
	for _, p := range []string{h.FirmwareCode, h.FirmwareVars} {
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			return h, fmt.Errorf("the UEFI firmware %s is missing; %s", p, installHint)
		} else if err != nil {
			return h, fmt.Errorf("look for the UEFI firmware: %w", err)
		}
	}
	return h, nil
}
