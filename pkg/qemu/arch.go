package qemu

import (
	"debug/pe"
	"fmt"
	"runtime"
	"slices"
)

// The architectures of machines, by Go's names.
const (
	AMD64 = "amd64"
	ARM64 = "arm64"
)

// arch is what differs between the machines of two architectures.
type arch struct {
	// binary is the QEMU system emulator.
	binary string
	// machine and screen are QEMU's arguments for them; without machine the chipset is.
	machine, screen []string
	// cpu is the processor to translate for.
	cpu string
	// firmwares are where Debian keeps them; a firmware that needs no file from
	// elsewhere has an empty code.
	firmwares map[Firmware]firmwareFiles
	// program is the file's name that a firmware starts from a disk by itself.
	program string
	// packages are Debian's with all of this.
	packages string
}

// firmwareFiles are a firmware's images: code is flash, with vars for its variables,
// or a ROM without.
type firmwareFiles struct{ code, vars string }

func archOf(name string) (arch, error) {
	switch name {
	case AMD64:
		return arch{
			binary: "qemu-system-x86_64", screen: []string{"-vga", "std"}, cpu: "max",
			firmwares: map[Firmware]firmwareFiles{
				UEFI:       {"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
				UEFISecure: {"/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
				BIOS:       {},
			},
			program: "BOOTX64.EFI", packages: "qemu-system-x86 ovmf",
		}, nil
	case ARM64:
		return arch{
			binary: "qemu-system-aarch64",
			// The kernel needs GICv3 for message-signalled interrupts; "max" is it, or what KVM has.
			machine: []string{"-machine", "virt,gic-version=max"},
			// ramfb is what both the firmware and the kernel's firmware frame buffer know.
			screen: []string{"-device", "ramfb"},
			// The architecture's algorithm for pointer authentication takes half of the time.
			cpu: "max,pauth-impdef=on",
			firmwares: map[Firmware]firmwareFiles{
				UEFI:  {"/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"},
				UBoot: {"/usr/lib/u-boot/qemu_arm64/u-boot.bin", ""},
			},
			program: "BOOTAA64.EFI", packages: "qemu-system-arm qemu-efi-aarch64 u-boot-qemu",
		}, nil
	}
	return arch{}, fmt.Errorf("unknown architecture %q: use %s or %s", name, AMD64, ARM64)
}

// starts reports whether a machine can start with the firmware.
func (a arch) starts(f Firmware) bool {
	_, ok := a.firmwares[f]
	return ok
}

// installHint says how to get what is missing.
func (a arch) installHint() string { return "install it with: apt-get install " + a.packages }

// foreign returns why KVM is out of question for the architecture on this host, ""
// when it is not.
func foreign(name string) string {
	if name == runtime.GOARCH {
		return ""
	}
	return fmt.Sprintf("the machine is %s and this computer is %s", name, runtime.GOARCH)
}

// OSFileArch returns the architecture of the EFI program in the file path.
func OSFileArch(path string) (string, error) {
	f, err := pe.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s is no EFI program: %w", path, err)
	}
	defer func() { _ = f.Close() }()
	machines := []uint16{pe.IMAGE_FILE_MACHINE_AMD64, pe.IMAGE_FILE_MACHINE_ARM64}
	i := slices.Index(machines, f.Machine)
	if i < 0 {
		return "", fmt.Errorf("%s is for the processor %#x of the PE format, and only amd64 and arm64 are known", path, f.Machine)
	}
	return []string{AMD64, ARM64}[i], nil
}
