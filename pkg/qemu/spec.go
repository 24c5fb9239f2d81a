package qemu

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// Firmware is what the machine starts with.
type Firmware string

// UEFI is OVMF or edk2, with variables that each node keeps; BIOS is SeaBIOS, for
// amd64 alone; UBoot is U-Boot, for arm64 alone. UEFISecure is OVMF with Secure Boot and
// without an owner (setup mode), for amd64 alone: it protects itself and its variables by
// the system management mode, so that the chipset must be Q35.
const (
	UEFI       Firmware = "uefi"
	UEFISecure Firmware = "uefi-secure"
	BIOS       Firmware = "bios"
	UBoot      Firmware = "uboot"
)

// flash reports whether the firmware keeps variables in flash.
func (f Firmware) flash() bool { return f == UEFI || f == UEFISecure }

// DiskCache says what happens to what the guest writes, in QEMU's own words
// (QEMU documentation, -drive cache=).
//
// With Writeback the host's page cache holds what the guest has written, so it
// outlives QEMU (a power cut of the machine), not a power cut of the host; a
// guest's flush reaches the host's disk. Unsafe ignores flushes and is the
// fastest. DirectSync and None go past the host's cache.
type DiskCache string

// The modes that QEMU knows.
const (
	Writeback    DiskCache = "writeback"
	Writethrough DiskCache = "writethrough"
	NoCache      DiskCache = "none"
	DirectSync   DiskCache = "directsync"
	Unsafe       DiskCache = "unsafe"
)

// Network interfaces of every node, as SetLink names them.
const (
	// WAN is behind QEMU's own NAT (slirp): 10.0.2.15 by DHCP, the way out and
	// the forwarded ports' way in.
	WAN = "wan"
	// LAN is the segment that a network's nodes share.
	LAN = "lan"
)

// ConfigItem is the firmware configuration item (fw_cfg) that a node's
// configuration comes in.
const ConfigItem = "opt/mycelium.os/config"

// Forward makes a TCP port of the guest reachable on the host's 127.0.0.1.
type Forward struct {
	// Guest is the port inside.
	Guest int `json:"guest"`
	// Host is the port on 127.0.0.1; 0 takes a free one.
	Host int `json:"host"`
	// Fixed makes it an error when Host is taken; otherwise Start takes another.
	Fixed bool `json:"fixed,omitempty"`
}

// Segment is a LAN segment: an Ethernet carried by multicast on the host's
// loopback interface. The zero value means none.
type Segment struct {
	// Group is a multicast address, e.g. "239.192.13.37".
	Group string `json:"group,omitempty"`
	Port  int    `json:"port,omitempty"`
}

// NodeSpec describes a machine. The zero value of a field means its default.
type NodeSpec struct {
	// Name is a DNS label; required.
	Name string `json:"name"`
	// Dir holds everything of the machine; required, created by Start.
	Dir string `json:"-"`
	// Image is a raw disk image or an OS file (EFI executable); required when
	// Dir has no disk yet. It is copied: later changes of it do not reach the node.
	Image string `json:"image"`
	// Arch is the processor's architecture: AMD64, the default, or ARM64.
	Arch string `json:"arch"`
	// Firmware defaults to UEFI.
	Firmware Firmware `json:"firmware"`
	// Chipset defaults to Q35, DiskBus to VirtioDisk, NIC to VirtioNIC.
	Chipset Chipset `json:"chipset,omitempty"`
	DiskBus DiskBus `json:"diskBus,omitempty"`
	NIC     NIC     `json:"nic,omitempty"`
	// MemoryMiB defaults to 2048, CPUs to 2.
	MemoryMiB int `json:"memoryMiB"`
	CPUs      int `json:"cpus"`
	// DiskBytes is the disk's size; default 16 GiB, sparse.
	DiskBytes int64     `json:"diskBytes"`
	DiskCache DiskCache `json:"diskCache"`
	// Acceleration defaults to what DetectAcceleration finds.
	Acceleration Acceleration `json:"acceleration"`
	// RTC is the time that the machine's clock shows when it starts: zero means
	// the host's (UTC).
	RTC time.Time `json:"rtc,omitzero"`
	// Forwards are the forwarded ports; Start fills in free host ports.
	Forwards []Forward `json:"forwards"`
	// Segment is the LAN; without one the machine has only the WAN interface.
	Segment Segment `json:"segment"`
	// WANMAC and LANMAC are the interfaces' addresses; default: from Name.
	WANMAC string `json:"wanMAC"`
	LANMAC string `json:"lanMAC"`
	// Config is the machine's configuration; it may hold secrets and is kept
	// with mode 0600.
	Config []byte `json:"-"`
	// Identity is the network that the machine becomes a member of with Enrol, and
	// whose operator calls it. Without one there is no Client.
	Identity Identity `json:"identity,omitzero"`
	// DiskFaults is the path of a configuration of QEMU's blkdebug, which makes requests
	// to the disk fail; empty for a disk that works.
	DiskFaults string `json:"diskFaults,omitempty"`
	// RecordWrites keeps all that the machine writes to its disk since its start in the
	// file WriteLogPath, in the format of Linux' dm-log-writes: what a disk has lost that
	// lost its power can be told from it.
	RecordWrites bool `json:"recordWrites,omitempty"`
	// ExtraArgs go to QEMU's command line as they are.
	ExtraArgs []string `json:"extraArgs,omitempty"`
	// Host says where the host's tools stand.
	Host Host `json:"host"`
}

var (
	namePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	nicPattern  = regexp.MustCompile(`^[a-z0-9][-a-z0-9]*$`)
)

// withDefaults returns s with its defaults filled in, except for what depends
// on the host.
func (s NodeSpec) withDefaults() NodeSpec {
	if s.Arch == "" {
		s.Arch = AMD64
	}
	if s.Firmware == "" {
		s.Firmware = UEFI
	}
	if s.Chipset == "" {
		s.Chipset = Q35
	}
	if s.DiskBus == "" {
		s.DiskBus = VirtioDisk
	}
	if s.NIC == "" {
		s.NIC = VirtioNIC
	}
	if s.MemoryMiB == 0 {
		s.MemoryMiB = 2048
	}
	if s.CPUs == 0 {
		s.CPUs = 2
	}
	if s.DiskBytes == 0 {
		s.DiskBytes = 16 << 30
	}
	if s.DiskCache == "" {
		s.DiskCache = Writeback
	}
	if s.WANMAC == "" {
		s.WANMAC = MAC(s.Name, WAN)
	}
	if s.LANMAC == "" {
		s.LANMAC = MAC(s.Name, LAN)
	}
	return s
}

// validate says what is wrong with a spec that has its defaults.
func (s NodeSpec) validate() error {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("node %q: %w", s.Name, fmt.Errorf(format, args...)))
	}
	if !namePattern.MatchString(s.Name) {
		wrong("the name must be lower-case letters, digits and hyphens, at most 63")
	}
	if s.Dir == "" {
		wrong("it has no directory")
	}
	if a, err := archOf(s.Arch); err != nil {
		wrong("%w", err)
	} else if !a.starts(s.Firmware) {
		wrong("unknown firmware %q for %s: use one of %v", s.Firmware, s.Arch, slices.Sorted(maps.Keys(a.firmwares)))
	}
	s.validateHardware(wrong)
	if s.MemoryMiB < 16 {
		wrong("%d MiB of memory is too little", s.MemoryMiB)
	}
	if s.CPUs < 1 {
		wrong("%d CPUs: use at least one", s.CPUs)
	}
	modes := []DiskCache{Writeback, Writethrough, NoCache, DirectSync, Unsafe}
	if !slices.Contains(modes, s.DiskCache) {
		wrong("unknown disk cache mode %q: use one of %v", s.DiskCache, modes)
	}
	if s.RecordWrites && s.DiskFaults != "" {
		wrong("a disk with faults cannot have its writes recorded")
	}
	seen := map[int]bool{}
	for _, f := range s.Forwards {
		if f.Guest < 1 || f.Guest > 65535 || f.Host < 0 || f.Host > 65535 {
			wrong("port forward %d:%d is out of range", f.Host, f.Guest)
		}
		if f.Host != 0 && seen[f.Host] {
			wrong("host port %d is forwarded twice", f.Host)
		}
		seen[f.Host] = true
	}
	return errors.Join(errs...)
}

// file returns the path of a file in the node's directory.
func (s NodeSpec) file(name string) string { return filepath.Join(s.Dir, name) }
