package system

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
)

// piPatience bounds a boot of an emulated Raspberry Pi until it answers, or a trial: its
// SD card and its 1 GiB of memory make it several times slower than the other machines.
const piPatience = 25 * time.Minute

// raspberryPi: the image, as it is written to a card, on QEMU's Raspberry Pis.
func raspberryPi(t *testing.T, suite *lab.Suite) {
	on := flashed(t, suite, lab.PiBoard)
	for name, run := range map[string]func(*testing.T, *lab.Suite){"raspi4b": raspberryPi4, "raspi3b": raspberryPi3} {
		t.Run(name, func(t *testing.T) {
			defer suite.Times.Start(t)()
			run(t, on)
		})
	}
}

// raspberryPi4: QEMU's has no network, without which nobody lets it in. It boots as far
// as that, and is the same machine after a power cut.
func raspberryPi4(t *testing.T, suite *lab.Suite) {
	node, err := suite.RaspberryPi(t.Context(), "raspi4b")
	must(t, "machine", err)
	m := suite.Machine(t, lab.MachineSpec{Name: "rpi4", Node: node})
	var keys [2]string
	for i := range keys {
		must(t, "power on", m.Start(t.Context()))
		_, err := m.WaitEvent(within(t, piPatience), "the end of the boot", isKind(api.EventRunning))
		must(t, "boot", err)
		key, err := m.WaitEvent(within(t, piPatience), "its key", isKind(api.EventEnrolment))
		must(t, "boot", err)
		keys[i] = key.String()
		must(t, "power cut", m.Kill(t.Context()))
	}
	if keys[0] != keys[1] {
		t.Errorf("after the power cut its key is %q, was %q", keys[1], keys[0])
	}
}

// raspberryPi3: it starts from the files that the firmware chooses, its OS is replaced
// and goes back by way of the firmware's tryboot.
func raspberryPi3(t *testing.T, suite *lab.Suite) {
	node, err := suite.RaspberryPi(t.Context(), "raspi3b")
	must(t, "machine", err)
	clock, err := lab.StartNTP(t.Context()) // it has no clock of its own
	must(t, "time server", err)
	defer func() { must(t, "close the time server", clock.Close()) }()
	u := newUpdating(t, suite, "rpi", node, func(c *config.Config) {
		c.Time.Servers = []string{fmt.Sprintf("10.0.2.2:%d", clock.Port())}
		c.Update.Trial = piPatience.String()
	})
	u.patience = 2 * piPatience // a trial that ends, and another boot
	must(t, "start", u.Start(t.Context()))
	must(t, "enrol", u.Network().Enrol(within(t, piPatience), u.Node, nil))
	status := u.piRuns(t, "the API up and the node known to Kubernetes", func(s *api.Status) bool {
		return s.Kubernetes.APIUp && s.Kubernetes.NodeReady
	})
	u.begin(t, status)
	u.wantSlot(t, status, "A", status.Version)

	newer, err := suite.Newer(t.Context(), "1.1.0")
	must(t, "build a newer version", err)
	u.pushAndTry(t, newer)
	u.wantSlot(t, u.verdict(t, newer.Version, "good"), "B", newer.Version)
	u.wantStart(t, 3, true)

	broken, err := suite.PiVariant(t.TempDir(), "1.2.0", "panic=1 rdinit=/nothing root=/dev/nothing")
	must(t, "make a broken version", err)
	u.pushAndTry(t, broken)
	status = u.verdict(t, broken.Version, "bad")
	u.wantStart(t, 2, true)
	u.wantSlot(t, status, "B", newer.Version)
	must(t, "power cut", u.Kill(t.Context()))
	must(t, "power on", u.Start(t.Context()))
	u.wantSlot(t, u.piRuns(t, "the committed version after a power cycle", func(*api.Status) bool { return true }), "B", newer.Version)
}

// piRuns waits until a Raspberry Pi runs and is done.
func (u *updating) piRuns(t *testing.T, what string, done func(*api.Status) bool) *api.Status {
	t.Helper()
	begin := time.Now()
	status, err := u.WaitStatus(within(t, piPatience), what, func(s *api.Status) (bool, string) {
		return s.Phase == lab.PhaseRunning && done(s), fmt.Sprintf("version %s, phase %s, Kubernetes %+v, problems %q", s.Version, s.Phase, s.Kubernetes, s.Problems)
	})
	must(t, what, err)
	t.Logf("%s after %s", what, time.Since(begin).Round(time.Second))
	return status
}

// wantSlot wants a version to run and be started by itself, from that slot.
func (u *updating) wantSlot(t *testing.T, s *api.Status, label, version string) {
	t.Helper()
	u.wantRunning(t, s, version)
	for _, slot := range s.Update.Slots {
		if slot.Running != (slot.Name == label) {
			t.Errorf("slots %+v, want %s to run", s.Update.Slots, label)
		}
	}
}

// wantStart wants the firmware to have started a partition, on trial or not.
func (u *updating) wantStart(t *testing.T, partition int, tryboot bool) {
	t.Helper()
	said, err := os.ReadFile(u.Spec().Dir + "/qemu.log")
	must(t, "what the firmware said", err)
	if want := fmt.Sprintf("partition %d, tryboot %v,", partition, tryboot); !strings.Contains(string(said), want) {
		t.Errorf("the firmware has not started %q:\n%s", want, said)
	}
}
