package update

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

var (
	v1 = release("1.0.0")
	v2 = release("1.1.0")
	v3 = release("1.2.0")
)

func release(version string) Release {
	return Release{Version: version, Digest: fmt.Sprintf("%064x", len(version)*1000+int(version[2])), Size: 1 << 20}
}

// with returns a machine that runs v1 from A, with B as given.
func with(b Slot) State {
	return State{Slots: map[string]Slot{"A": {Phase: Good, Release: v1}, "B": b}, Default: "A", Running: "A", Floor: "1.0.0"}
}

// trying returns a machine that runs v2 from B on trial.
func trying() State {
	s := with(Slot{Phase: Trial, Release: v2, Tries: 1, Began: true})
	s.Running = "B"
	return s
}

// TestTransitions walks every edge of the state machine, and those that there are not.
func TestTransitions(t *testing.T) {
	fresh := Booted{Running: "A", Default: "A", Release: v1}
	for _, tt := range []struct {
		name  string
		from  State
		event Event
		// want is the phase of B afterwards, with the rest of it behind a space.
		want string
		err  error
	}{
		{"first boot ever", State{}, fresh, "empty", nil},
		{"boot with nothing to do", with(Slot{Phase: Good, Release: v3}), fresh, "good 1.2.0", nil},
		{"boot with what is staged", with(Slot{Phase: Staged, Release: v2}), fresh, "staged 1.1.0", nil},
		{"the firmware says nothing", State{}, Booted{}, "", ErrTransition},

		{"begin on an empty slot", with(Slot{Phase: Empty}), Begin{Slot: "B", Release: v2}, "empty", nil},
		{"begin on a staged slot", with(Slot{Phase: Staged, Release: v2}), Begin{Slot: "B", Release: v3}, "empty", nil},
		{"begin on a good slot", with(Slot{Phase: Good, Release: v2}), Begin{Slot: "B", Release: v3}, "empty", nil},
		{"begin on a bad slot", with(Slot{Phase: Bad, Release: v2}), Begin{Slot: "B", Release: v3}, "empty", nil},
		{"begin while a trial is under way", with(Slot{Phase: Trial, Release: v2, Tries: 1}), Begin{Slot: "B", Release: v3}, "", ErrBusy},
		{"begin on what runs", with(Slot{Phase: Empty}), Begin{Slot: "A", Release: v2}, "", ErrInUse},
		{"begin what was refused", refusing(v2), Begin{Slot: "B", Release: v2}, "", ErrRefused},
		{"begin what was refused under another name", refusing(v2), Begin{Slot: "B", Release: Release{"9.0.0", v2.Digest, 1}}, "", ErrRefused},
		{"force what was refused", refusing(v2), Begin{Slot: "B", Release: v2, Force: true}, "empty", nil},
		{"begin a downgrade", with(Slot{Phase: Empty}), Begin{Slot: "B", Release: release("0.9.0")}, "", ErrDowngrade},
		{"begin a pre-release of what runs", with(Slot{Phase: Empty}), Begin{Slot: "B", Release: release("1.0.0-rc.1")}, "", ErrDowngrade},
		{"begin an allowed downgrade", with(Slot{Phase: Empty}), Begin{Slot: "B", Release: release("0.9.0"), Downgrade: true}, "empty", nil},
		{"begin the same version again", with(Slot{Phase: Empty}), Begin{Slot: "B", Release: v1}, "empty", nil},
		{"begin what has no version", with(Slot{Phase: Empty}), Begin{Slot: "B", Release: Release{"latest", v2.Digest, 1}}, "", errAny},
		{"begin what has no digest", with(Slot{Phase: Empty}), Begin{Slot: "B", Release: Release{"1.1.0", "abc", 1}}, "", errAny},
		{"begin what has no size", with(Slot{Phase: Empty}), Begin{Slot: "B", Release: Release{"1.1.0", v2.Digest, 0}}, "", errAny},

		{"written", with(Slot{Phase: Empty}), Written{"B", v2}, "staged 1.1.0", nil},
		{"written over what is staged", with(Slot{Phase: Staged, Release: v3}), Written{"B", v2}, "", ErrTransition},
		{"written to what runs", with(Slot{Phase: Empty}), Written{"A", v2}, "", ErrTransition},

		{"start what is staged", with(Slot{Phase: Staged, Release: v2}), Start{"B"}, "trial 1.1.0 tries=1", nil},
		{"start a trial again", with(Slot{Phase: Trial, Release: v2, Tries: 1, Began: true}), Start{"B"}, "trial 1.1.0", nil},
		{"start a trial once too often", with(Slot{Phase: Trial, Release: v2}), Start{"B"}, "", ErrBusy},
		{"start what is empty", with(Slot{Phase: Empty}), Start{"B"}, "", ErrTransition},
		{"start what is bad", with(Slot{Phase: Bad, Release: v2}), Start{"B"}, "", ErrTransition},
		{"start what is good", with(Slot{Phase: Good, Release: v2}), Start{"B"}, "", ErrTransition},
		{"start what runs", with(Slot{Phase: Empty}), Start{"A"}, "", ErrTransition},

		{"the trial comes up", with(Slot{Phase: Trial, Release: v2, Tries: 1}), Booted{"B", "A", v2}, "trial 1.1.0 tries=1 began", nil},
		{"a start that the firmware denied comes up", with(Slot{Phase: Staged, Release: v2}), Booted{"B", "A", v2}, "trial 1.1.0 began", nil},
		{"the trial comes back with a try left", with(Slot{Phase: Trial, Release: v2, Tries: 1, Began: true}), fresh, "trial 1.1.0 tries=1 began", nil},
		{"the trial comes back with none left", with(Slot{Phase: Trial, Release: v2, Began: true}), fresh, "bad 1.1.0 came back", nil},
		{"the trial never came up", with(Slot{Phase: Trial, Release: v2}), fresh, "bad 1.1.0 never ran", nil},
		{"the trial was put off", with(Slot{Phase: Trial, Release: v2, Began: true, PutOff: true, Reason: "a reboot"}), fresh, "staged 1.1.0 a reboot", nil},
		{"the power went between the firmware and the journal", trying(), Booted{"B", "B", v2}, "good 1.1.0", nil},
		{"somebody starts a bad one by hand", with(Slot{Phase: Bad, Release: v2, Reason: "x"}), Booted{"B", "A", v2}, "bad 1.1.0 x", nil},

		{"denied its next start", with(Slot{Phase: Trial, Release: v2, Tries: 1, Began: true}), Denied{"full"}, "staged 1.1.0 full", nil},
		{"denied while it runs", trying(), Denied{"full"}, "", ErrTransition},
		{"denied without a trial", with(Slot{Phase: Staged, Release: v2}), Denied{"full"}, "", ErrTransition},
		{"what was put off comes up", with(Slot{Phase: Trial, Release: v2, PutOff: true, Reason: "x"}), Booted{"B", "A", v2}, "trial 1.1.0 began x", nil},

		{"passed", trying(), Passed{}, "good 1.1.0", nil},
		{"failed", trying(), Failed{"no address"}, "bad 1.1.0 no address", nil},
		{"put off", trying(), PutOff{"a reboot"}, "trial 1.1.0 tries=1 began put-off a reboot", nil},
		{"passed without a trial", with(Slot{Phase: Staged, Release: v2}), Passed{}, "", ErrTransition},
		{"failed without a trial", with(Slot{Phase: Staged, Release: v2}), Failed{"x"}, "", ErrTransition},
		{"put off without a trial", with(Slot{Phase: Staged, Release: v2}), PutOff{"x"}, "", ErrTransition},
		{"passed before it came up", with(Slot{Phase: Trial, Release: v2, Tries: 1}), Passed{}, "", ErrTransition},

		{"rolled back", with(Slot{Phase: Good, Release: v2}), RolledBack{"slow"}, "good 1.1.0", nil},
		{"rolled back to nothing", with(Slot{Phase: Empty}), RolledBack{"slow"}, "", ErrTransition},
		{"rolled back to what is bad", with(Slot{Phase: Bad, Release: v2}), RolledBack{"slow"}, "", ErrTransition},
		{"rolled back during a trial", with(Slot{Phase: Trial, Release: v2, Tries: 1}), RolledBack{"slow"}, "", ErrBusy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.from.clone()
			got, err := tt.from.Apply(tt.event)
			if tt.err != nil {
				if err == nil || !errors.Is(tt.err, errAny) && !errors.Is(err, tt.err) {
					t.Fatalf("%v, want %v", err, tt.err)
				}
				if !reflect.DeepEqual(got.clone(), before) {
					t.Errorf("an event that was refused changed the state: %+v", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want, reason := tt.want, ""
			for _, r := range []string{"came back", "never ran"} {
				if w, ok := strings.CutSuffix(want, " "+r); ok {
					want, reason = w, r
				}
			}
			slot := got.Slot("B")
			text := describe(slot)
			if reason != "" {
				text = strings.TrimSuffix(text, " "+slot.Reason)
			}
			if text != want || !strings.Contains(slot.Reason, reason) {
				t.Errorf("slot B is %q, want %q (%s): %+v", text, want, reason, got)
			}
			if !reflect.DeepEqual(tt.from.clone(), before) {
				t.Error("the state that the event was applied to has changed")
			}
		})
	}
}

var errAny = errors.New("any")

func refusing(r Release) State {
	s := with(Slot{Phase: Bad, Release: r, Reason: "x"})
	s.Refused = []Refusal{{r, "x"}}
	return s
}

// describe is a slot in one line.
func describe(s Slot) string {
	text := string(s.Phase)
	if s.Release.Version != "" {
		text += " " + s.Release.Version
	}
	if s.Tries > 0 {
		text += fmt.Sprintf(" tries=%d", s.Tries)
	}
	if s.Began {
		text += " began"
	}
	if s.PutOff {
		text += " put-off"
	}
	if s.Reason != "" {
		text += " " + s.Reason
	}
	return text
}

// TestMemory: what failed is refused until it is forgiven or passes, the floor only
// rises, and neither list grows without end.
func TestMemory(t *testing.T) {
	s := State{}
	next := func(e Event) {
		t.Helper()
		var err error
		if s, err = s.Apply(e); err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
	}
	trial := func(r Release, force bool) {
		t.Helper()
		slot := map[string]string{"A": "B", "B": "A"}[s.Default]
		next(Begin{Slot: slot, Release: r, Force: force})
		next(Written{slot, r})
		next(Start{slot})
		next(Booted{slot, s.Default, r})
	}
	next(Booted{"A", "A", v1})
	trial(v2, false)
	next(Failed{"no workload"})
	next(Booted{"A", "A", v1})
	if _, err := s.Apply(Begin{Slot: "B", Release: v2}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "no workload") {
		t.Errorf("what failed: %v", err)
	}
	next(Forgiven{"1.1.0"})
	trial(v2, false)
	next(Failed{"again"})
	next(Booted{"A", "A", v1})
	trial(v2, true)
	next(Passed{})
	if s.Floor != "1.1.0" || s.Default != "B" || len(s.Refused) != 0 {
		t.Errorf("after it has passed: %+v", s)
	}
	next(RolledBack{"slow"})
	next(Booted{"B", "B", v2}) // the power went before the firmware was asked
	if s.Default != "A" {
		t.Errorf("a rollback is forgotten: %+v", s)
	}
	next(Booted{"A", "A", v1})
	if s.Floor != "1.1.0" || len(s.Refused) != 1 || s.Refused[0].Reason != "slow" {
		t.Errorf("after a rollback: %+v", s)
	}
	for i := range 200 {
		trial(release(fmt.Sprintf("2.%d.0", i)), true)
		next(Failed{"x"})
		next(Booted{"A", "A", v1})
	}
	if len(s.Refused) != maxRefused || len(s.Verdicts) != maxVerdicts || s.Refused[maxRefused-1].Release.Version != "2.199.0" {
		t.Errorf("%d refusals, %d verdicts", len(s.Refused), len(s.Verdicts))
	}
	if b, err := encode(s); err != nil || len(b) > maxJournal/4 {
		t.Errorf("the journal takes %d bytes, %v", len(b), err)
	}
}
