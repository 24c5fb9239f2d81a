package system

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
)

// How long a machine may take from power-on until its system runs, and until its
// node is Ready.
const (
	netRunning = 6 * time.Minute
	netReady   = 10 * time.Minute
)

// netboot: machines with an empty disk or none start over the network, each by
// another way of its firmware, from "mycelium netboot serve".
func netboot(t *testing.T, suite *lab.Suite) {
	s := newShell(t, suite)
	segment, err := lab.NewSegment(t)
	must(t, "network segment", err)
	image, loaders := filepath.Dir(suite.Image), t.TempDir()
	s.run("image", "netboot", "--out", loaders)
	common := []string{"--image", image, "--loaders", loaders}

	t.Run("BIOS", func(t *testing.T) {
		defer suite.Times.Start(t)()
		server := startBootServer(t, s, segment.Server, append(common, "--dhcp", lab.Prefix+"100-"+lab.Prefix+"120")...)
		m := startNetMachine(t, segment, netHardware{last: 0x0a, card: "virtio-net-pci"})
		m.wait(netRunning, "the system to run", isKind(api.EventRunning))
		m.wait(time.Minute, "an address of the range", func(e api.ConsoleEvent) bool {
			return e.Kind == api.EventAddress && strings.Contains(e.Text, lab.Prefix+"1")
		})
		m.wait(time.Minute, "that it runs from memory", isProblem("no disk"))
		server.wait(t, time.Minute, "iPXE, bios-amd64", "has its script", "fetches linux", "has the operating system")
	})
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
	t.Run("installed", func(t *testing.T) {
		defer suite.Times.Start(t)()
		router(t)
		state := filepath.Join(t.TempDir(), "netboot.json")
		must(t, "state", os.WriteFile(state, []byte(`{"52:54:00:77:00:0d":"2026-01-02T03:04:05Z"}`), 0o644))
		server := startBootServer(t, s, segment.Server, append(common, "--install", "auto", "--state", state)...)
		disk := []string{"-drive", "if=none,id=disk,format=qcow2,file=" + overlay(t, suite.Image), "-device", "virtio-blk-pci,drive=disk,bootindex=2"}
		m := startNetMachine(t, segment, netHardware{last: 0x0d, uefi: true, card: "virtio-net-pci,romfile=", argument: disk})
		m.wait(netRunning, "the disk's system to run", isKind(api.EventRunning))
		server.wait(t, time.Minute, "PXE, efi-amd64", "is installed and boots its disk")
		if text := server.said(t); strings.Contains(text, "os.efi") {
			t.Errorf("an installed machine fetched the system:\n%s", text)
		}
		if e := m.wait(time.Second, "phase state", func(e api.ConsoleEvent) bool { return e.Kind == api.EventPhase && e.Name == "state" }); e.Text != "" {
			t.Errorf("STATE of its disk: %s", e.Text)
		}
		if regexp.MustCompile(`problem: no disk`).MatchString(m.text()) {
			t.Error("it runs from memory")
		}
	})
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
