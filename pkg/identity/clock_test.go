package identity

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestClockFloor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	build, system := t0.Add(-100*day), time.Unix(0, 0)
	open := func() *Clock {
		t.Helper()
		c, err := OpenClock(path, build, func() time.Time { return system })
		noErr(t, err)
		return c
	}
	about := func(c *Clock, want time.Time) {
		t.Helper()
		if got := c.Now(); got.Before(want) || got.After(want.Add(time.Minute)) {
			t.Errorf("the clock shows %s, want %s", utc(got), utc(want))
		}
	}
	c := open()
	about(c, build) // 1970 on a first start
	noErr(t, c.Observe(t0))
	about(c, t0)
	noErr(t, c.Observe(t0.Add(-day))) // never back
	about(c, t0)
	c = open() // a restart without a clock
	about(c, t0)
	build = t0.Add(day)
	about(open(), t0.Add(day)) // a newer program
	build = time.Time{}
	about(open(), t0)

	system = t0.Add(2 * day) // the clock was set
	about(c, system)
	noErr(t, c.Observe(system.Add(time.Hour))) // somebody's clock is ahead
	about(c, system)
	system = t0.Add(3652 * day) // a clock that shows ten years later ...
	about(c, system)
	noErr(t, c.Observe(t0.Add(3*day)))
	system = t0.Add(4 * day) // ... and is corrected
	about(c, system)
	noErr(t, c.Close())
	system = time.Unix(0, 0)
	about(open(), t0.Add(3*day))

	wantErr(t, c.Observe(time.Unix(maxTime, 0)), ErrMalformed)
	wantErr(t, c.Observe(time.Time{}), ErrMalformed)
}

func TestClockRunsWithoutASystemClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	synctest.Test(t, func(t *testing.T) {
		c, err := OpenClock(path, t0, func() time.Time { return time.Unix(0, 0) })
		noErr(t, err)
		time.Sleep(10 * time.Hour)
		if got := c.Now().Sub(t0); got != 10*time.Hour {
			t.Errorf("after 10h the clock is %v past its floor", got)
		}
		noErr(t, c.Observe(t0.Add(5*time.Hour)))
		noErr(t, c.Close())
		c, err = OpenClock(path, t0, func() time.Time { return time.Unix(0, 0) })
		noErr(t, err)
		if got := c.Now().Sub(t0); got != 10*time.Hour {
			t.Errorf("after a restart the clock is %v past its first floor", got)
		}
	})
}

// A machine at 1970 joins by what authentic statements say of the time, and by
// nothing else.
func TestVerifyWithoutAClock(t *testing.T) {
	n := newNetwork(t, "a")
	n.now = time.Unix(0, 0)
	forged := n.certificate("node-1")
	forged.NotBefore, forged.NotAfter = t0.Add(50*day), t0.Add(51*day)
	d := n.delegation()
	d.Root = testKey("thief").Public()
	_, err := n.v.Verify(n.join(sign(t, testKey("thief"), d), sign(t, n.issuer, forged)))
	wantErr(t, err, ErrUntrustedRoot)
	if got := n.clock.Now(); got.After(t0.Add(-99 * day)) {
		t.Errorf("a stranger set the clock to %s", utc(got))
	}
	old := n.certificate("old") // valid until t0 + 1 day
	_, err = n.v.Verify(n.credential(n.delegation(), old))
	noErr(t, err)
	later := n.certificate("later")
	later.NotBefore, later.NotAfter = t0.Add(2*day), t0.Add(3*day)
	_, err = n.v.Verify(n.credential(n.delegation(), later))
	noErr(t, err)
	_, err = n.v.Verify(n.credential(n.delegation(), old)) // by now it has expired
	wantErr(t, err, ErrExpired)
	noErr(t, n.v.AddRevocation(sign(t, n.root, Revocation{
		Network: n.id, Signer: n.root.Public(), Version: 1, Issued: t0.Add(4 * day),
	})))
	_, err = n.v.Verify(n.credential(n.delegation(), later))
	wantErr(t, err, ErrExpired)
}
