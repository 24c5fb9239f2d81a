package system

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/image/grub"
	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// pc: one disk image on machines of several decades.
func pc(t *testing.T, suite *lab.Suite) {
	on := flashed(t, suite, "pc")
	for _, test := range []struct {
		name string
		run  func(*testing.T, *lab.Suite)
	}{
		{"USB disk by BIOS", usbByBIOS},
		{"AHCI and RTL8139 by BIOS", func(t *testing.T, s *lab.Suite) {
			// The first generation of x86-64 processors. Kubernetes takes minutes on an emulated one.
			starts(t, s, qemu.NodeSpec{
				Name: "desktop", Firmware: qemu.BIOS, DiskBus: qemu.AHCI, NIC: qemu.RTL8139, ExtraArgs: []string{"-cpu", "qemu64"},
			})
		}},
		{"UEFI", modernPC},
		{"BIOS", oldPC},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer suite.Times.Start(t)()
			test.run(t, on)
		})
	}
}

// starts boots a machine without a network until it has an address and its boot is over,
// and shuts it down.
func starts(t *testing.T, suite *lab.Suite, node qemu.NodeSpec) *lab.Machine {
	t.Helper()
	node.MemoryMiB = 1024
	m := suite.Machine(t, lab.MachineSpec{Name: node.Name, Node: node})
	startsAgain(t, m)
	return m
}

func startsAgain(t *testing.T, m *lab.Machine) (console string) {
	t.Helper()
	must(t, "start", m.Start(t.Context()))
	for _, kind := range []string{api.EventAddress, api.EventRunning} {
		_, err := m.WaitEvent(within(t, 3*time.Minute), kind, isKind(kind))
		must(t, "boot", err)
	}
	console = m.Console(t)
	must(t, "shutdown", m.PowerOff(t.Context()))
	checkClean(t, m)
	return console
}

// usbByBIOS: a stick at an old PC, also when what GRUB was told is lost, or names an
// empty slot.
func usbByBIOS(t *testing.T, suite *lab.Suite) {
	m := starts(t, suite, qemu.NodeSpec{Name: "stick", Firmware: qemu.BIOS, DiskBus: qemu.USB, NIC: qemu.E1000E})
	const header = "# GRUB Environment Block\n"
	for _, test := range []struct{ environment, want, after string }{
		{"# Nothing of the kind\n", "cannot be read", header + "slot=A\ntry=\n"},
		{header + "slot=A\ntry=B\n", "Slot B cannot be started", header + "slot=A\ntry=\n"},
		{header + "slot=B\ntry=\n", "Slot B cannot be started", header + "slot=B\ntry=\n"},
	} {
		setGRUBEnvironment(t, m, test.environment)
		if console := startsAgain(t, m); !strings.Contains(console, test.want) {
			t.Errorf("environment %q: the console does not say %q:\n%.2000s", test.environment, test.want, console)
		}
		if got := grubEnvironment(t, m); !strings.HasPrefix(got, test.after+"#") {
			t.Errorf("environment %q became %.80q", test.environment, got)
		}
	}
}

// setGRUBEnvironment replaces GRUB's environment block on a machine's disk.
func setGRUBEnvironment(t *testing.T, m *lab.Machine, text string) {
	t.Helper()
	block := append([]byte(text), bytes.Repeat([]byte("#"), 1024-len(text))...)
	onEFI(t, m, func(p *lab.Partition) error { return p.PutFile(t.Context(), grub.EnvironmentFile, block) })
}

// grubEnvironment reads GRUB's environment block on a machine's disk.
func grubEnvironment(t *testing.T, m *lab.Machine) (text string) {
	t.Helper()
	onEFI(t, m, func(p *lab.Partition) error {
		block, err := p.GetFile(t.Context(), grub.EnvironmentFile)
		text = string(block)
		return err
	})
	return text
}

// modernPC: a laptop of today, by UEFI.
func modernPC(t *testing.T, suite *lab.Suite) {
	m := suite.Machine(t, lab.MachineSpec{Name: "laptop", Node: qemu.NodeSpec{DiskBus: qemu.NVMe, NIC: qemu.E1000E}})
	status := m.MustBoot(t)
	suite.Times.Note(t, "Ready %.1f s after the kernel's start, %s used", status.Kubernetes.ReadyAt, memoryUsed(status))
	checkHealthy(t, m, status)
	checkScreen(t, m)
	must(t, "shutdown", m.PowerOff(t.Context()))
	checkClean(t, m)
}

// oldPC: a machine with 1 GiB, an IDE disk and a BIOS: GRUB starts its slots, once on trial
// and back again.
func oldPC(t *testing.T, suite *lab.Suite) {
	u := newUpdating(t, suite, "old", qemu.NodeSpec{
		Firmware: qemu.BIOS, Chipset: qemu.I440FX, DiskBus: qemu.IDE, NIC: qemu.E1000, MemoryMiB: 1024,
	})
	status := u.MustBoot(t)
	suite.Times.Note(t, "Ready %.1f s after the kernel's start, %s used", status.Kubernetes.ReadyAt, memoryUsed(status))
	checkHealthy(t, u.Machine, status)
	checkScreen(t, u.Machine)
	u.begin(t, status)
	must(t, "deploy", u.Deploy(t.Context()))
	must(t, "workload", u.WaitWorkload(t.Context()))
	u.wantSlots(t, status, "A")

	kept, err := suite.Newer(t.Context(), "1.1.0")
	must(t, "build a newer version", err)
	u.pushAndTry(t, kept)
	status = u.awaitVerdict(t, kept.Version, "good")
	u.wantRunning(t, status, kept.Version)
	u.wantSlots(t, status, "B")

	status = reboot(t, u.Machine, status)
	u.wantSlots(t, status, "B")
	must(t, "workload after a reboot", u.WaitWorkload(t.Context()))

	broken := u.variant(t, "1.1.1", func(p *uki.Parts) error {
		p.CmdLine += " rdinit=/not-there panic=1"
		return nil
	})
	u.pushAndTry(t, broken)
	status = u.awaitVerdict(t, broken.Version, "bad")
	u.wantRunning(t, status, kept.Version)
	u.wantSlots(t, status, "B")
	wantReason(t, status, "init never ran")
	if text := u.Console(t); !strings.Contains(text, "Kernel panic") {
		t.Error("the console shows no panic of the broken version")
	}
	must(t, "shutdown", u.PowerOff(t.Context()))
	checkClean(t, u.Machine)
}

// wantSlots checks which slot runs and is the default.
func (u *updating) wantSlots(t *testing.T, s *api.Status, name string) {
	t.Helper()
	if s.Update == nil {
		t.Fatal("the machine cannot be updated")
	}
	for _, slot := range s.Update.Slots {
		if want := slot.Name == name; slot.Running != want || slot.Default != want {
			t.Errorf("slots %+v, want %s to run and to be the default", s.Update.Slots, name)
		}
	}
}
