package update

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// Config is what an Updater works with.
type Config struct {
	Firmware Firmware
	Journal  Journal
	// Slots are the slots' places by their names, two of them.
	Slots map[string]Content
	// Release is what runs.
	Release Release
	// Startable says why the firmware would not start a release's file of size bytes;
	// nil when it would. Without it every file counts as one that starts.
	Startable func(file io.ReaderAt, size int64) error
	// Now gives verdicts their time; nil for none.
	Now func() time.Time
}

// Next says what the caller has to do.
type Next string

// What comes next.
const (
	// Nothing: the machine runs a release that is known to be good.
	Nothing Next = "nothing"
	// Judge: the machine runs a release on trial. Within a time of the caller's
	// choice it must call Pass or Fail.
	Judge Next = "judge"
	// Reboot: the machine is to be rebooted, for a trial or a rollback.
	Reboot Next = "reboot"
)

// Updater drives a machine's updates. Make it with Boot. It is safe for
// concurrent use.
type Updater struct {
	cfg Config

	// work is held while something is done with a slot, the firmware or the journal,
	// which is long while a slot is written. Its holder alone changes state, holding mu.
	work sync.Mutex

	mu    sync.Mutex
	state State
}

// Boot takes up what the last boot has left: it settles a trial that came to an
// end without a verdict, and goes on with what a power cut has interrupted. It
// must be called once in each boot, early: that it was called is how a trial
// shows that its init runs.
//
// An error that wraps ErrDamaged comes with an Updater that knows nothing but what
// the firmware says, one that wraps ErrStuck with an Updater whose Rollback can be
// called again; every other one comes without.
func Boot(cfg Config) (*Updater, Next, error) {
	u := &Updater{cfg: cfg}
	state, damaged := cfg.Journal.Load()
	if damaged != nil && !errors.Is(damaged, ErrDamaged) {
		return nil, Nothing, damaged
	}
	u.state = state
	running, err := cfg.Firmware.Running()
	if err != nil {
		return nil, Nothing, fmt.Errorf("find the slot that runs: %w", err)
	}
	standard, err := cfg.Firmware.Default()
	if err != nil {
		return nil, Nothing, fmt.Errorf("find the slot that is started by itself: %w", err)
	}
	for _, name := range []string{running, standard} {
		if cfg.Slots[name] == nil {
			return nil, Nothing, fmt.Errorf("the firmware names slot %q, this machine has %q", name, slices.Sorted(maps.Keys(cfg.Slots)))
		}
	}
	if err := u.apply(Booted{Running: running, Default: standard, Release: cfg.Release}); err != nil {
		return nil, Nothing, err
	}
	next, err := u.resume(standard)
	if err != nil && !errors.Is(err, ErrStuck) {
		return nil, Nothing, err
	}
	return u, next, errors.Join(damaged, err)
}

// resume does what is left to do after a boot.
func (u *Updater) resume(standard string) (Next, error) {
	if u.state.Slot(u.state.Running).Phase == Trial {
		return Judge, nil
	}
	if u.state.Default != standard {
		if err := u.cfg.Firmware.SetDefault(u.state.Default); err != nil {
			return Nothing, fmt.Errorf("%w: %s still runs: make slot %s the default: %w", ErrStuck, u.state.Slot(u.state.Running).Release, u.state.Default, err)
		}
		return Reboot, nil
	}
	if name := u.state.OnTrial(); name != "" {
		if err := u.start(name); err != nil {
			// What runs is good: it is better off with what is staged than without updates.
			return Nothing, u.apply(Denied{err.Error()})
		}
		return Reboot, nil
	}
	return Nothing, nil
}

// apply applies e and keeps the state.
func (u *Updater) apply(e Event) error {
	n, err := u.state.Apply(e)
	if err != nil {
		return err
	}
	if i := len(n.Verdicts) - 1; u.cfg.Now != nil && i >= 0 && n.Verdicts[i].Time.IsZero() {
		n.Verdicts[i].Time = u.cfg.Now().UTC().Truncate(time.Second)
	}
	if err := u.cfg.Journal.Save(n); err != nil {
		return err
	}
	u.set(n)
	return nil
}

func (u *Updater) set(s State) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.state = s
}

// State returns what is known of the slots. It does not wait for anything, also
// while a release is installed.
func (u *Updater) State() State {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state.clone()
}

// idle returns the slot that is neither run nor started by itself.
func (u *Updater) idle(s State) (string, error) {
	if name := s.OnTrial(); name != "" {
		return "", fmt.Errorf("%w: %s is on trial in slot %s: wait for its verdict", ErrBusy, s.Slot(name).Release, name)
	}
	for _, name := range slices.Sorted(maps.Keys(u.cfg.Slots)) {
		if name != s.Running && name != s.Default {
			return name, nil
		}
	}
	return "", fmt.Errorf("%w: every slot is in use until the machine has rebooted", ErrInUse)
}

// Allowed says why Install would refuse a release; nil when it would not.
func (u *Updater) Allowed(release Release, force, downgrade bool) error {
	s := u.State()
	name, err := u.idle(s)
	if err != nil {
		return err
	}
	_, err = s.Apply(Begin{Slot: name, Release: release, Force: force, Downgrade: downgrade})
	return err
}

// Install writes the release, whose file r is, to the idle slot and reads it
// back. The release is then Staged. Of an error nothing is left but an empty slot.
// Force and downgrade are as in Begin.
func (u *Updater) Install(ctx context.Context, release Release, r io.Reader, force, downgrade bool) error {
	u.work.Lock()
	defer u.work.Unlock()
	name, err := u.idle(u.state)
	if err != nil {
		return err
	}
	if err := u.apply(Begin{Slot: name, Release: release, Force: force, Downgrade: downgrade}); err != nil {
		return err
	}
	hash := sha256.New()
	if err := u.cfg.Slots[name].Write(io.TeeReader(&contextReader{ctx, io.LimitReader(r, release.Size)}, hash), release.Size); err != nil {
		return fmt.Errorf("write %s to slot %s: %w", release, name, err)
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != release.Digest {
		return fmt.Errorf("%s is not what was promised: SHA-256 %s, want %s: load it again", release, sum, release.Digest)
	}
	if err := u.verify(ctx, name, release); err != nil {
		return fmt.Errorf("read slot %s back: %w", name, err)
	}
	if err := u.startable(name, release); err != nil {
		return err
	}
	return u.apply(Written{Slot: name, Release: release})
}

// startable asks whether the firmware would start what is in a slot. A release of no
// known size, the one that the machine came with, has been started before.
func (u *Updater) startable(name string, release Release) (err error) {
	if u.cfg.Startable == nil || release.Size == 0 {
		return nil
	}
	content, err := u.cfg.Slots[name].Open(release.Size)
	if err != nil {
		return fmt.Errorf("read slot %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	if err := u.cfg.Startable(content, release.Size); err != nil {
		return fmt.Errorf("%w: %w", ErrUnstartable, err)
	}
	return nil
}

// verify reads a slot and compares it with the release.
func (u *Updater) verify(ctx context.Context, name string, release Release) (err error) {
	content, err := u.cfg.Slots[name].Open(release.Size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	hash := sha256.New()
	n, err := io.Copy(hash, &contextReader{ctx, io.LimitReader(content, release.Size)})
	if err != nil {
		return err
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); n != release.Size || sum != release.Digest {
		return fmt.Errorf("the disk gives back %d bytes with the SHA-256 %s, want %d with %s: the disk may be failing", n, sum, release.Size, release.Digest)
	}
	return nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// Try makes the next start be of the release that is Staged. The caller reboots.
// The slot is read once more before: what was staged may be long ago.
func (u *Updater) Try(ctx context.Context) error {
	u.work.Lock()
	defer u.work.Unlock()
	name, err := u.idle(u.state)
	if err != nil {
		return err
	}
	slot := u.state.Slot(name)
	if slot.Phase != Staged {
		return fmt.Errorf("%w: slot %s is %s: install a release first", ErrTransition, name, slot.Phase)
	}
	if err := u.verify(ctx, name, slot.Release); err != nil {
		return fmt.Errorf("read slot %s before it is tried: %w", name, err)
	}
	if err := u.startable(name, slot.Release); err != nil {
		return err // what the firmware trusts has changed since
	}
	return u.start(name)
}

// start writes down that a start is used up before the firmware is asked for it:
// the other way round a release that hangs would be started for ever.
func (u *Updater) start(name string) error {
	before := u.state
	if err := u.apply(Start{Slot: name}); err != nil {
		return err
	}
	if err := u.cfg.Firmware.TryOnce(name); err != nil {
		// Nothing is started: the try was none.
		err = fmt.Errorf("ask the firmware to start slot %s once: %w", name, err)
		if saved := u.cfg.Journal.Save(before); saved != nil {
			return errors.Join(err, saved)
		}
		u.set(before)
		return errors.Join(err, u.cfg.Firmware.Untry())
	}
	return nil
}

// Pass makes the release on trial the one that is started from now on.
func (u *Updater) Pass() error {
	u.work.Lock()
	defer u.work.Unlock()
	n, err := u.state.Apply(Passed{})
	if err != nil {
		return err
	}
	// The firmware first: a default that is still on trial in the journal has
	// passed, see Booted.
	if err := u.cfg.Firmware.SetDefault(n.Default); err != nil {
		return fmt.Errorf("make slot %s the default: %w", n.Default, err)
	}
	return u.apply(Passed{})
}

// Fail gives the release on trial up. The caller reboots, into the old one.
func (u *Updater) Fail(reason string) error {
	u.work.Lock()
	defer u.work.Unlock()
	if err := u.apply(Failed{reason}); err != nil {
		return err
	}
	return u.cfg.Firmware.Untry()
}

// Leave must be called before a reboot or a shutdown on purpose. It puts a trial
// off; when none runs, it does nothing and waits for nothing: a release may be
// being installed whose file does not come.
func (u *Updater) Leave(reason string) error {
	if s := u.State(); s.Slot(s.Running).Phase != Trial {
		return nil
	}
	u.work.Lock()
	defer u.work.Unlock()
	if u.state.Slot(u.state.Running).Phase != Trial { // it has just been judged
		return nil
	}
	return u.apply(PutOff{reason})
}

// Rollback makes the other slot's release, which was good, the default again, and
// remembers the one that runs as refused. The caller reboots.
func (u *Updater) Rollback(reason string) error {
	u.work.Lock()
	defer u.work.Unlock()
	n, err := u.state.Apply(RolledBack{reason})
	if err != nil {
		return err
	}
	if err := u.startable(n.Default, n.Slot(n.Default).Release); err != nil {
		return err // nothing would come after it
	}
	if err := u.apply(RolledBack{reason}); err != nil {
		return err
	}
	if err := u.cfg.Firmware.SetDefault(u.state.Default); err != nil {
		return fmt.Errorf("make slot %s the default: %w", u.state.Default, err)
	}
	return nil
}

// Forgive lets a version that failed here be installed again; every one when
// version is empty.
func (u *Updater) Forgive(version string) error {
	u.work.Lock()
	defer u.work.Unlock()
	return u.apply(Forgiven{version})
}
