package update

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/mod/semver"
)

// Phase says how far the release in a slot has come.
type Phase string

// The phases of a slot.
const (
	// Empty slots hold nothing that may be started: nothing at all, or a part.
	Empty Phase = "empty"
	// Staged slots hold a whole release that was read back and never started.
	Staged Phase = "staged"
	// Trial slots are started once more as long as tries are left.
	Trial Phase = "trial"
	// Good slots hold a release that has passed the health gate.
	Good Phase = "good"
	// Bad slots hold a release that has failed.
	Bad Phase = "bad"
)

const (
	// Tries is how often a release is started before it counts as one that does
	// not come up. It is more than one because a power cut looks like a hang.
	Tries = 2
	// maxVerdicts and maxRefused bound what the journal remembers.
	maxVerdicts = 16
	maxRefused  = 64
)

// Release is one version of the operating system's file.
type Release struct {
	// Version is a semantic version without a leading v.
	Version string `json:"version"`
	// Digest is the SHA-256 of the file, 64 hexadecimal digits.
	Digest string `json:"digest"`
	// Size is the file's, in bytes.
	Size int64 `json:"size"`
}

func (r Release) String() string { return r.Version }

// check refuses a release that no file can have.
func (r Release) check() error {
	if b, err := hex.DecodeString(r.Digest); err != nil || len(b) != 32 {
		return fmt.Errorf("release %q: digest %.80q: want 64 hexadecimal digits", r.Version, r.Digest)
	}
	if !semver.IsValid("v" + r.Version) {
		return fmt.Errorf("release %.80q: want a semantic version such as 1.2.3", r.Version)
	}
	if r.Size <= 0 {
		return fmt.Errorf("release %s: a size of %d bytes", r.Version, r.Size)
	}
	return nil
}

// Slot is what the journal knows of a slot.
type Slot struct {
	Phase Phase `json:"phase"`
	// Release is what the slot holds; of the zero version when it is Empty, or when
	// nothing was ever recorded of it.
	Release Release `json:"release,omitzero"`
	// Reason says why the slot is Bad, or why a trial was put off.
	Reason string `json:"reason,omitempty"`
	// Tries is how often a Trial may still be started.
	Tries int `json:"tries,omitempty"`
	// Began says that the trial's own init has run.
	Began bool `json:"began,omitempty"`
	// PutOff says that the machine was rebooted on purpose while the trial ran.
	PutOff bool `json:"putOff,omitempty"`
}

// Refusal is a release that is not installed again unless forced.
type Refusal struct {
	Release Release `json:"release"`
	Reason  string  `json:"reason"`
}

// Verdict is how an update ended.
type Verdict struct {
	Release Release `json:"release"`
	// Phase is Good or Bad, or Staged for a trial that was put off.
	Phase  Phase  `json:"phase"`
	Reason string `json:"reason,omitempty"`
	// Time is when, by the machine's clock; zero when it has none.
	Time time.Time `json:"time,omitzero"`
}

// State is all that is known of a machine's slots. Its zero value is that of a
// machine that has never been updated.
type State struct {
	// Slots by name; a slot that is missing is Empty.
	Slots map[string]Slot `json:"slots,omitempty"`
	// Default is the slot that the firmware starts by itself, Running the one that
	// the machine was started from.
	Default string `json:"default,omitempty"`
	Running string `json:"running,omitempty"`
	// Floor is the highest version that was ever Good here; nothing below it is
	// installed unless the event says that a downgrade is allowed.
	Floor string `json:"floor,omitempty"`
	// Refused are the releases that failed here, oldest first.
	Refused []Refusal `json:"refused,omitempty"`
	// Verdicts are the last ones, oldest first.
	Verdicts []Verdict `json:"verdicts,omitempty"`
}

// Errors that a caller may want to tell from others.
var (
	// ErrBusy says that a trial is under way.
	ErrBusy = errors.New("another update is under way")
	// ErrRefused says that a release has failed on this machine before.
	ErrRefused = errors.New("refused")
	// ErrDowngrade says that a release is older than one that was good here.
	ErrDowngrade = errors.New("downgrade")
	// ErrInUse says that a slot holds what the machine runs or would start.
	ErrInUse = errors.New("the slot is in use")
	// ErrUnstartable says that the firmware would not start a release.
	ErrUnstartable = errors.New("the firmware would not start it")
	// ErrStuck says that the firmware does not do what a rollback still needs of it.
	ErrStuck = errors.New("the rollback is not finished")
	// ErrTransition says that an event does not fit the state.
	ErrTransition = errors.New("not possible now")
)

// Event is something that has happened, or that is asked for.
type Event interface{ apply(s *State) error }

// Booted: the machine has started. It comes first after each boot.
type Booted struct {
	// Running and Default are what the firmware says.
	Running, Default string
	// Release is what runs, for a slot of which nothing was recorded.
	Release Release
}

// Begin: a release is about to be written to a slot.
type Begin struct {
	Slot    string
	Release Release
	// Force installs what failed here before, Downgrade what is older than the floor.
	Force, Downgrade bool
}

// Written: the slot holds the release, whole, synced, read back.
type Written struct {
	Slot    string
	Release Release
}

// Start: the release in a slot is to be tried.
type Start struct{ Slot string }

// Denied: the firmware cannot start the trial again. It is over without a verdict.
type Denied struct{ Reason string }

// Passed: the trial that runs has passed the health gate.
type Passed struct{}

// Failed: the trial that runs has not.
type Failed struct{ Reason string }

// PutOff: the machine is about to be rebooted on purpose while a trial runs.
type PutOff struct{ Reason string }

// RolledBack: the owner wants the other slot's release back, which was good.
type RolledBack struct{ Reason string }

// Forgiven: the version, or with an empty one every version, may be installed again.
type Forgiven struct{ Version string }

// Apply returns the state after the event. An error leaves it as it was.
func (s State) Apply(e Event) (State, error) {
	n := s.clone()
	if err := e.apply(&n); err != nil {
		return s, err
	}
	return n, nil
}

// clone copies s deeply enough that a change of the copy is none of s.
func (s State) clone() State {
	s.Slots = maps.Clone(s.Slots)
	if s.Slots == nil {
		s.Slots = map[string]Slot{}
	}
	s.Refused = slices.Clone(s.Refused)
	s.Verdicts = slices.Clone(s.Verdicts)
	return s
}

// Slot returns what is known of a slot.
func (s State) Slot(name string) Slot {
	if slot, ok := s.Slots[name]; ok {
		return slot
	}
	return Slot{Phase: Empty}
}

// OnTrial returns the slot that is on trial; empty when none is.
func (s State) OnTrial() string {
	for name, slot := range s.Slots {
		if slot.Phase == Trial {
			return name
		}
	}
	return ""
}

func (e Booted) apply(s *State) error {
	if e.Running == "" || e.Default == "" {
		return fmt.Errorf("%w: the firmware says that it started slot %q and would start %q by itself", ErrTransition, e.Running, e.Default)
	}
	s.Running = e.Running
	running := s.Slot(e.Running)
	switch {
	case e.Running != e.Default && (running.Phase == Trial || running.Phase == Staged):
		// Staged: the firmware was asked, and then said that it had failed.
		// What was put off is not any more.
		running.Phase, running.Began, running.PutOff = Trial, true, false
		s.Slots[e.Running] = running
	case e.Running != e.Default: // somebody chose it by hand: it is as it was
	case running.Phase == Trial: // the power went between the firmware's change and the journal's
		s.settle(e.Running, Good, "")
	case running.Phase == Bad && s.Default != e.Default && s.Slot(s.Default).Phase == Good:
		return nil // a rollback whose second half is still to be done: Updater sees it
	case running.Phase != Good || running.Release.Version != e.Release.Version: // no journal, or not of this release
		s.Slots[e.Running] = Slot{Phase: Good, Release: e.Release}
		s.raise(e.Release.Version)
	}
	s.Default = e.Default
	if s.Slot(e.Default).Phase == Empty {
		s.Slots[e.Default] = Slot{Phase: Good} // the firmware starts it by itself, of which release is not known
	}
	if name := s.OnTrial(); name != "" && name != e.Running {
		s.cameBack(name)
	}
	return nil
}

// raise makes the floor at least a version.
func (s *State) raise(version string) {
	if semver.IsValid("v"+version) && (s.Floor == "" || compare(version, s.Floor) > 0) {
		s.Floor = version
	}
}

// cameBack judges a trial after which the machine runs another slot.
func (s *State) cameBack(name string) {
	slot := s.Slot(name)
	switch {
	case slot.PutOff:
		s.settle(name, Staged, slot.Reason)
	case slot.Tries > 0: // it may have been a power cut: Updater starts it again
	case slot.Began:
		s.settle(name, Bad, fmt.Sprintf("it was started %d times, the last time its init ran, and the machine came back in the old system without a verdict (a power cut, a hang or a panic)", Tries))
	default:
		s.settle(name, Bad, fmt.Sprintf("it was started %d times and its init never ran (its kernel does not come up, or the firmware does not start it)", Tries))
	}
}

// settle ends a trial.
func (s *State) settle(name string, phase Phase, reason string) {
	release := s.Slot(name).Release
	s.Slots[name] = Slot{Phase: phase, Release: release, Reason: reason}
	s.Verdicts = append(s.Verdicts, Verdict{Release: release, Phase: phase, Reason: reason})
	if extra := len(s.Verdicts) - maxVerdicts; extra > 0 {
		s.Verdicts = slices.Delete(s.Verdicts, 0, extra)
	}
	switch phase {
	case Good:
		s.forgive(release.Version)
		s.raise(release.Version)
	case Bad:
		s.forgive(release.Version)
		s.Refused = append(s.Refused, Refusal{release, reason})
		if extra := len(s.Refused) - maxRefused; extra > 0 {
			s.Refused = slices.Delete(s.Refused, 0, extra)
		}
	}
}

func (s *State) forgive(version string) {
	s.Refused = slices.DeleteFunc(s.Refused, func(r Refusal) bool { return version == "" || r.Release.Version == version })
}

// compare orders versions; what is none comes first.
func compare(a, b string) int { return semver.Compare("v"+a, "v"+b) }

func (e Begin) apply(s *State) error {
	if err := e.Release.check(); err != nil {
		return err
	}
	if name := s.OnTrial(); name != "" {
		return fmt.Errorf("%w: %s is on trial in slot %s: wait for its verdict", ErrBusy, s.Slot(name).Release, name)
	}
	if e.Slot == s.Running || e.Slot == s.Default {
		return fmt.Errorf("%w: slot %s holds what the machine runs or would start: write to the other one", ErrInUse, e.Slot)
	}
	if !e.Force {
		for _, r := range s.Refused {
			if r.Release.Version == e.Release.Version || r.Release.Digest == e.Release.Digest {
				return fmt.Errorf("%w: %s has failed here: %s: force it, or take another version", ErrRefused, r.Release, r.Reason)
			}
		}
	}
	if !e.Downgrade && s.Floor != "" && compare(e.Release.Version, s.Floor) < 0 {
		return fmt.Errorf("%w: %s is older than %s, which was good here: only the owner's signature on a downgrade allows it", ErrDowngrade, e.Release, s.Floor)
	}
	s.Slots[e.Slot] = Slot{Phase: Empty}
	return nil
}

func (e Written) apply(s *State) error {
	if err := e.Release.check(); err != nil {
		return err
	}
	if s.Slot(e.Slot).Phase != Empty || e.Slot == s.Running || e.Slot == s.Default {
		return fmt.Errorf("%w: slot %s was not begun to be written", ErrTransition, e.Slot)
	}
	s.Slots[e.Slot] = Slot{Phase: Staged, Release: e.Release}
	return nil
}

func (e Start) apply(s *State) error {
	slot := s.Slot(e.Slot)
	switch {
	case e.Slot == s.Running || e.Slot == s.Default:
		return fmt.Errorf("%w: slot %s runs already or is the default", ErrTransition, e.Slot)
	case slot.Phase == Staged && s.OnTrial() == "":
		slot = Slot{Phase: Trial, Release: slot.Release, Tries: Tries}
	case slot.Phase == Trial && slot.Tries > 0: // again
	case s.OnTrial() != "":
		return fmt.Errorf("%w: slot %s is on trial", ErrBusy, s.OnTrial())
	default:
		return fmt.Errorf("%w: slot %s is %s: only what is staged can be tried", ErrTransition, e.Slot, slot.Phase)
	}
	slot.Tries--
	slot.Began, slot.PutOff, slot.Reason = false, false, ""
	s.Slots[e.Slot] = slot
	return nil
}

func (e Denied) apply(s *State) error {
	name := s.OnTrial()
	if name == "" || name == s.Running {
		return fmt.Errorf("%w: no trial waits for its next start", ErrTransition)
	}
	s.settle(name, Staged, e.Reason)
	return nil
}

// running returns the trial that runs.
func (s *State) running() (string, error) {
	if s.Slot(s.Running).Phase != Trial {
		return "", fmt.Errorf("%w: what runs, in slot %s, is not on trial", ErrTransition, s.Running)
	}
	return s.Running, nil
}

func (Passed) apply(s *State) error {
	name, err := s.running()
	if err != nil {
		return err
	}
	s.Default = name
	s.settle(name, Good, "")
	return nil
}

func (e Failed) apply(s *State) error {
	name, err := s.running()
	if err != nil {
		return err
	}
	s.settle(name, Bad, e.Reason)
	return nil
}

func (e PutOff) apply(s *State) error {
	name, err := s.running()
	if err != nil {
		return err
	}
	slot := s.Slot(name)
	slot.PutOff, slot.Reason = true, e.Reason
	s.Slots[name] = slot
	return nil
}

func (e RolledBack) apply(s *State) error {
	if name := s.OnTrial(); name != "" {
		return fmt.Errorf("%w: slot %s is on trial: let it fail instead", ErrBusy, name)
	}
	other := ""
	for name, slot := range s.Slots {
		if name != s.Running && slot.Phase == Good {
			other = name
		}
	}
	if other == "" {
		return fmt.Errorf("%w: no other slot holds a release that was good here", ErrTransition)
	}
	s.settle(s.Running, Bad, e.Reason)
	s.Default = other
	return nil
}

func (e Forgiven) apply(s *State) error {
	s.forgive(e.Version)
	return nil
}
