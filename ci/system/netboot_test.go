package system

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// How long a machine may take from power-on until its system runs, and until its
// node is Ready.
const (
	netRunning = 6 * time.Minute
	netReady   = 10 * time.Minute
)

// netboot: machines with an empty disk or none start over the network, each by
// another way of its firmware or with another board's image, from "mycelium netboot serve".
func netboot(t *testing.T, suite *lab.Suite) {
	s := newShell(t, suite)
	segment, err := lab.NewSegment(t)
	must(t, "network segment", err)
	image, loaders := filepath.Dir(suite.Image), t.TempDir()
	s.run("image", "netboot", "--out", loaders)
	common := []string{"--image", image, "--loaders", loaders}

	for _, test := range netFirmwares() {
		t.Run(test.name, func(t *testing.T) {
			defer suite.Times.Start(t)()
			netbootRuns(t, suite, s, segment, loaders, test)
		})
	}
	// From here the addresses are another computer's.
	router := func(t *testing.T) {
		startBootServer(t, s, segment.Router, "--image", image, "--loaders", loaders,
			"--dhcp", lab.Prefix+"50-"+lab.Prefix+"90", "--only-hosts", "--host", "02:00:00:00:00:01="+writeConfig(t, "nobody"))
	}
	t.Run("UEFI PXE to Ready", func(t *testing.T) {
		defer suite.Times.Start(t)()
		router(t)
		netbootReady(t, s, segment, common)
	})
	t.Run("UEFI HTTP with configuration", func(t *testing.T) {
		defer suite.Times.Start(t)()
		router(t)
		server := startBootServer(t, s, segment.Server, append(common, "--host", "52:54:00:77:00:0c="+writeConfig(t, "by-http"))...)
		m := startNetMachine(t, segment, netHardware{last: 0x0c, uefi: true, card: "virtio-net-pci,romfile=", argument: onlyHTTP()})
		from := m.wait(netRunning, "its configuration", func(e api.ConsoleEvent) bool {
			return e.Kind == api.EventConfiguration && strings.HasSuffix(e.Text, "/config")
		})
		if strings.Contains(m.text(), "?t=") {
			t.Errorf("the console shows the word that the configuration is fetched with: %s", from.Text)
		}
		m.wait(netRunning, "the system to run", isKind(api.EventRunning))
		server.wait(t, time.Minute, "HTTP, efi-amd64", "fetches snponly.efi", "iPXE, efi-amd64", "has the operating system", "has its configuration")
	})
	t.Run("install", func(t *testing.T) {
		defer suite.Times.Start(t)()
		router(t)
		netbootInstall(t, s, segment, common)
	})
}

// netFirmware is a machine that starts over the network by one of the ways of its
// firmware.
type netFirmware struct {
	name, board string
	hardware    netHardware
	// says is what the server's terminal tells of it, in this order.
	says []string
}

func netFirmwares() []netFirmware {
	bios := []string{"iPXE, bios-amd64", "has its script", "fetches linux", "has the operating system"}
	return []netFirmware{
		{"BIOS", "qemu-amd64", netHardware{last: 0x0a, card: "virtio-net-pci"}, bios},
		{"BIOS, board pc", "pc", netHardware{last: 0x0e, card: "e1000"}, bios},
		{
			"UEFI arm64 PXE", "qemu-arm64",
			netHardware{arch: qemu.ARM64, last: 0x0f, uefi: true, card: "virtio-net-pci,romfile="},
			[]string{"PXE, efi-arm64", "fetches ipxe-arm64.efi", "iPXE, efi-arm64", "has its script", "fetches os.efi", "has the operating system"},
		},
	}
}

// netbootRuns boots a machine with no disk, beside no other DHCP server, until its system
// runs and has an address.
func netbootRuns(t *testing.T, suite *lab.Suite, s *shell, segment *lab.Segment, loaders string, test netFirmware) {
	on, err := suite.On(test.board)
	must(t, "image", err)
	running := netRunning * time.Duration(max(on.Slower, 1))
	server := startBootServer(t, s, segment.Server, "--image", filepath.Dir(on.Image), "--loaders", loaders, "--dhcp", lab.Prefix+"100-"+lab.Prefix+"120")
	m := startNetMachine(t, segment, test.hardware)
	m.wait(running, "an address of the range", func(e api.ConsoleEvent) bool {
		return e.Kind == api.EventAddress && strings.Contains(e.Text, lab.Prefix+"1")
	})
	m.wait(running, "the system to run", isKind(api.EventRunning))
	m.wait(time.Minute, "that it runs from memory", isProblem("no disk"))
	server.wait(t, time.Minute, test.says...)
}

// netbootInstall boots a machine with an empty disk, which installs itself, and is
// sent on to its disk when it asks again.
func netbootInstall(t *testing.T, s *shell, segment *lab.Segment, common []string) {
	server := startBootServer(t, s, segment.Server, append(common, "--install", "auto", "--config", writeConfig(t, "installed"))...)
	path := filepath.Join(t.TempDir(), "disk.img")
	must(t, "empty disk", os.WriteFile(path, nil, 0o644))
	must(t, "empty disk", os.Truncate(path, targetSize))
	disk := []string{"-drive", "if=none,id=disk,format=raw,file=" + path, "-device", "virtio-blk-pci,drive=disk,bootindex=2"}
	m := startNetMachine(t, segment, netHardware{last: 0x0d, uefi: true, card: "virtio-net-pci,romfile=", argument: disk})
	server.wait(t, netRunning, "PXE, efi-amd64", "has the operating system", "says: system ", "says: done 100")
	server.wait(t, netRunning, "says: done 100", "PXE, efi-amd64", "is installed and boots its disk")
	if text := server.said(t); strings.Count(text, "has the operating system") != 1 {
		t.Errorf("an installed machine fetched the system:\n%s", text)
	}
	// What it says since its second start.
	second := ""
	must(t, "the installed system", lab.Poll(within(t, netRunning), "the installed system to run", func(context.Context) (bool, string, error) {
		starts := strings.Split(m.text(), "mycelium: init ")
		second = starts[len(starts)-1]
		return len(starts) == 3 && strings.Contains(second, "mycelium: running "), second, nil
	}))
	if strings.Contains(second, "problem: no disk") || !strings.Contains(second, "mycelium: configuration: "+fromFile) {
		t.Errorf("the installed system does not run from its disk:\n%s", second)
	}
}

// netbootReady boots a machine whose configuration names its network, enrols it
// as an operator does, and waits until its node is Ready.
func netbootReady(t *testing.T, s *shell, segment *lab.Segment, common []string) {
	s.run("network", "create", "home", "--generate-passphrase")
	server := startBootServer(t, s, segment.Server, append(common, "--network", "home")...)
	m := startNetMachine(t, segment, netHardware{last: 0x0b, uefi: true, card: "virtio-net-pci,romfile="})
	key := m.wait(netRunning, "its key", isKind(api.EventEnrolment)).Text
	m.wait(netRunning, "the system to run", isKind(api.EventRunning))
	server.wait(t, time.Minute, "PXE, efi-amd64", "fetches snponly.efi", "iPXE, efi-amd64", "has the operating system", "has its configuration")
	address := regexp.MustCompile(`address eth0 (` + regexp.QuoteMeta(lab.Prefix) + `\d+)/`).FindStringSubmatch(m.text())
	if address == nil {
		t.Fatal("no address on the console")
	}
	ctx := within(t, netReady)
	enrol := segment.Server.Command(ctx, s.program, "node", "enrol", address[1], "--network", "home", "--fingerprint", key)
	enrol.Env = s.command(ctx).Env
	out, err := enrol.CombinedOutput()
	must(t, "enrol: "+string(out), err)
	m.wait(netReady, "the node to be Ready", isKind(api.EventReady))
}

// writeConfig makes a configuration with a name.
func writeConfig(t *testing.T, hostname string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), hostname+".yaml")
	must(t, "configuration", os.WriteFile(path, []byte("apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\nhostname: "+hostname+"\n"), 0o600))
	return path
}

// onlyHTTP takes PXE away from OVMF, which would try it first.
func onlyHTTP() []string {
	return []string{
		"-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n", "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n",
	}
}
