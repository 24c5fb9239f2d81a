package system

import (
	"bytes"
	"context"
	"fmt"
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

// within is a context for one step of a test.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, fmt.Errorf("not within %v", d))
	t.Cleanup(cancel)
	return ctx
}

// isProblem matches a problem on the console whose text matches pattern.
func isProblem(pattern string) func(api.ConsoleEvent) bool {
	re := regexp.MustCompile(pattern)
	return func(e api.ConsoleEvent) bool { return e.Kind == api.EventProblem && re.MatchString(e.Text) }
}

func isKind(kind string) func(api.ConsoleEvent) bool {
	return func(e api.ConsoleEvent) bool { return e.Kind == kind }
}

// wrongConfiguration: the node says where the mistake is, and runs with the defaults.
func wrongConfiguration(t *testing.T, suite *lab.Suite) {
	m := suite.Machine(t, lab.MachineSpec{Name: "misspelt"})
	must(t, "configure", m.Change(func(s *qemu.NodeSpec) {
		s.Config = []byte("apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\nhostnam: oops\n")
	}))
	must(t, "start", m.Start(t.Context()))
	said, err := m.WaitEvent(within(t, 3*time.Minute), "the failed phase", func(e api.ConsoleEvent) bool {
		return e.Kind == api.EventPhase && e.Name == "config" && e.Text != ""
	})
	must(t, "mistake shown", err)
	for _, want := range []string{"line 3", "hostnam", "hostname", "default"} {
		if !strings.Contains(said.Text, want) {
			t.Errorf("the console says %q; it should say %q", said.Text, want)
		}
	}
	_, err = m.WaitEvent(within(t, 3*time.Minute), "an address", isKind(api.EventAddress))
	must(t, "DHCP, the default", err)
	_, err = m.WaitEvent(within(t, 3*time.Minute), "the end of the boot", isKind(api.EventRunning))
	must(t, "boot", err)
	// It can be enrolled, and mended by way of the machine API then.
	_, err = m.WaitEvent(within(t, 3*time.Minute), "its key", isKind(api.EventEnrolment))
	must(t, "enrolment", err)
	if _, err := m.Status(t.Context()); err == nil {
		t.Error("the machine API answers although the machine belongs to nobody")
	}
	must(t, "shutdown", m.PowerOff(t.Context()))
}

// kernelArguments makes the boot stub add words to the kernel's command line.
func kernelArguments(words string) []string {
	return []string{"-smbios", "type=11,value=io.systemd.stub.kernel-cmdline-extra=" + words}
}

// kernelPanic: a kernel that cannot go on says so and starts again.
func kernelPanic(t *testing.T, suite *lab.Suite) {
	m := suite.Machine(t, lab.MachineSpec{Name: "panic", Node: qemu.NodeSpec{
		ExtraArgs: kernelArguments("rdinit=/not-there panic=2"),
	}})
	must(t, "start", m.Start(t.Context()))
	panicked := regexp.MustCompile(`Kernel panic - not syncing`)
	offset, err := m.ConsoleStart()
	must(t, "console", err)
	for n := 1; n <= 2; n++ {
		if _, offset, err = m.WaitConsoleFrom(within(t, 2*time.Minute), offset, panicked); err != nil {
			t.Fatalf("panic %d: %v", n, err)
		}
	}
}

// brokenRoot: the phase that failed stands on the console, and the machine
// starts again.
func brokenRoot(t *testing.T, suite *lab.Suite) {
	image, err := breakRoot(t, filepath.Join(filepath.Dir(suite.Image), "os.efi"))
	must(t, "break the root in the OS file", err)
	m := suite.Machine(t, lab.MachineSpec{Name: "broken", Node: qemu.NodeSpec{Image: image}})
	must(t, "start", m.Start(t.Context()))
	said, err := m.WaitEvent(within(t, 2*time.Minute), "a fatal failure", isKind(api.EventFatal))
	must(t, "failure shown", err)
	for _, want := range []string{"root", "rebooting in"} {
		if !strings.Contains(said.Text, want) {
			t.Errorf("the console says %q; it should say %q", said.Text, want)
		}
	}
	offset, err := m.ConsoleStart()
	must(t, "console", err)
	started := regexp.MustCompile(`mycelium: init .* started`)
	for n := 1; n <= 2; n++ {
		if _, offset, err = m.WaitConsoleFrom(within(t, 2*time.Minute), offset, started); err != nil {
			t.Fatalf("start %d: %v", n, err)
		}
	}
}

// breakRoot copies an OS file and damages the root file system in it.
func breakRoot(t *testing.T, file string) (string, error) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%w: make image BOARD=qemu-amd64", err)
	}
	at := bytes.Index(content, []byte("hsqs"))
	if at < 0 {
		return "", fmt.Errorf("%s holds no squashfs", file)
	}
	copy(content[at:], "gone")
	broken := filepath.Join(t.TempDir(), "os.efi")
	return broken, os.WriteFile(broken, content, 0o600)
}

// noNetwork: the node boots without, says so, and recovers.
func noNetwork(t *testing.T, suite *lab.Suite) {
	m := suite.Machine(t, lab.MachineSpec{Name: "lonely", Node: qemu.NodeSpec{
		ExtraArgs: []string{"-S"}, // stopped, so that the cables are out before it looks
	}})
	must(t, "start", m.Start(t.Context()))
	for _, nic := range []string{qemu.WAN, qemu.LAN} {
		must(t, "pull the cable", m.SetLink(t.Context(), nic, false))
	}
	must(t, "let it run", m.Resume(t.Context()))
	_, err := m.WaitEvent(within(t, 3*time.Minute), "the missing network", isProblem(`(?i)network|link|cable`))
	must(t, "problem shown", err)
	_, err = m.WaitEvent(within(t, 3*time.Minute), "the end of the boot", isKind(api.EventRunning))
	must(t, "boot without network", err)
	for _, nic := range []string{qemu.WAN, qemu.LAN} {
		must(t, "plug the cable in", m.SetLink(t.Context(), nic, true))
	}
	must(t, "enrol", m.Enrol(t.Context()))
	status, err := m.WaitReady(t.Context())
	must(t, "recovery", err)
	if len(status.Problems) != 0 {
		t.Errorf("problems after the network came: %q", status.Problems)
	}
	_, err = m.WaitEvent(within(t, time.Minute), "the end of the problem", isKind(api.EventSolved))
	must(t, "end of the problem shown", err)
	must(t, "deploy", m.Deploy(t.Context()))
	must(t, "workload", m.WaitWorkload(t.Context()))
}
