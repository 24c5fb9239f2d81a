package system

import (
	"context"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// life: a first boot, a workload, an orderly shutdown, a second boot, a reboot, what a
// running node survives, and updates, all with the least memory that a node may have.
func life(t *testing.T, suite *lab.Suite) {
	u := newUpdating(t, suite, "life", qemu.NodeSpec{MemoryMiB: 1024})
	m := u.Machine
	first := m.MustBoot(t)
	suite.Times.Note(t, "first boot: API %.1f s, Ready %.1f s after the kernel's start, %s used",
		first.Kubernetes.APIUpAt, first.Kubernetes.ReadyAt, memoryUsed(first))
	checkHealthy(t, m, first)
	checkVolumes(t, first, "created")
	checkConsole(t, m)
	checkScreen(t, m)
	must(t, "deploy", m.Deploy(t.Context()))
	must(t, "workload", m.WaitWorkload(t.Context()))

	must(t, "shutdown", m.PowerOff(t.Context()))
	checkShutdown(t, m)
	checkClean(t, m)

	second := m.MustBoot(t)
	suite.Times.Note(t, "second boot: API %.1f s, Ready %.1f s after the kernel's start",
		second.Kubernetes.APIUpAt, second.Kubernetes.ReadyAt)
	checkHealthy(t, m, second)
	checkVolumes(t, second, "mounted")
	checkSameMachine(t, first, second)
	must(t, "workload after a shutdown", m.WaitWorkload(t.Context()))

	third := reboot(t, m, second)
	checkVolumes(t, third, "mounted")
	checkSameMachine(t, second, third)
	must(t, "workload after a reboot", m.WaitWorkload(t.Context()))
	status, err := m.Status(t.Context())
	must(t, "status", err)
	suite.Times.Note(t, "with the workload: %s used", memoryUsed(status))
	checkHealthy(t, m, status)

	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"strangers", func(t *testing.T) { strangers(t, m) }},
		{"containerd crashes", func(t *testing.T) { crash(t, m, "containerd") }},
		{"k3s crashes", func(t *testing.T) { crash(t, m, "k3s") }},
		{"hang", func(t *testing.T) { hang(t, m) }},
		{"updates", u.updates},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer suite.Times.Start(t)()
			defer recordOf(t, m)
			test.run(t)
		})
	}
	must(t, "shutdown", m.PowerOff(t.Context()))
	checkClean(t, m)
}

func memoryUsed(s *api.Status) string {
	return fmt.Sprintf("%d of %d MiB", (s.Memory.Total-s.Memory.Available)>>20, s.Memory.Total>>20)
}

// reboot asks for a reboot by way of the machine API and waits until the node
// is Ready in another boot.
func reboot(t *testing.T, m *lab.Machine, before *api.Status) *api.Status {
	t.Helper()
	client, err := m.Client(t.Context())
	must(t, "machine API", err)
	defer client.Close()
	must(t, "reboot", client.Reboot(t.Context()))
	return waitOtherBoot(t, m, before)
}

// waitOtherBoot waits until the node is Ready in another boot than before.
func waitOtherBoot(t *testing.T, m *lab.Machine, before *api.Status) *api.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lab.ReadyTimeout)
	defer cancel()
	status, err := m.WaitStatus(ctx, "Ready in another boot", func(s *api.Status) (bool, string) {
		return s.BootID != before.BootID && s.Phase == lab.PhaseRunning && s.Kubernetes.NodeReady, s.Phase
	})
	must(t, "boot after a reboot", err)
	return status
}

// checkHealthy looks at the status of a node that should want for nothing.
func checkHealthy(t *testing.T, m *lab.Machine, s *api.Status) {
	t.Helper()
	for _, p := range s.Phases {
		if p.Error != "" {
			t.Errorf("phase %s: %s", p.Name, p.Error)
		}
	}
	for _, service := range s.Services {
		if service.State != "running" || service.Restarts != 0 {
			t.Errorf("service %s: %s, %d restarts, %s", service.Name, service.State, service.Restarts, service.LastError)
		}
	}
	if len(s.Problems) != 0 {
		t.Errorf("problems: %q", s.Problems)
	}
	if s.Name != m.Name() || s.Version == "" || s.Board == "" || s.Kernel == "" || s.MachineID == "" || s.BootID == "" {
		t.Errorf("the status lacks something: %+v", s)
	}
	if !slices.ContainsFunc(s.Interfaces, func(i api.Interface) bool {
		return i.Up && slices.ContainsFunc(i.Addresses, func(a string) bool { return strings.HasPrefix(a, "10.0.2.") })
	}) {
		t.Errorf("no interface has an address of the DHCP server: %+v", s.Interfaces)
	}
}

// checkVolumes wants STATE and DATA in a state.
func checkVolumes(t *testing.T, s *api.Status, state string) {
	t.Helper()
	for _, label := range []string{"STATE", "DATA"} {
		if got := volume(s, label).State; got != state {
			t.Errorf("volume %s is %q, want %q: %+v", label, got, state, s.Volumes)
		}
	}
}

// volume finds a volume by its label.
func volume(s *api.Status, label string) api.Volume {
	for _, v := range s.Volumes {
		if v.Label == label {
			return v
		}
	}
	return api.Volume{}
}

// complaint is what a healthy boot never prints.
var complaint = regexp.MustCompile(`(?i)\b(error|failed|failure|panic|oops|BUG:|call trace|segfault|corrupt\w*|unable to|cannot)\b`)

// checkConsole wants a serial log without complaints, and every phase on it.
func checkConsole(t *testing.T, m *lab.Machine) {
	t.Helper()
	text := m.Console(t)
	for line := range strings.SplitSeq(text, "\n") {
		if complaint.MatchString(line) && !strings.Contains(line, "BdsDxe") {
			t.Errorf("console: %s", line)
		}
	}
	seen := map[string]bool{}
	for _, e := range lab.ParseEvents(text) {
		seen[e.Kind] = true
	}
	for _, kind := range []string{api.EventStarted, api.EventPhase, api.EventRunning, api.EventAddress, api.EventAPI, api.EventReady} {
		if !seen[kind] {
			t.Errorf("the console has no %q line", kind)
		}
	}
	// The screen's dashboard must not flood a serial log.
	const most = 200
	if n := strings.Count(text, "\n"); n > most {
		t.Errorf("the boot printed %d lines on the serial console, want at most %d", n, most)
	}
}

// checkScreen wants something to be drawn on the screen.
func checkScreen(t *testing.T, m *lab.Machine) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "screen.png")
	must(t, "screenshot", m.Screenshot(t.Context(), file))
	f, err := os.Open(file)
	must(t, "screenshot", err)
	defer f.Close()
	picture, err := png.Decode(f)
	must(t, "screenshot", err)
	lit := 0
	for y := picture.Bounds().Min.Y; y < picture.Bounds().Max.Y; y++ {
		for x := picture.Bounds().Min.X; x < picture.Bounds().Max.X; x++ {
			if r, g, b, _ := picture.At(x, y).RGBA(); r+g+b > 0x8000 {
				lit++
			}
		}
	}
	const fewest = 2000 // pixels of some hundred letters
	if lit < fewest {
		t.Errorf("the screen has %d lit pixels: no dashboard", lit)
	}
}

// checkShutdown wants the steps of an orderly shutdown on the console.
func checkShutdown(t *testing.T, m *lab.Machine) {
	t.Helper()
	var steps []string
	for _, e := range lab.ParseEvents(m.Console(t)) {
		if e.Kind == api.EventShutdown {
			steps = append(steps, e.Text)
		}
	}
	if len(steps) == 0 {
		t.Error("the console shows no step of the shutdown")
	}
	t.Logf("shutdown: %q", steps)
}

// checkClean wants file systems that were unmounted and have no damage.
func checkClean(t *testing.T, m *lab.Machine) {
	t.Helper()
	disk, err := m.Disk()
	must(t, "disk", err)
	defer closeDisk(t, disk)
	for _, label := range []string{"STATE", "DATA"} {
		p, err := disk.Partition(label)
		must(t, "disk", err)
		dirty, err := p.Dirty()
		must(t, "disk", err)
		if dirty {
			t.Errorf("%s was not unmounted", label)
		}
		if err := p.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// checkSameMachine wants another boot of the same machine.
func checkSameMachine(t *testing.T, before, after *api.Status) {
	t.Helper()
	if before.MachineID != after.MachineID {
		t.Errorf("machine id %s became %s", before.MachineID, after.MachineID)
	}
	if before.BootID == after.BootID {
		t.Errorf("boot id %s is the same in two boots", before.BootID)
	}
}
