// Package updates replaces the node's operating system: it stages releases, tries
// them, judges the trial, and says all of that in the node's status. What makes an
// update safe is in pkg/update; what is here decides what to update to, and when.
package updates

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/gate"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/update"
	"github.com/digital-mycelium/os/pkg/update/delta"
)

// Options are what the machine around it gives.
type Options struct {
	// Slots is what pkg/update works with.
	Slots update.Config
	// State is a directory on STATE, Work one on DATA; both are made.
	State, Work string
	// Board is the only one whose releases fit.
	Board string
	// Config returns the configuration as it is now.
	Config func() config.Update
	// Network is the node's; zero for a node without one.
	Network func() identity.NetworkID
	// Key is the node's public key.
	Key func() identity.PublicKey
	// Now is the clock that certificates are checked with.
	Now func() time.Time
	// Facts says how the node is.
	Facts func(ctx context.Context) gate.Facts
	// Servers is the HTTP client for release servers and the owner's checks.
	Servers *http.Client
	// Running is the path of the OS file that runs, in the file system of its slot.
	Running string
	// Members are the other nodes of the network that may have an OS file.
	Members func() []Member
	// Serves says that this node is a server of the cluster.
	Serves func() bool
	// Report is called with what the status says of updates, whenever that changes,
	// and Event with what the console should.
	Report func(api.Update)
	Event  func(text string)
	// Problem sets what the owner should know; empty for nothing.
	Problem func(text string)
	// Reboot asks for an orderly reboot and returns.
	Reboot func()
	Log    *slog.Logger
}

// Member is another node of the network.
type Member struct {
	Name string
	Key  identity.PublicKey
	// Version is the OS that it runs.
	Version string
	// URL is its machine API's; Client reaches it.
	URL    string
	Client *http.Client
	// Reached says that it was heard of lately, Silence for how long it was not.
	Reached bool
	Silence time.Duration
	// Server says that it is a server of the cluster, Serving that Kubernetes answers on it.
	Server, Serving bool
}

// Agent is the node's. Its methods are safe for concurrent use.
type Agent struct {
	o       Options
	updater *update.Updater
	// running is the digest of what runs, once somebody has asked for it.
	running func() (string, error)

	wake    chan struct{} // has follow look now
	waiting string        // what follow has last said that an update waits for
	// unstartable is the digest of the release that follow has found the firmware to refuse.
	unstartable string

	busy sync.Mutex // held while a slot is written, or read for that

	mu     sync.Mutex
	status api.Update
	hold   hold
	from   *source
	// fetch is the digest that is fetched now, fetchState how far.
	fetch      string
	fetchState delta.PeerState
}

// hold keeps the node from updating by itself.
type hold struct {
	On     bool   `json:"on"`
	Reason string `json:"reason,omitempty"`
}

// Boot takes up what the last boot has left. With update.Reboot the machine is to
// be rebooted now. An error that wraps update.ErrDamaged or update.ErrStuck comes with
// an Agent.
func Boot(o Options) (*Agent, update.Next, error) {
	if err := os.MkdirAll(o.State, 0o700); err != nil {
		return nil, update.Nothing, fmt.Errorf("make the directory of updates: %w", err)
	}
	updater, next, err := update.Boot(o.Slots)
	if updater == nil {
		return nil, next, err
	}
	a := &Agent{o: o, updater: updater, wake: make(chan struct{}, 1), running: sync.OnceValues(func() (string, error) { return sumFile(o.Running) })}
	if holdErr := readJSON(a.path(holdFile), &a.hold); holdErr != nil && !errors.Is(holdErr, fs.ErrNotExist) {
		// What cannot be read may have said so: the careful answer is to hold.
		a.hold = hold{On: true, Reason: "what was said about holding updates cannot be read: say it again (mycelium update hold)"}
		o.Log.Warn("hold", "error", holdErr)
	}
	a.publish()
	return a, next, err
}

// Files in Options.State.
const (
	holdFile  = "update-hold.json"
	factsFile = "update-facts.json"
)

func (a *Agent) path(name string) string { return filepath.Join(a.o.State, name) }

// Run judges a trial, if one is under way, and then follows the release server,
// until ctx ends.
func (a *Agent) Run(ctx context.Context) {
	a.publish() // the configuration is known now
	if a.onTrial() {
		a.judge(ctx)
	}
	a.follow(ctx)
}

// onTrial reports whether what runs is on trial, which has not been put off.
func (a *Agent) onTrial() bool {
	s := a.updater.State()
	slot := s.Slot(s.Running)
	return slot.Phase == update.Trial && !slot.PutOff
}

// Leave must be called before a reboot or a shutdown on purpose.
func (a *Agent) Leave(reason string) {
	if err := a.updater.Leave(reason); err != nil {
		a.o.Log.Error("cannot put the trial off", "error", err)
	}
}

// begin makes sure that one update is worked on at a time.
func (a *Agent) begin() (end func(), err error) {
	if !a.busy.TryLock() {
		return nil, fmt.Errorf("%w: another update is being staged: see how far it is with: mycelium update status", api.ErrConflict)
	}
	return a.busy.Unlock, nil
}

// staging runs f, which stages a release and returns its version, and notes how it
// ended.
func (a *Agent) staging(f func() (string, error)) (string, error) {
	a.change(func(s *api.Update) { s.Failure = "" })
	version, err := f()
	a.change(func(s *api.Update) { s.Activity = nil })
	a.publish()
	if err != nil {
		a.failed(version, err)
		return version, refusal(err)
	}
	a.o.Event(version + " is staged")
	return version, nil
}

// failed says why an update has not come as far as a trial. No version is the one that
// the channel would have offered.
func (a *Agent) failed(version string, err error) {
	a.o.Log.Error("the update has failed before its trial", "version", version, "error", err)
	text := err.Error()
	if version != "" {
		text = version + ": " + text
	}
	a.change(func(s *api.Update) { s.Failure = text })
}

// refusal gives errors of other packages the reason that reaches the caller.
func refusal(err error) error {
	if errors.Is(err, delta.ErrDiskFull) {
		return fmt.Errorf("%w: %w", api.ErrFull, err)
	}
	for _, known := range []error{update.ErrBusy, update.ErrRefused, update.ErrDowngrade, update.ErrInUse, update.ErrTransition, update.ErrUnstartable} {
		if errors.Is(err, known) {
			return fmt.Errorf("%w: %w", api.ErrConflict, err)
		}
	}
	return err
}

// install writes r to the idle slot, tells how far it is, and reads it back.
func (a *Agent) install(ctx context.Context, release update.Release, r io.Reader, force, downgrade bool, count func(*api.UpdateActivity, uint64)) error {
	activity := api.UpdateActivity{Stage: api.UpdateWriting, Version: release.Version, Total: uint64(release.Size)}
	a.active(activity)
	counted := &counter{r: r, total: uint64(release.Size), told: func(n uint64) {
		if count(&activity, n); n == uint64(release.Size) {
			activity.Stage = api.UpdateVerifying
		}
		a.active(activity)
	}}
	return a.updater.Install(ctx, release, counted, force, downgrade)
}

// counter tells how much was read of r, now and then and when it is all.
type counter struct {
	r       io.Reader
	n, last uint64
	total   uint64
	told    func(uint64)
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += uint64(n)
	if c.n != c.last && (c.n-c.last > c.total/50 || c.n == c.total) {
		c.last = c.n
		c.told(c.n)
	}
	return n, err
}

// Try writes down how the node is, and reboots into what is staged.
func (a *Agent) Try(ctx context.Context) error {
	end, err := a.begin()
	if err != nil {
		return err
	}
	defer end()
	s := a.updater.State()
	if name := s.OnTrial(); name != "" { // whose facts are not to be replaced
		return refusal(fmt.Errorf("%w: %s is on trial in slot %s: wait for its verdict", update.ErrBusy, s.Slot(name).Release, name))
	}
	if err := writeJSON(a.path(factsFile), a.o.Facts(ctx)); err != nil {
		return fmt.Errorf("note how the node is before the update: %w", err)
	}
	if err := a.updater.Try(ctx); err != nil {
		return refusal(err)
	}
	a.publish()
	s = a.updater.State()
	a.o.Event(fmt.Sprintf("rebooting to try %s from slot %s", s.Slot(s.OnTrial()).Release, s.OnTrial()))
	a.active(api.UpdateActivity{Stage: api.UpdateRebooting, Version: s.Slot(s.OnTrial()).Release.Version})
	a.o.Reboot()
	return nil
}

// RollBack reboots into the other slot's release, which was good.
func (a *Agent) RollBack(reason string) error {
	end, err := a.begin()
	if err != nil {
		return err
	}
	defer end()
	if reason == "" {
		reason = "rolled back by hand"
	}
	if a.onTrial() {
		return a.fail("given up by hand: " + reason)
	}
	err = a.updater.Rollback(reason)
	a.publish()
	if err != nil {
		return refusal(err)
	}
	a.o.Event("rolling back: " + reason)
	a.o.Reboot()
	return nil
}

// Forgive lets a version be installed again that has failed.
func (a *Agent) Forgive(version string) error {
	err := a.updater.Forgive(version)
	a.publish()
	return err
}

// Hold keeps the node from updating by itself, or lets it again.
func (a *Agent) Hold(on bool, reason string) error {
	h := hold{On: on, Reason: reason}
	if !on {
		h.Reason = ""
	}
	if err := writeJSON(a.path(holdFile), h); err != nil {
		return fmt.Errorf("keep the hold on updates: %w", err)
	}
	a.mu.Lock()
	a.hold = h
	a.mu.Unlock()
	a.publish()
	return nil
}
