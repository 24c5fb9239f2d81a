package updates

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/update"
)

// Each start of a trial that ends without a verdict, and what is made of it.
func TestBoot(t *testing.T) {
	onTrialOf(t, func(t *testing.T, n *node) { // the first start
		if next := n.boot(); next != update.Reboot { // it may have been a power cut
			t.Fatalf("after the first one the node has to %s", next)
		}
		n.holds("B", update.Trial, "1.1.0")
		if next := n.boot(); next != update.Judge {
			t.Fatalf("the second one is to be judged, not %s", next)
		}
		if next := n.boot(); next != update.Nothing {
			t.Fatalf("after the second one the node has to %s", next)
		}
		n.holds("B", update.Bad, "1.1.0")
		n.holds("A", update.Good, "1.0.0")
		if !strings.Contains(n.problem, "without a verdict") {
			t.Errorf("problem %q", n.problem)
		}
		if r := n.status.Refused; len(r) != 1 || r[0].Version != "1.1.0" || r[0].Phase != "bad" {
			t.Errorf("refused %+v", r)
		}
	})
}

func TestBootOfADamagedJournal(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		noErr(t, os.WriteFile(string(n.journal), []byte("{"), 0o600))
		next, err := n.bootIn("A")
		if !errors.Is(err, update.ErrDamaged) || n.Agent == nil || next != update.Nothing {
			t.Fatalf("%v, agent %v, %s", err, n.Agent, next)
		}
		n.intact()
		n.server.add("1.1.0", nil)
		n.mustStage("", "1.1.0")
	})
}

func TestBootThatFails(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		if _, err := n.bootIn("A"); err != nil {
			t.Fatal(err)
		}
		n.firmware.standard = "USB"
		next, err := n.bootIn("A")
		wantErr(t, err, nil, `"USB"`)
		if n.Agent != nil || next != update.Nothing {
			t.Errorf("agent %v, %s", n.Agent, next)
		}
		n.firmware.standard = "A"
		noErr(t, os.RemoveAll(filepath.Join(n.dir, "state")))
		noErr(t, os.WriteFile(filepath.Join(n.dir, "state"), nil, 0o600))
		_, err = n.bootIn("A")
		wantErr(t, err, nil, "make the directory of updates")
	})
}

func TestHold(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		hold := func(on bool, reason string) {
			t.Helper()
			for range 2 { // also after a reboot
				if s := n.status; s.Hold != on || s.HoldReason != reason {
					t.Errorf("hold %t %q, want %t %q", s.Hold, s.HoldReason, on, reason)
				}
				n.boot()
			}
		}
		noErr(t, n.Hold(true, "exam week"))
		hold(true, "exam week")
		noErr(t, n.Hold(false, "over"))
		hold(false, "")
		path := filepath.Join(n.dir, "state", holdFile)
		noErr(t, os.WriteFile(path, []byte(`{"on":fal`), 0o600))
		n.boot()
		if s := n.status; !s.Hold || !strings.Contains(s.HoldReason, "cannot be read") {
			t.Errorf("what cannot be read is taken for %t %q", s.Hold, s.HoldReason)
		}
		noErr(t, n.Hold(false, ""))
		hold(false, "")
		noErr(t, os.Remove(path))
		noErr(t, os.Mkdir(path, 0o700))
		wantErr(t, n.Hold(true, "x"), nil, "keep the hold")
		if n.status.Hold {
			t.Error("a hold that is not kept counts")
		}
	})
}

// What failed is a problem until it is forgiven, or something later succeeds.
func TestProblem(t *testing.T) {
	fails := func(n *node) {
		n.t.Helper()
		noErr(n.t, n.RollBack("the shop is slow"))
		n.boot()
		if !strings.Contains(n.problem, "1.1.0 is not kept") || !strings.Contains(n.problem, "the shop is slow") {
			n.t.Errorf("problem %q", n.problem)
		}
	}
	t.Run("forgiven", func(t *testing.T) {
		onTrialOf(t, func(t *testing.T, n *node) {
			fails(n)
			noErr(t, n.Forgive("2.0.0")) // another one
			if n.problem == "" {
				t.Error("what was not forgiven is forgotten")
			}
			noErr(t, n.Forgive("1.1.0"))
			for range 2 {
				if n.problem != "" || len(n.status.Refused) != 0 || len(n.status.Verdicts) != 1 {
					t.Errorf("problem %q, refused %+v, verdicts %+v", n.problem, n.status.Refused, n.status.Verdicts)
				}
				n.boot()
			}
			n.update("1.1.0")
		})
	})
	t.Run("a later success", func(t *testing.T) {
		onTrialOf(t, func(t *testing.T, n *node) {
			fails(n)
			n.server.add("1.2.0", nil)
			n.update("1.2.0")
			if n.problem != "" || len(n.status.Refused) != 1 {
				t.Errorf("problem %q, refused %+v", n.problem, n.status.Refused)
			}
		})
	})
}

func TestRollBack(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		wantErr(t, n.RollBack(""), api.ErrConflict, "no other slot")
		n.intact()
		n.server.add("1.1.0", nil)
		n.update("1.1.0")
		n.reboots = 0
		n.firmware.defaultErr = errBroken
		wantErr(t, n.RollBack(""), errBroken, "make slot A the default")
		n.holds("B", update.Bad, "1.1.0")
		if n.reboots != 0 {
			t.Error("a reboot into what was to be left")
		}
		n.firmware.defaultErr = nil // the next boot does what is left to do
		if next := n.boot(); next != update.Reboot || n.firmware.standard != "A" {
			t.Fatalf("%s, default %s", next, n.firmware.standard)
		}
		if next := n.boot(); next != update.Nothing || n.firmware.running != "A" {
			t.Fatalf("%s, slot %s runs", next, n.firmware.running)
		}
		if !strings.Contains(n.problem, "rolled back by hand") || n.status.Floor != "1.1.0" {
			t.Errorf("problem %q, floor %q", n.problem, n.status.Floor)
		}
	})
	with(t, func(t *testing.T, n *node) {
		n.server.add("1.1.0", nil)
		n.update("1.1.0")
		n.reboots = 0
		noErr(t, n.RollBack("it is slow"))
		if n.reboots != 1 || n.boot() != update.Nothing || n.firmware.running != "A" {
			t.Errorf("%d reboots, slot %s runs", n.reboots, n.firmware.running)
		}
	})
}

// Another start of a trial on which the firmware refuses does not cost the node its
// updates: what cannot be started stays staged.
func TestBootWithoutRoomForVariables(t *testing.T) {
	onTrialOf(t, func(t *testing.T, n *node) {
		n.firmware.tryErr = errBroken
		next, err := n.bootIn("A") // after a power cut
		if n.Agent == nil {
			t.Fatalf("%v: the node has no updates any more", err)
		}
		if next != update.Nothing {
			t.Errorf("the node has to %s", next)
		}
		n.holds("B", update.Staged, "1.1.0")
		v := n.status.Verdicts
		if len(v) != 1 || v[0].Phase != "staged" || !strings.Contains(v[0].Reason, errBroken.Error()) {
			t.Errorf("verdicts %+v", v)
		}
		n.firmware.tryErr = nil
		noErr(t, n.Try(t.Context()))
		n.boot()
		n.judge(t.Context())
		n.holds("B", update.Good, "1.1.0")
	})
}

func TestFile(t *testing.T) {
	with(t, func(t *testing.T, n *node) {
		has := func(version string, want bool) {
			t.Helper()
			f, state, err := n.File(digestOf(osFile(version)))
			noErr(t, err)
			if (f != nil) != want || (state.Phase == "whole") != want {
				t.Fatalf("%s: %+v, file %v", version, state, f)
			}
			if want {
				var b bytes.Buffer
				_, err := b.ReadFrom(f)
				noErr(t, errors.Join(err, f.Close()))
				if !bytes.Equal(b.Bytes(), osFile(version)) {
					t.Errorf("%s is given with other bytes", version)
				}
			}
		}
		has("1.0.0", true) // the journal knows no digest of it
		has("1.1.0", false)
		n.server.add("1.1.0", nil)
		during := ""
		n.slots["B"].writing = func() {
			f, state, err := n.File(digestOf(osFile("1.1.0")))
			if during = string(state.Phase); f != nil || err != nil || !state.Leading || state.Have != int64(len(osFile("1.1.0"))) {
				t.Errorf("while it is written: %v, %+v, %v", f, state, err)
			}
		}
		n.mustStage("", "1.1.0")
		if during != "fetching" {
			t.Errorf("members are told %q while it is written", during)
		}
		has("1.1.0", true)
		noErr(t, n.Try(t.Context()))
		n.boot()
		n.judge(t.Context())
		has("1.1.0", true) // the journal knows it
		has("1.0.0", false)

		n.boot()
		noErr(t, os.Remove(n.o.Running))
		if _, _, err := n.File(digestOf(osFile("1.1.0"))); err == nil {
			t.Error("a file that cannot be read is said to be there")
		}
	})
	with(t, func(t *testing.T, n *node) { // what runs cannot be read
		noErr(t, os.Remove(n.o.Running))
		if f, state, err := n.File(digestOf(osFile("1.0.0"))); f != nil || state.Phase != "none" || err != nil {
			t.Errorf("%v, %+v, %v", f, state, err)
		}
	})
}
