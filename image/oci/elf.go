package oci

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
)

// StaticArch returns Go's name of the architecture that a static Linux program
// is for, and an error when the program is none or needs a dynamic linker,
// which an image of one file does not hold.
func StaticArch(program []byte) (string, error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return "", fmt.Errorf("not a Linux program: %w", err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", errors.New("not a static program (build it with CGO_ENABLED=0)")
		}
	}
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	}
	return "", fmt.Errorf("built for %v, want amd64 or arm64", f.Machine)
}
