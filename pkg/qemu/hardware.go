package qemu

import "fmt"

// Chipset is the kind of PC that QEMU shows the guest.
type Chipset string

// Q35 is a PC of 2007 and later (PCI Express, AHCI), I440FX one of 1996 (PCI, IDE).
const (
	Q35    Chipset = "q35"
	I440FX Chipset = "pc"
)

// DiskBus is how the disk is attached.
type DiskBus string

// The ways to attach a disk. IDE needs I440FX; USB is a stick at an xHCI port.
const (
	VirtioDisk DiskBus = "virtio"
	AHCI       DiskBus = "ahci"
	IDE        DiskBus = "ide"
	NVMe       DiskBus = "nvme"
	USB        DiskBus = "usb"
)

// NIC is the model of the network interfaces, one of QEMU's PCI devices.
type NIC string

// Models of network interfaces. QEMU has more.
const (
	VirtioNIC NIC = "virtio-net-pci"
	E1000     NIC = "e1000"
	E1000E    NIC = "e1000e"
	RTL8139   NIC = "rtl8139"
)

// diskDevice attaches the drive called disk.
func diskDevice(s NodeSpec, bootIndex int) []string {
	options := fmt.Sprintf("drive=disk,serial=disk,bootindex=%d", bootIndex)
	switch s.DiskBus {
	case NVMe:
		return []string{"-device", "nvme," + options}
	case USB:
		return []string{"-device", "qemu-xhci,id=usb", "-device", "usb-storage,bus=usb.0," + options}
	case IDE:
		return []string{"-device", "ide-hd,bus=ide.0," + options}
	case AHCI:
		return []string{"-device", "ich9-ahci,id=ahci", "-device", "ide-hd,bus=ahci.0," + options}
	}
	return []string{"-device", "virtio-blk-pci," + options}
}

// validateHardware says what is wrong with the hardware of a spec that has its defaults.
func (s NodeSpec) validateHardware(wrong func(format string, args ...any)) {
	if s.Arch == AMD64 && s.Chipset != Q35 && s.Chipset != I440FX {
		wrong("unknown chipset %q: use %q or %q", s.Chipset, Q35, I440FX)
	}
	if s.Firmware == UEFISecure && s.Chipset != Q35 {
		wrong("firmware with Secure Boot needs the chipset %q", Q35)
	}
	switch s.DiskBus {
	case VirtioDisk, AHCI, NVMe, USB:
	case IDE:
		if s.Chipset != I440FX {
			wrong("an IDE disk needs the chipset %q", I440FX)
		}
	default:
		wrong("unknown disk bus %q: use %q, %q, %q, %q or %q", s.DiskBus, VirtioDisk, AHCI, IDE, NVMe, USB)
	}
	if !nicPattern.MatchString(string(s.NIC)) {
		wrong("network interface %q: use the name of one of QEMU's PCI devices", s.NIC)
	}
}
