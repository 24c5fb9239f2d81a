package static

import (
	"debug/elf"
	"errors"
	"fmt"
)

// machines are the architectures in an ELF header.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// Check says why the file is no static program for arch without writable code; nil when
// it is one.
func Check(file, arch string) (err error) {
	f, err := elf.Open(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if f.Machine != machines[arch] {
		return fmt.Errorf("%s is for %v, not for %s", file, f.Machine, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			return fmt.Errorf("%s is not static", file)
		}
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && p.Flags&elf.PF_W != 0 {
			return fmt.Errorf("%s: the segment at %#x is writable and executable", file, p.Vaddr)
		}
	}
	return nil
}
