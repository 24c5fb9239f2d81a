package updates

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/mod/semver"

	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/release"
	"github.com/digital-mycelium/os/pkg/update"
)

const (
	// advancePause is between two looks whether an update that is known can begin.
	advancePause = time.Minute
	// silenceLimit is after how long without a word a member is not waited for.
	silenceLimit = time.Hour
)

// follow asks the release server now and then, and in automatic mode updates to
// what it offers, until ctx ends.
func (a *Agent) follow(ctx context.Context) {
	random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) //nolint:gosec // spreads the polls
	next := time.Now().Add(release.FirstPoll(a.o.Config().PollInterval(), random))
	failed := false // to advance, since the last poll
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
			next = time.Now()
			a.publish()
		case <-time.After(min(advancePause, max(time.Until(next), 0))):
		}
		c := a.o.Config()
		poll := !time.Now().Before(next)
		if poll {
			next = time.Now().Add(release.NextPoll(c.PollInterval(), random))
		}
		if c.Server == "" {
			continue
		}
		if poll {
			failed = false
			if _, err := a.refresh(ctx); err != nil {
				a.o.Log.Info("the release server has nothing to say", "error", err)
			}
		}
		if c.Automatic && !failed {
			// What fails is not tried each minute: the server and the disk are spared.
			failed = a.advance(ctx) != nil
		}
	}
}

// Wake has the node look at its configuration and ask the release server now.
func (a *Agent) Wake() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// advance begins the update that the channel offers, if it is this node's turn.
func (a *Agent) advance(ctx context.Context) error {
	from, err := a.source()
	if err != nil {
		return err
	}
	r, ok := a.newest(from.client.Releases())
	if !ok {
		return nil
	}
	if why := a.waits(r); why != "" {
		if why != a.waiting {
			a.o.Log.Info("an update waits", "version", r.Version, "for", why)
		}
		a.waiting = why
		return nil
	}
	a.waiting = ""
	if _, err := a.Stage(ctx, r.Version, false); err != nil {
		if errors.Is(err, update.ErrUnstartable) {
			a.unstartable = r.OS.Digest // a slot is not written for it again at each poll
		}
		return err
	}
	if err := a.Try(ctx); err != nil {
		a.failed(r.Version, err)
		return err
	}
	return nil
}

// waits says what the update to r waits for; empty when it can begin.
func (a *Agent) waits(r release.Release) string {
	a.mu.Lock()
	held := a.hold.On
	a.mu.Unlock()
	state := a.updater.State()
	running := state.Slot(state.Running).Release
	switch {
	case held:
		return "the end of the hold"
	case !newer(r.Version, running.Version) && !r.Downgrade || r.Version == running.Version:
		return "a newer version"
	case r.OS.Digest == a.unstartable:
		return "a release that the firmware would start"
	case !a.o.Config().Window.Contains(a.o.Now()):
		return "the maintenance window"
	}
	if err := a.updater.Allowed(wanted(r), false, r.Downgrade); err != nil {
		return err.Error()
	}
	return turn(Member{Key: a.o.Key(), Server: a.o.Serves(), Version: running.Version}, a.o.Members(), r.Version)
}

func newer(a, b string) bool { return semver.Compare("v"+a, "v"+b) > 0 }

// turn says for whom a node waits with an update to a version; empty when it is its
// turn. Servers come first, then by key, so that all nodes agree without a word. A
// node that has rolled back keeps those behind it waiting: the update ends there. A
// server goes down while all others serve. On the way down to a version those wait that
// have a later one.
func turn(self Member, others []Member, version string) string {
	down := newer(self.Version, version)
	for _, o := range others {
		silent := !o.Reached && o.Silence > silenceLimit
		switch {
		case self.Server && o.Server && !o.Serving && !silent:
			return o.Name + ", a server on which Kubernetes does not answer"
		case silent || !before(o, self):
		case !semver.IsValid("v" + o.Version), newer(version, o.Version) && !down, newer(o.Version, version) && down:
			return fmt.Sprintf("%s, which runs %s", o.Name, o.Version)
		}
	}
	return ""
}

// before orders the nodes of a network for updates.
func before(a, b Member) bool {
	if a.Server != b.Server {
		return a.Server
	}
	return compareKeys(a.Key, b.Key) < 0
}

func compareKeys(a, b identity.PublicKey) int { return bytes.Compare(a[:], b[:]) }
