// Package clock decides what a node may believe about the time.
//
// A node without a working clock must not check certificates: everything is
// valid in no year. So the clock never begins before the floor, the latest of
// the moment the OS was built and the last time that a time server was heard,
// and never much behind it.
package clock

import (
	"fmt"
	"time"
)

// Sources of the time, as api.TimeInfo names them.
const (
	NTP   = "ntp"
	RTC   = "rtc"
	Floor = "floor"
)

// Lifetime is how long after it was built an OS may be run. A clock that says
// more is not believed.
const Lifetime = 10 * 365 * 24 * time.Hour

// Bounds are what a time must lie between.
type Bounds struct{ Floor, Ceiling time.Time }

// NewBounds returns the bounds for an OS built at built, given the time that
// was kept from an earlier boot (zero when there is none). A kept time outside
// the OS' lifetime was never a server's and does not count.
func NewBounds(built, kept time.Time) Bounds {
	b := Bounds{Floor: built, Ceiling: built.Add(Lifetime)}
	if kept.After(b.Floor) && kept.Before(b.Ceiling) {
		b.Floor = kept
	}
	return b
}

// Contains reports whether t is plausible.
func (b Bounds) Contains(t time.Time) bool {
	return !t.Before(b.Floor) && !t.After(b.Ceiling)
}

// Initial returns the time to begin with and its source, given what the
// machine's own clock says.
func (b Bounds) Initial(rtc time.Time) (time.Time, string) {
	if b.Contains(rtc) {
		return rtc, RTC
	}
	return b.Floor, Floor
}

// Check returns an error when a time server's answer is not to be believed.
func (b Bounds) Check(t time.Time) error {
	switch {
	case t.Before(b.Floor):
		return fmt.Errorf("its time %s is before %s, when the node already knew better", t.UTC().Format(time.RFC3339), b.Floor.UTC().Format(time.RFC3339))
	case t.After(b.Ceiling):
		return fmt.Errorf("its time %s is more than ten years after this version was built", t.UTC().Format(time.RFC3339))
	}
	return nil
}

// Limits of an adjustment.
const (
	// StepLimit is the offset from which on the clock is set, not slewed.
	StepLimit = 500 * time.Millisecond
	// RestartLimit is the step from which on services are started again, because
	// certificates that they made or checked may no longer be valid.
	RestartLimit = 10 * time.Minute
)

// Action is what to do about an offset.
type Action int

// Actions.
const (
	Slew Action = iota
	Step
	StepAndRestart
)

// Adjust says what to do about the offset that a time server reports.
func Adjust(offset time.Duration) Action {
	switch offset = offset.Abs(); {
	case offset < StepLimit:
		return Slew
	case offset < RestartLimit:
		return Step
	}
	return StepAndRestart
}
