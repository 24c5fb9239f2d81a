package system

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// restartWith shuts the machine down, changes it and starts it again.
func (u *updating) restartWith(t *testing.T, change func(*qemu.NodeSpec)) *api.Status {
	t.Helper()
	must(t, "shutdown", u.PowerOff(t.Context()))
	must(t, "change the machine", u.Change(change))
	status := u.MustBoot(t)
	must(t, "workload", u.WaitWorkload(t.Context()))
	return status
}

// variablesFull: the firmware has no room for the variable that starts a slot once.
func (u *updating) variablesFull(t *testing.T) {
	f := u.variant(t, "1.0.15", func(*uki.Parts) error { return nil })
	path := filepath.Join(u.Spec().Dir, "vars.fd")
	var before []byte
	u.restartWith(t, func(*qemu.NodeSpec) {
		var err error
		before, err = os.ReadFile(path)
		must(t, "variables", err)
		full, err := lab.FillVariables(before)
		must(t, "fill the variables", err)
		must(t, "fill the variables", os.WriteFile(path, full, 0o600))
	})
	must(t, "push", u.push(within(t, 5*time.Minute), f))
	if err := u.try(within(t, time.Minute)); err == nil || !strings.Contains(err.Error(), "EFI variable") {
		t.Errorf("a trial without room for EFI variables: %v; want it to name them", err)
	}
	status, err := u.WaitReady(t.Context())
	must(t, "status", err)
	u.wantRunning(t, status, u.base)
	u.restartWith(t, func(*qemu.NodeSpec) { must(t, "the old variables", os.WriteFile(path, before, 0o600)) })
}

// unreadableSlot: the disk takes what is written to the idle slot and cannot read it again.
func (u *updating) unreadableSlot(t *testing.T) {
	f := u.variant(t, "1.0.16", func(*uki.Parts) error { return nil })
	status, err := u.Status(t.Context())
	must(t, "status", err)
	idle := "A"
	for _, slot := range status.Update.Slots {
		if !slot.Running {
			idle = slot.Name
		}
	}
	faults := filepath.Join(u.dir, "faults.conf")
	u.restartWith(t, func(s *qemu.NodeSpec) {
		disk, err := u.Disk()
		must(t, "disk", err)
		defer func() { _ = disk.Close() }()
		slot, err := disk.Partition(idle)
		must(t, "idle slot", err)
		const within = 16 << 20 // bytes into the slot, well within the OS file
		sector := (slot.Offset + within) / 512
		must(t, "faults", os.WriteFile(faults, fmt.Appendf(nil,
			"[inject-error]\nevent = \"none\"\niotype = \"read\"\nerrno = \"5\"\nsector = \"%d\"\nonce = \"off\"\n", sector), 0o600))
		s.DiskFaults = faults
	})
	if err := u.push(within(t, 5*time.Minute), f); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("a slot that cannot be read: %v; want it to say so", err)
	}
	status, err = u.WaitReady(t.Context())
	must(t, "status", err)
	u.wantRunning(t, status, u.base)
	u.restartWith(t, func(s *qemu.NodeSpec) { s.DiskFaults = "" })
}

// clockWrong: a machine whose clock was right shows 1970 in the trial. With nobody to
// tell it the time the trial fails; with a time server it does not.
func (u *updating) clockWrong(t *testing.T) {
	server, err := lab.StartNTP(t.Context())
	must(t, "time server", err)
	defer func() { must(t, "close the time server", server.Close()) }()
	u.reconfigure(t, func(c *config.Config) {
		c.Time.Servers = []string{fmt.Sprintf("10.0.2.2:%d", server.Port())}
		c.Update.Trial = shortTrial.String()
	})
	f, err := u.suite.Newer(t.Context(), "1.2.0")
	must(t, "build a newer version", err)
	for _, test := range []struct {
		muted bool
		phase string
	}{{true, "bad"}, {false, "good"}} {
		if !test.muted {
			u.limitTrials(t, longTrial)
			must(t, "forgive", u.call(t.Context(), func(ctx context.Context, c *api.Client) error { return c.ForgiveUpdate(ctx, f.Version) }))
		}
		server.Mute(false)
		// The machine ends with its reboot, so that its clock can be set meanwhile.
		u.restartWith(t, func(s *qemu.NodeSpec) { s.ExtraArgs, s.RTC = []string{"-no-reboot"}, time.Time{} })
		_, err := u.WaitStatus(within(t, 5*time.Minute), "the right time", func(s *api.Status) (bool, string) {
			return s.Time.Source == "ntp", fmt.Sprintf("%+v", s.Time)
		})
		must(t, "right time", err)
		u.pushAndTry(t, f)
		must(t, "the reboot", u.Wait(within(t, 3*time.Minute)))
		server.Mute(test.muted)
		must(t, "wrong clock", u.Change(func(s *qemu.NodeSpec) { s.ExtraArgs = nil }))
		setRTC(t, u.Machine, 1970)
		must(t, "start", u.Start(t.Context()))
		status := u.awaitVerdict(t, f.Version, test.phase)
		if test.muted {
			u.wantRunning(t, status, u.base)
			wantReason(t, status, "the clock is not known to be right")
			continue
		}
		u.wantRunning(t, status, f.Version)
		checkClock(t, status, "ntp")
	}
	u.base = f.Version
	u.reconfigure(t, func(c *config.Config) { c.Time.Servers = nil })
	u.restartWith(t, func(s *qemu.NodeSpec) { s.RTC = time.Time{} })
}

// automatic: the node finds a release by itself, updates within its window and keeps it.
func (u *updating) automatic(t *testing.T) {
	f, err := u.suite.Newer(t.Context(), "1.3.0")
	must(t, "build a newer version", err)
	must(t, "publish", u.releases.Publish(t.Context(), f))
	u.reconfigure(t, func(c *config.Config) {
		c.Update.Interval = time.Minute.String()
		now := time.Now().UTC()
		c.Update.Automatic = true
		c.Update.Window = config.Window{From: now.Add(-time.Hour).Format("15:04"), To: now.Add(2 * time.Hour).Format("15:04")}
	})
	status := u.awaitVerdict(t, f.Version, "good")
	u.wantRunning(t, status, f.Version)
}
