package updates

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/gate"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/update"
)

// factsKept is what the trial is judged by; empty for nothing.
func (n *node) factsKept() string {
	b, err := os.ReadFile(filepath.Join(n.dir, "state", factsFile))
	if err != nil && !os.IsNotExist(err) {
		n.t.Error(err)
	}
	return string(b)
}

// onTrialOf makes a node that has just started 1.1.0.
func onTrialOf(t *testing.T, f func(t *testing.T, n *node)) {
	t.Helper()
	with(t, func(t *testing.T, n *node) {
		n.server.add("1.1.0", nil)
		n.tryOut("1.1.0")
		n.events = nil
		f(t, n)
	})
}

func TestTry(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		wantErr(t, n.Try(t.Context()), api.ErrConflict, "install a release first")
		n.intact()
		n.server.add("1.1.0", nil)
		_, err := n.Stage(t.Context(), "", false)
		noErr(t, err)
		n.facts = func() gate.Facts { return gate.Facts{BootID: "before"} }
		known := ""
		n.firmware.asked = func() { known = n.factsKept() }
		n.firmware.tryErr = errBroken
		wantErr(t, n.Try(t.Context()), errBroken, "ask the firmware to start slot B once")
		if !strings.Contains(known, `"before"`) {
			t.Errorf("when the firmware is asked the facts are %q", known)
		}
		n.holds("B", update.Staged, "1.1.0")
		if n.reboots != 0 || n.firmware.once != "" {
			t.Errorf("%d reboots, armed %q", n.reboots, n.firmware.once)
		}

		n.firmware.tryErr = nil
		noErr(t, n.Try(t.Context()))
		if n.firmware.once != "B" || n.reboots != 1 || n.status.Activity == nil || n.status.Activity.Stage != api.UpdateRebooting {
			t.Errorf("once %q, %d reboots, %+v", n.firmware.once, n.reboots, n.status.Activity)
		}
		wantErr(t, n.Try(t.Context()), api.ErrConflict, "on trial")
		if n.reboots != 1 {
			t.Errorf("%d reboots are asked for", n.reboots)
		}
	})
}

// Without the facts nothing is tried: the trial could not be judged.
func TestTryWithoutRoomForTheFacts(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		n.server.add("1.1.0", nil)
		_, err := n.Stage(t.Context(), "", false)
		noErr(t, err)
		noErr(t, os.Mkdir(filepath.Join(n.dir, "state", factsFile), 0o700)) // in its way
		wantErr(t, n.Try(t.Context()), nil, "note how the node is")
		n.holds("B", update.Staged, "1.1.0")
		if n.reboots != 0 || n.firmware.once != "" {
			t.Errorf("%d reboots, armed %q", n.reboots, n.firmware.once)
		}
	})
}

func TestTrialPasses(t *testing.T) {
	onTrialOf(t, func(t *testing.T, n *node) {
		began := time.Now()
		n.facts = func() gate.Facts { // well after a minute
			return gate.Facts{BootID: "after", Member: true, API: time.Since(began) >= time.Minute}
		}
		n.run()
		n.after(30 * time.Second)
		tr := n.status.Trial
		if tr == nil || tr.Version != "1.1.0" || !slices.Equal(tr.Waiting, []string{"the Kubernetes API does not answer"}) ||
			!tr.Deadline.Equal(began.Add(config.DefaultTrial)) {
			t.Fatalf("the status says of the trial %+v", tr)
		}
		n.after(30*time.Second + judgeSettled - time.Second)
		n.holds("B", update.Trial, "1.1.0")
		n.after(judgePause + time.Second)
		n.holds("B", update.Good, "1.1.0")
		if n.status.Trial != nil || n.firmware.standard != "B" || n.reboots != 0 || n.factsKept() != "" || n.problem != "" {
			t.Errorf("trial %+v, default %s, %d reboots, facts %q, problem %q", n.status.Trial, n.firmware.standard, n.reboots, n.factsKept(), n.problem)
		}
		if v := n.status.Verdicts; len(v) != 1 || v[0].Phase != "good" || n.status.Floor != "1.1.0" {
			t.Errorf("verdicts %+v, floor %s", v, n.status.Floor)
		}
	})
}

// A node that is well every now and then fails, with the reason, and goes back.
func TestTrialThatFlaps(t *testing.T) {
	onTrialOf(t, func(t *testing.T, n *node) {
		began := time.Now()
		n.config.Trial = "3m"
		n.facts = func() gate.Facts {
			since := time.Since(began)
			return gate.Facts{Member: since < 2*time.Minute, API: since%judgeSettled >= 2*judgePause}
		}
		n.judge(t.Context())
		if took := time.Since(began); took < 3*time.Minute || took > 3*time.Minute+2*judgePause {
			t.Errorf("the trial took %s", took)
		}
		n.holds("B", update.Bad, "1.1.0")
		v := n.status.Verdicts
		if len(v) != 1 || !strings.HasPrefix(v[0].Reason, "not well within 3m0s: the machine API does not answer members") {
			t.Errorf("verdicts %+v", v)
		}
		if n.reboots != 1 || n.boot() != update.Nothing || n.firmware.running != "A" {
			t.Errorf("%d reboots, then slot %s runs", n.reboots, n.firmware.running)
		}
		if !strings.Contains(n.problem, "1.1.0 is not kept: not well within") || !strings.Contains(n.problem, "runs 1.0.0") {
			t.Errorf("problem %q", n.problem)
		}
		// It is refused until it is forced.
		n.server.took()
		_, err := n.Stage(t.Context(), "1.1.0", false)
		wantErr(t, err, api.ErrConflict, "not well within")
		if got := n.server.took(); len(got) != 1 {
			t.Errorf("it is fetched all the same: %v", got)
		}
		_, err = n.Stage(t.Context(), "1.1.0", true)
		noErr(t, err)
	})
}

func TestTrialThatIsWellTooLate(t *testing.T) {
	onTrialOf(t, func(t *testing.T, n *node) {
		began := time.Now()
		n.facts = func() gate.Facts {
			return gate.Facts{Member: true, API: time.Since(began) > config.DefaultTrial-judgePause}
		}
		n.judge(t.Context())
		if v := n.status.Verdicts; len(v) != 1 || !strings.HasSuffix(v[0].Reason, "it was well too late") {
			t.Errorf("verdicts %+v", v)
		}
	})
}

func TestOwnersChecks(t *testing.T) {
	onTrialOf(t, func(t *testing.T, n *node) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		noErr(t, err)
		defer func() { _ = l.Close() }()
		closed, err := net.Listen("tcp", "127.0.0.1:0")
		noErr(t, err)
		noErr(t, closed.Close())
		noErr(t, os.WriteFile(filepath.Join(n.server.dir, "ok"), []byte("yes"), 0o600))
		n.config.Checks = []config.Check{
			{Name: "shop", HTTP: "http://shop/ok"},
			{Name: "mail", TCP: l.Addr().String()},
			{Name: "blog", HTTP: "http://blog/none"},
			{Name: "data", TCP: closed.Addr().String()},
			{Name: "typo", HTTP: "http://%zz"},
		}
		n.judge(t.Context())
		v := n.status.Verdicts
		if len(v) != 1 || v[0].Phase != "bad" {
			t.Fatalf("verdicts %+v", v)
		}
		for _, want := range []string{"the check blog: GET http://blog/none: 404", "the check data: dial tcp", "the check typo: "} {
			if !strings.Contains(v[0].Reason, want) {
				t.Errorf("%q is missing in %s", want, v[0].Reason)
			}
		}
		if strings.Contains(v[0].Reason, "shop") || strings.Contains(v[0].Reason, "mail") {
			t.Error(v[0].Reason)
		}
	})
}

// A check whose server does not answer ends.
func TestCheckThatHangs(t *testing.T) {
	onTrialOf(t, func(t *testing.T, n *node) {
		n.o.Servers.Transport = roundTripper{}
		n.config.Checks = []config.Check{{Name: "slow", HTTP: "http://slow/"}}
		began := time.Now()
		failed := n.failedChecks(t.Context())
		if len(failed) != 1 || !strings.HasPrefix(failed[0], "slow: ") || time.Since(began) != checkTimeout {
			t.Errorf("%q after %s", failed, time.Since(began))
		}
	})
}

// What was before the update may be lost: what the owner asks for is asked for still.
func TestTrialWithoutFacts(t *testing.T) {
	for name, content := range map[string]string{"missing": "", "damaged": `{"member": tru`} {
		t.Run(name, func(t *testing.T) {
			onTrialOf(t, func(t *testing.T, n *node) {
				path := filepath.Join(n.dir, "state", factsFile)
				noErr(t, os.Remove(path))
				if content != "" {
					noErr(t, os.WriteFile(path, []byte(content), 0o600))
				}
				n.facts = func() gate.Facts { return gate.Facts{} }
				n.config.Checks = []config.Check{{Name: "shop", HTTP: "http://shop/ok"}}
				n.run()
				n.after(time.Minute)
				if tr := n.status.Trial; tr == nil || len(tr.Waiting) != 1 {
					t.Fatalf("the trial waits for %+v", tr)
				}
				noErr(t, os.WriteFile(filepath.Join(n.server.dir, "ok"), []byte("yes"), 0o600))
				n.after(judgeSettled + 2*judgePause)
				n.holds("B", update.Good, "1.1.0")
			})
		})
	}
}

// A firmware that cannot change its default keeps the trial open, and says so.
func TestPassThatFailsFirst(t *testing.T) {
	onTrialOf(t, func(t *testing.T, n *node) {
		n.firmware.defaultErr = errBroken
		n.run()
		n.after(time.Minute)
		n.holds("B", update.Trial, "1.1.0")
		if tr := n.status.Trial; tr == nil || len(tr.Waiting) != 1 || !strings.Contains(tr.Waiting[0], errBroken.Error()) {
			t.Errorf("the trial waits for %+v", tr)
		}
		n.firmware.defaultErr = nil
		n.after(judgePause)
		n.holds("B", update.Good, "1.1.0")
		if n.firmware.standard != "B" || n.reboots != 0 {
			t.Errorf("default %s, %d reboots", n.firmware.standard, n.reboots)
		}
	})
}

func TestPassThatFailsForGood(t *testing.T) {
	onTrialOf(t, func(t *testing.T, n *node) {
		n.firmware.defaultErr = errBroken
		n.judge(t.Context())
		n.holds("B", update.Bad, "1.1.0")
		if v := n.status.Verdicts; !strings.Contains(v[0].Reason, errBroken.Error()) || n.reboots != 1 {
			t.Errorf("%+v, %d reboots", v, n.reboots)
		}
	})
}

// A reboot by the owner says nothing about the release, however long the shutdown takes.
func TestTrialThatIsPutOff(t *testing.T) {
	onTrialOf(t, func(t *testing.T, n *node) {
		n.facts = func() gate.Facts { return gate.Facts{} } // services end in a shutdown
		stop := n.run()
		n.after(config.DefaultTrial - time.Second)
		n.Leave("the owner rebooted")
		n.after(time.Hour)
		stop()
		if n.reboots != 0 || n.boot() != update.Nothing {
			t.Errorf("%d more reboots", n.reboots)
		}
		n.holds("B", update.Staged, "1.1.0")
		if v := n.status.Verdicts; len(v) != 1 || v[0].Phase != "staged" || v[0].Reason != "the owner rebooted" || n.problem != "" {
			t.Errorf("verdicts %+v, problem %q", v, n.problem)
		}
		n.facts = func() gate.Facts { return gate.Facts{Member: true, API: true} }
		noErr(t, n.Try(t.Context()))
		n.boot()
		n.judge(t.Context())
		n.holds("B", update.Good, "1.1.0")
	})
}

// The end of its context is no verdict.
func TestTrialWhoseContextEnds(t *testing.T) {
	onTrialOf(t, func(t *testing.T, n *node) {
		ctx, cancel := context.WithCancel(t.Context())
		n.facts = func() gate.Facts {
			time.Sleep(config.DefaultTrial + time.Minute)
			cancel()
			return gate.Facts{}
		}
		n.judge(ctx)
		n.holds("B", update.Trial, "1.1.0")
		if n.reboots != 0 {
			t.Errorf("%d reboots", n.reboots)
		}
	})
}

func TestTrialThatIsGivenUp(t *testing.T) {
	onTrialOf(t, func(t *testing.T, n *node) {
		n.facts = func() gate.Facts { return gate.Facts{} }
		n.run()
		n.after(time.Minute)
		noErr(t, n.RollBack("the shop is slow"))
		n.after(time.Hour)
		n.holds("B", update.Bad, "1.1.0")
		if v := n.status.Verdicts; len(v) != 1 || v[0].Reason != "given up by hand: the shop is slow" || n.reboots != 1 {
			t.Errorf("verdicts %+v, %d reboots", v, n.reboots)
		}
	})
}
