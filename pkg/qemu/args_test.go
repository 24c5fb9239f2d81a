package qemu

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update rewrites it):\n%s", path, got)
	}
}

// TestDiskBus attaches the disk in every way.
func TestDiskBus(t *testing.T) {
	var all strings.Builder
	for _, s := range []NodeSpec{{DiskBus: VirtioDisk}, {DiskBus: AHCI}, {Chipset: I440FX, DiskBus: IDE}, {DiskBus: NVMe}, {DiskBus: USB}} {
		all.WriteString(pretty(diskDevice(s, 1)))
	}
	golden(t, "diskbus.args", all.String())
}

// pretty puts each option on a line.
func pretty(args []string) string {
	var b strings.Builder
	for i, a := range args {
		switch {
		case i > 0 && strings.HasPrefix(a, "-"):
			b.WriteString("\n" + a)
		case i > 0:
			b.WriteString(" " + a)
		default:
			b.WriteString(a)
		}
	}
	return b.String() + "\n"
}

func TestArguments(t *testing.T) {
	host := Host{FirmwareCode: "/usr/share/OVMF/OVMF_CODE_4M.fd", FirmwareVars: "/usr/share/OVMF/OVMF_VARS_4M.fd"}
	disk := NodeSpec{
		Name: "node-1", Acceleration: TCG, Host: host, Segment: Segment{Group: "239.192.1.2", Port: 20001},
		Forwards: []Forward{{Guest: 6440, Host: 40001}, {Guest: 6443, Host: 40002}},
	}
	osFileOnKVM := NodeSpec{
		Name: "solo", Acceleration: KVM, Host: Host{FirmwareCode: "/firm,ware/code.fd"}, MemoryMiB: 1024, CPUs: 1,
		DiskCache: Unsafe, RTC: time.Date(1970, 1, 1, 0, 0, 1, 0, time.UTC), ExtraArgs: []string{"-S"},
	}
	secure := NodeSpec{Name: "secure", Acceleration: TCG, Firmware: UEFISecure, Host: Host{FirmwareCode: "/secboot.fd"}}
	bios := NodeSpec{Name: "old", Acceleration: TCG, Firmware: BIOS, Chipset: I440FX, DiskBus: IDE, NIC: E1000}
	arm := NodeSpec{Name: "arm", Arch: ARM64, Acceleration: TCG, Host: Host{FirmwareCode: "/code.fd"}}
	uboot := NodeSpec{Name: "arm", Arch: ARM64, Acceleration: KVM, Firmware: UBoot, Host: Host{FirmwareCode: "/u-boot.bin"}}
	tests := []struct {
		golden string
		spec   NodeSpec
		layout layout
	}{
		{"disk.args", disk, layout{config: true}},
		{"osfile-kvm.args", osFileOnKVM, layout{esp: true}},
		{"bios.args", bios, layout{}},
		{"secure.args", secure, layout{}},
		{"arm64.args", arm, layout{}},
		{"uboot.args", uboot, layout{}},
	}
	for _, tt := range tests {
		golden(t, tt.golden, pretty(arguments(tt.spec.withDefaults(), tt.layout)))
	}
}

func TestSpecValidation(t *testing.T) {
	good := func() NodeSpec { return NodeSpec{Name: "n", Dir: "/d"}.withDefaults() }
	if err := good().validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*NodeSpec){
		"the name must be":   func(s *NodeSpec) { s.Name = "a,b" },
		"no directory":       func(s *NodeSpec) { s.Dir = "" },
		"unknown firmware":   func(s *NodeSpec) { s.Firmware = "coreboot" },
		"unknown chipset":    func(s *NodeSpec) { s.Chipset = "pentium" },
		"unknown disk bus":   func(s *NodeSpec) { s.DiskBus = "tape" },
		"an IDE disk needs":  func(s *NodeSpec) { s.DiskBus = IDE },
		"Secure Boot needs":  func(s *NodeSpec) { s.Firmware, s.Chipset = UEFISecure, I440FX },
		"for arm64":          func(s *NodeSpec) { s.Firmware, s.Arch = UEFISecure, ARM64 },
		"PCI devices":        func(s *NodeSpec) { s.NIC = "e1000,mac=x" },
		"too little":         func(s *NodeSpec) { s.MemoryMiB = 8 },
		"at least one":       func(s *NodeSpec) { s.CPUs = -1 },
		"unknown disk cache": func(s *NodeSpec) { s.DiskCache = "fast" },
		"out of range":       func(s *NodeSpec) { s.Forwards = []Forward{{Guest: 0}} },
		"forwarded twice":    func(s *NodeSpec) { s.Forwards = []Forward{{1, 80, true}, {2, 80, true}} },
	} {
		s := good()
		change(&s)
		if err := s.validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
