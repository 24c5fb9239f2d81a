package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

const (
	clockName = "clock floor"
	// floorStep is how far the floor moves before it is written again, to spare
	// SD cards; a power cut forgets at most this much.
	floorStep = time.Hour

	// Skew is how far two members' clocks may differ.
	Skew = 5 * time.Minute
)

// Clock is a machine's idea of the time for judging validity. It is never
// earlier than its floor: the program's build time or the latest signed time
// that it has seen, whichever is later, plus the time that has run since. The
// floor never falls, also across restarts, and rises by signed times alone, so
// that a clock which once showed 2099 does no lasting harm. It is safe for
// concurrent use.
type Clock struct {
	path   string
	system func() time.Time
	run    func() time.Duration // since the start, whatever happens to the machine's clock

	mu    sync.Mutex
	floor time.Time // as it was at start
	saved time.Time // what the file says
}

type clockState struct {
	_     struct{} `cbor:",toarray"`
	Floor time.Time
}

// OpenClock returns a clock that keeps its floor in the file path. build is the
// earliest time that it can possibly be, as a rule the time at which the program
// was built. system is the machine's clock, time.Now when nil. A missing file is
// a first start; a damaged one is an error (ErrState).
func OpenClock(path string, build time.Time, system func() time.Time) (*Clock, error) {
	if system == nil {
		system = time.Now
	}
	var st clockState
	err := readState(path, clockName, &st)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	start := time.Now() // has a monotonic reading
	run := func() time.Duration { return time.Since(start) }
	c := &Clock{path: path, system: system, run: run, floor: later(build, st.Floor), saved: st.Floor}
	if err != nil {
		if err := c.save(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// detached returns a clock that shows what c shows and has no file.
func (c *Clock) detached() *Clock {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Clock{system: c.system, run: c.run, floor: c.floor, saved: c.saved}
}

// Now returns the time: the machine's, or the floor when that is later.
func (c *Clock) Now() time.Time {
	now, _ := c.read()
	return now
}

// read returns the time, and whether the machine's own clock is evidently wrong.
func (c *Clock) read() (now time.Time, behind bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	floor, system := c.floor.Add(c.run()), c.system()
	return later(floor, system), system.Before(floor.Add(-Skew))
}

// Observe raises the floor to t, a time that somebody trusted has signed. A time
// ahead of a machine's clock that works raises it only as far as that clock: one
// issuer's wrong clock does not spread. A machine whose clock is behind its
// floor has nothing better than t and takes it. When the file cannot be written
// the floor is raised all the same, and the next call tries again.
func (c *Clock) Observe(t time.Time) error {
	if err := checkTime(t); err != nil {
		return fmt.Errorf("raise the %s: %w: %w", clockName, ErrMalformed, err)
	}
	now, behind := c.read()
	if !behind && t.After(now) {
		t = now
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	run := c.run()
	c.floor = later(c.floor, t.Add(-run))
	if c.floor.Add(run).Sub(c.saved) < floorStep {
		return nil
	}
	return c.save()
}

// Close writes the floor.
func (c *Clock) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.save()
}

func (c *Clock) save() error {
	st := clockState{Floor: c.floor.Add(c.run()).UTC().Truncate(time.Second)}
	if err := writeState(c.path, clockName, st); err != nil {
		return err
	}
	c.saved = st.Floor
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
