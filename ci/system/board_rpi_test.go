package system

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
)

// piPatience bounds a boot of an emulated Raspberry Pi until it answers, or a trial: its
// SD card and its 1 GiB of memory make it several times slower than the other machines.
const piPatience = 25 * time.Minute

// raspberryPi: the image, as it is written to a card, boots on QEMU's Raspberry Pi 3
// from the files that the firmware chooses, and its OS is replaced and goes back by
// way of the firmware's tryboot.
func raspberryPi(t *testing.T, suite *lab.Suite) {
	suite, err := suite.On(lab.PiBoard)
	must(t, "image", err)
	node, err := suite.RaspberryPi(t.Context(), "raspi3b")
	must(t, "machine", err)
	clock, err := lab.StartNTP(t.Context()) // it has no clock of its own
	must(t, "time server", err)
	defer func() { must(t, "close the time server", clock.Close()) }()
	p := piUpdate{developer: lab.NewDeveloper()}
	c := config.Default()
	c.Time.Servers = []string{fmt.Sprintf("10.0.2.2:%d", clock.Port())}
	c.Update.Developers, c.Update.Trial = []string{p.developer.Key.Public().String()}, piPatience.String()
	p.Machine = suite.Machine(t, lab.MachineSpec{Name: "rpi", Config: c, Node: node})
	must(t, "start", p.Start(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), piPatience)
	defer cancel()
	must(t, "enrol", p.Network().Enrol(ctx, p.Node, nil))
	status := p.await(t, "the API up and the node known to Kubernetes", func(s *api.Status) bool {
		return s.Phase == lab.PhaseRunning && s.Kubernetes.APIUp && s.Kubernetes.NodeReady
	})
	p.wantSlot(t, status, "A", status.Version)
	p.network, err = identity.ParseNetworkID(status.Membership.Network)
	must(t, "network", err)

	newer, err := suite.Newer(t.Context(), "1.1.0")
	must(t, "build a newer version", err)
	p.replace(t, newer)
	status = p.await(t, "the verdict on "+newer.Version, func(s *api.Status) bool {
		return lastVerdict(s).Version == newer.Version && s.Phase == lab.PhaseRunning
	})
	p.wantSlot(t, status, "B", newer.Version)
	p.wantStart(t, 3, true)

	broken, err := suite.PiVariant(t.TempDir(), "1.2.0", "panic=1 rdinit=/nothing root=/dev/nothing")
	must(t, "make a broken version", err)
	p.replace(t, broken)
	status = p.await(t, "the verdict on "+broken.Version, func(s *api.Status) bool {
		return lastVerdict(s).Version == broken.Version && s.Phase == lab.PhaseRunning
	})
	p.wantStart(t, 2, true)
	if v := lastVerdict(status); v.Phase != "bad" {
		t.Errorf("a kernel without init: %+v", v)
	}
	p.wantSlot(t, status, "B", newer.Version)
	must(t, "power cut", p.Kill(t.Context()))
	must(t, "power on", p.Start(t.Context()))
	status = p.await(t, "the committed version after a power cycle", func(s *api.Status) bool { return s.Phase == lab.PhaseRunning })
	p.wantSlot(t, status, "B", newer.Version)
}

// piUpdate is a Raspberry Pi whose OS is replaced.
type piUpdate struct {
	*lab.Machine
	developer lab.Developer
	network   identity.NetworkID
}

// await waits for a status.
func (p *piUpdate) await(t *testing.T, what string, done func(*api.Status) bool) *api.Status {
	t.Helper()
	begin := time.Now()
	status, err := p.WaitStatus(within(t, piPatience), what, func(s *api.Status) (bool, string) {
		return done(s), fmt.Sprintf("version %s, phase %s, Kubernetes %+v, update %+v, problems %q", s.Version, s.Phase, s.Kubernetes, s.Update, s.Problems)
	})
	must(t, what, err)
	t.Logf("%s after %s", what, time.Since(begin).Round(time.Second))
	return status
}

// replace stages an OS file and starts its trial.
func (p *piUpdate) replace(t *testing.T, f lab.OSFile) {
	t.Helper()
	statement, err := p.developer.Sign(p.network, f, nil)
	must(t, "sign "+f.Version, err)
	file, err := os.Open(f.Path)
	must(t, "open "+f.Version, err)
	defer file.Close()
	client, err := p.Client(t.Context())
	must(t, "call the node", err)
	defer client.Close()
	_, err = client.PushUpdate(within(t, piPatience), statement, file)
	must(t, "push "+f.Version, err)
	must(t, "try "+f.Version, client.TryUpdate(within(t, time.Minute)))
}

// wantSlot checks which slot runs and is started by itself.
func (p *piUpdate) wantSlot(t *testing.T, s *api.Status, label, version string) {
	t.Helper()
	if s.Version != version {
		t.Errorf("version %s runs, want %s", s.Version, version)
	}
	if s.Update == nil {
		t.Fatal("the node cannot be updated")
	}
	for _, slot := range s.Update.Slots {
		if slot.Running != (slot.Name == label) || slot.Default != slot.Running {
			t.Errorf("slots %+v, want %s to run and be the default", s.Update.Slots, label)
		}
	}
}

// wantStart wants the firmware to have started a partition, on trial or not.
func (p *piUpdate) wantStart(t *testing.T, partition int, tryboot bool) {
	t.Helper()
	said, err := os.ReadFile(p.Spec().Dir + "/qemu.log")
	must(t, "what the firmware said", err)
	if want := fmt.Sprintf("partition %d, tryboot %v,", partition, tryboot); !strings.Contains(string(said), want) {
		t.Errorf("the firmware has not started %q:\n%s", want, said)
	}
}
