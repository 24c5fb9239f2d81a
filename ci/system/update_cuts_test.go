package system

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// cutsPerBoot is after how many cuts of an update the machine comes up wholly, with
// Kubernetes and its workload; after the others it gets its next update as soon as its
// API answers.
const cutsPerBoot = 5

// powerCutsInUpdates: one machine loses its power again and again, with what its disk
// has not written yet, as it takes an update, shuts down for it, boots into it and keeps
// it. It always comes back with the old version or the new one, whole, with its identity
// and its workload.
func powerCutsInUpdates(t *testing.T, suite *lab.Suite) {
	files := make([]lab.OSFile, 2)
	for i := range files {
		var err error
		files[i], err = suite.Newer(t.Context(), fmt.Sprintf("1.%d.0", i+1))
		must(t, "build a newer version", err)
	}
	u := startUpdating(t, suite, "update-cut")
	first, err := u.Status(t.Context())
	must(t, "status", err)
	must(t, "shutdown", u.PowerOff(t.Context()))
	must(t, "record the disk's writes", u.Change(func(s *qemu.NodeSpec) { s.RecordWrites = true }))
	must(t, "start", u.Start(t.Context()))
	u.settled(t, false)
	began := time.Now()
	must(t, "update", u.replace(t.Context(), files[0]))
	status := u.settledOn(t, files[0].Version)
	moments, random := cuts(t, cutsPerBoot*cutCount(t), time.Since(began))
	for i, moment := range moments {
		next := files[0]
		if status.Version == next.Version {
			next = files[1]
		}
		ok := t.Run(fmt.Sprintf("cut %d", i+1), func(t *testing.T) {
			defer suite.Times.Start(t)()
			defer recordOf(t, u.Machine)
			u.updateFor(t, next, moment)
			t.Logf("power cut %.1f s into the update to %s: %s", moment.Seconds(), next.Version, stage(u.Machine))
			lost, err := u.CutPower(t.Context(), random)
			must(t, "power cut", err)
			t.Logf("%d writes were lost or torn", lost)
			must(t, "start", u.Start(t.Context()))
			status = u.settled(t, i%cutsPerBoot == cutsPerBoot-1)
			checkRecovered(t, status)
			checkSameMachine(t, first, status)
			u.wantRunning(t, status, status.Version)
			if status.Version != files[0].Version && status.Version != files[1].Version {
				t.Errorf("version %s runs", status.Version)
			}
			if status.Kubernetes.NodeReady {
				must(t, "workload", u.WaitWorkload(t.Context()))
			}
		})
		if !ok {
			return
		}
	}
	must(t, "shutdown", u.PowerOff(t.Context()))
	checkClean(t, u.Machine)
}

// replace stages an OS file, older or newer than what runs, and starts its trial.
func (u *updating) replace(ctx context.Context, f lab.OSFile) error {
	statement, err := u.developer.Sign(u.network, f, func(o *identity.OSFile) { o.Downgrade = true })
	if err != nil {
		return err
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := u.pushAs(ctx, statement, file); err != nil {
		return err
	}
	return u.try(ctx)
}

// updateFor begins an update and returns after a while, wherever it is then.
func (u *updating) updateFor(t *testing.T, f lab.OSFile, moment time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), moment)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- u.replace(ctx, f) }()
	<-ctx.Done()
	must(t, "time for the cut", t.Context().Err())
	if err := <-failed; err != nil {
		t.Logf("the update: %v", err) // as a rule because its time is up
	}
}

// settled waits until no trial is under way and the machine runs, with Kubernetes if
// that is asked for.
func (u *updating) settled(t *testing.T, ready bool) *api.Status {
	t.Helper()
	return u.awaitSettled(t, "no trial", func(s *api.Status) bool { return !ready || s.Kubernetes.NodeReady })
}

// settledOn is settled for a version.
func (u *updating) settledOn(t *testing.T, version string) *api.Status {
	t.Helper()
	return u.awaitSettled(t, version+" kept", func(s *api.Status) bool { return s.Version == version })
}

func (u *updating) awaitSettled(t *testing.T, what string, and func(*api.Status) bool) *api.Status {
	t.Helper()
	status, err := u.WaitStatus(within(t, 4*longTrial), what, func(s *api.Status) (bool, string) {
		if s.Update == nil || s.Phase != lab.PhaseRunning || !and(s) {
			return false, fmt.Sprintf("version %s, phase %s, %+v", s.Version, s.Phase, s.Kubernetes)
		}
		for _, slot := range s.Update.Slots {
			if slot.Phase == "trial" || slot.Running != slot.Default {
				return false, fmt.Sprintf("%+v", s.Update.Slots)
			}
		}
		return true, ""
	})
	must(t, "settled", err)
	return status
}
