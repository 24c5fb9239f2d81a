package system

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
)

// Environment variables of the power cuts.
const (
	// envSeed repeats the cuts of another run.
	envSeed = "MYCELIUM_TEST_SEED"
	// envCuts is how many cuts the story of first boots makes; the one of updates makes
	// cutsPerBoot times as many.
	envCuts = "MYCELIUM_TEST_CUTS"
)

const defaultCuts = 10

// cutCount is how many cuts a story makes.
func cutCount(t *testing.T) int {
	t.Helper()
	text := os.Getenv(envCuts)
	if text == "" {
		return defaultCuts
	}
	n, err := strconv.Atoi(text)
	must(t, envCuts, err)
	return n
}

// cuts draws the moments of n power cuts, one in each of n equal parts of the duration,
// in a random order: every part of the boot is met. The random numbers go on after them.
func cuts(t *testing.T, n int, duration time.Duration) ([]time.Duration, *rand.Rand) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(envSeed); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		must(t, envSeed, err)
	}
	t.Logf("%s=%d repeats these moments", envSeed, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	moments := make([]time.Duration, n)
	part := duration / time.Duration(n)
	for i := range moments {
		moments[i] = time.Duration(i)*part + time.Duration(random.Int64N(int64(part)))
	}
	random.Shuffle(n, func(i, j int) { moments[i], moments[j] = moments[j], moments[i] })
	return moments, random
}

// stage says how far a machine had come when its power was cut.
func stage(m *lab.Machine) string {
	events, err := m.Events()
	if err != nil {
		return err.Error()
	}
	last := "before init"
	for _, e := range events {
		switch e.Kind {
		case api.EventStarted, api.EventPhase, api.EventRunning, api.EventEnrolment, api.EventAPI, api.EventReady:
			last = e.String()
		}
	}
	return last
}

// cutAt starts a machine and cuts its power after a while, in whatever step of its
// boot or its enrolment that is.
func cutAt(t *testing.T, m *lab.Machine, moment time.Duration) {
	t.Helper()
	must(t, "start", m.Start(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	enrolled := make(chan struct{})
	go func() {
		defer close(enrolled)
		_ = m.Enrol(ctx) // as a rule the cut comes first; a member has nothing to do
	}()
	select {
	case <-time.After(moment):
	case <-t.Context().Done():
	}
	cancel()
	<-enrolled
	must(t, "time for the cut", t.Context().Err())
	t.Logf("power cut after %.1f s: %s", moment.Seconds(), stage(m))
	must(t, "power cut", m.Kill(t.Context()))
}

// bootTime is how long a boot takes from power-on to a Ready node.
func bootTime(t *testing.T, suite *lab.Suite) time.Duration {
	t.Helper()
	if known := suite.BootTime(); known != 0 {
		return known
	}
	m := suite.Machine(t, lab.MachineSpec{Name: "measured"})
	m.MustBoot(t)
	must(t, "power cut", m.Kill(t.Context()))
	return suite.BootTime()
}

// powerCutsFirst: whenever the power goes in a first boot, the next boot makes
// a Ready node that runs a workload.
func powerCutsFirst(t *testing.T, suite *lab.Suite) {
	moments, _ := cuts(t, cutCount(t), bootTime(t, suite))
	for i, moment := range moments {
		t.Run(fmt.Sprintf("cut %d", i+1), func(t *testing.T) {
			defer suite.Times.Start(t)()
			m := suite.Machine(t, lab.MachineSpec{Name: "first-cut"})
			cutAt(t, m, moment)
			status := m.MustBoot(t)
			checkRecovered(t, status)
			must(t, "deploy", m.Deploy(t.Context()))
			must(t, "workload", m.WaitWorkload(t.Context()))
		})
	}
}

// checkRecovered looks at the status of a node after a power cut.
func checkRecovered(t *testing.T, s *api.Status) {
	t.Helper()
	for _, p := range s.Phases {
		if p.Error != "" {
			t.Errorf("phase %s: %s", p.Name, p.Error)
		}
	}
	for _, v := range s.Volumes {
		if v.State == "corrupt" || v.State == "missing" {
			t.Errorf("volume %s is %s after a power cut", v.Label, v.State)
		}
	}
	if len(s.Problems) != 0 {
		t.Errorf("problems: %q", s.Problems)
	}
}
