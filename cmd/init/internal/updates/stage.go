package updates

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/release"
	"github.com/digital-mycelium/os/pkg/update"
	"github.com/digital-mycelium/os/pkg/update/delta"
)

// releasesDir keeps, in Options.State, what is known of the release server's
// metadata: its versions are what nothing older is believed after.
const releasesDir = "releases"

// source is a release repository, as configured.
type source struct {
	server, root string
	client       *release.Client
}

// source returns the repository of the configuration.
func (a *Agent) source() (*source, error) {
	c := a.o.Config()
	if c.Server == "" {
		return nil, fmt.Errorf("%w: no release server is configured: set update.server and update.root, or push an OS file", api.ErrConflict)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.from; s != nil && s.server == c.Server && s.root == c.Root {
		return s, nil
	}
	dir := a.path(releasesDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep the releases' metadata: %w", err)
	}
	client, err := release.Open(release.Options{
		Dir: dir, Root: c.Root, Board: a.o.Board, Now: a.o.Now,
		Fetch: &release.HTTP{Client: a.o.Servers, Base: c.Server},
	})
	if err != nil {
		return nil, err
	}
	if lost := client.Lost(); lost != nil {
		a.o.Log.Warn("what was known of the releases is lost: it is learned anew", "error", lost)
	}
	a.from = &source{c.Server, c.Root, client}
	return a.from, nil
}

// refresh asks the release server for what is new.
func (a *Agent) refresh(ctx context.Context) (*source, error) {
	from, err := a.source()
	if err != nil {
		if a.o.Config().Server != "" {
			a.change(func(s *api.Update) { s.CheckError = err.Error() })
		}
		return nil, err
	}
	_, err = from.client.Refresh(ctx)
	for _, problem := range from.client.Problems() {
		a.o.Log.Warn("a release is left out", "error", problem)
	}
	a.change(func(s *api.Update) {
		s.Available = ""
		if r, ok := a.newest(from.client.Releases()); ok {
			s.Available = r.Version
		}
		if err != nil {
			s.CheckError = err.Error()
			return
		}
		s.Checked, s.CheckError = a.o.Now().UTC(), ""
	})
	return from, err
}

// newest returns the newest release that is for this node now.
func (a *Agent) newest(list []release.Release) (release.Release, bool) {
	key := a.o.Key()
	channel := a.o.Config().FollowedChannel()
	for _, r := range list {
		if r.Due(channel, key[:], a.o.Now()) {
			return r, true
		}
	}
	return release.Release{}, false
}

// Check asks the release server what it offers this node.
func (a *Agent) Check(ctx context.Context) ([]api.AvailableUpdate, error) {
	from, err := a.refresh(ctx)
	if err != nil {
		return nil, err
	}
	key := a.o.Key()
	var list []api.AvailableUpdate
	for _, r := range from.client.Releases() {
		list = append(list, api.AvailableUpdate{
			Version: r.Version, Size: uint64(r.OS.Size), Channels: r.Channels, Notes: r.Notes, Published: r.Published,
			Due: r.Due(a.o.Config().FollowedChannel(), key[:], a.o.Now()),
		})
	}
	return list, nil
}

// Stage fetches a release into the idle slot: what the running OS has of it is taken
// from there, the rest from other members and the release server.
func (a *Agent) Stage(ctx context.Context, version string, force bool) (string, error) {
	end, err := a.begin()
	if err != nil {
		return "", err
	}
	defer end()
	a.active(api.UpdateActivity{Stage: api.UpdateChecking, Version: version})
	return a.staging(func() (string, error) {
		from, err := a.refresh(ctx)
		if err != nil {
			return version, err
		}
		r, err := a.choose(from.client.Releases(), version)
		if err != nil {
			return version, err
		}
		return r.Version, a.stage(ctx, from, r, force)
	})
}

// choose finds a release by its version, or what the channel offers.
func (a *Agent) choose(list []release.Release, version string) (release.Release, error) {
	if version == "" {
		if r, ok := a.newest(list); ok {
			return r, nil
		}
		return release.Release{}, fmt.Errorf("%w: the channel %s offers this node nothing", api.ErrNotFound, a.o.Config().FollowedChannel())
	}
	i := slices.IndexFunc(list, func(r release.Release) bool { return r.Version == version })
	if i < 0 {
		return release.Release{}, fmt.Errorf("%w: the release server has no version %s for %s: see what it has with: mycelium update check", api.ErrNotFound, version, a.o.Board)
	}
	return list[i], nil
}

// wanted is a release in the terms of pkg/update.
func wanted(r release.Release) update.Release {
	return update.Release{Version: r.Version, Digest: r.OS.Digest, Size: r.OS.Size}
}

func (a *Agent) stage(ctx context.Context, from *source, r release.Release, force bool) error {
	target := wanted(r)
	state := a.updater.State()
	if a.runs(target.Digest) {
		return fmt.Errorf("%w: %s runs already", api.ErrConflict, r.Version)
	}
	for _, name := range a.slots() {
		if slot := state.Slot(name); slot.Release == target && slot.Phase == update.Staged {
			return nil // by an earlier call
		}
	}
	// Refusals come before the download.
	if err := a.updater.Allowed(target, force, r.Downgrade); err != nil {
		return err
	}
	// Until it is staged, so that members go on waiting for it.
	a.setFetch(target.Digest, delta.PeerState{Phase: delta.Fetching})
	defer a.setFetch("", delta.PeerState{})
	file, err := a.fetchRelease(ctx, from, r)
	if err != nil {
		return err
	}
	a.mu.Lock()
	sofar := a.status.Activity
	a.mu.Unlock()
	err = a.install(ctx, target, file, force, r.Downgrade, func(s *api.UpdateActivity, _ uint64) {
		if sofar != nil {
			s.Local, s.Peers, s.Server = sofar.Local, sofar.Peers, sofar.Server
		}
	})
	if err != nil {
		return errors.Join(err, file.Close()) // the next try finds it
	}
	if err := file.Remove(); err != nil {
		a.o.Log.Warn("the fetched OS file stays on DATA until the next one", "error", err)
	}
	return nil
}

// fetchRelease puts the release's OS file together on DATA.
func (a *Agent) fetchRelease(ctx context.Context, from *source, r release.Release) (*delta.File, error) {
	encoded, err := from.client.Index(ctx, r)
	if err != nil {
		return nil, err
	}
	index, err := delta.Parse(encoded)
	if err != nil {
		return nil, fmt.Errorf("index of release %s: %w", r.Version, err)
	}
	if index.Digest() != r.OS.Digest || index.Size() != r.OS.Size {
		return nil, fmt.Errorf("index of release %s: it is of another file: publish the release anew", r.Version)
	}
	return delta.Fetch(ctx, delta.Config{
		Index: index, Dir: filepath.Join(a.o.Work, "fetch"), Local: a.local(),
		Peers:  func(context.Context) []delta.Peer { return a.peers(r.OS.Digest) },
		Server: delta.HTTPSource(a.o.Servers, strings.TrimSuffix(from.server, "/")+"/"+r.OS.Path),
		Progress: func(p delta.Progress) {
			a.setFetch(r.OS.Digest, p.State())
			a.active(api.UpdateActivity{
				Stage: api.UpdateFetching, Version: r.Version, Total: uint64(p.Total),
				Local: uint64(p.Local + p.Resumed), Peers: uint64(p.Peers), Server: uint64(p.Server),
			})
		},
		Log: a.o.Log,
	})
}

// setFetch notes which file is fetched, and how far that is, for other members.
func (a *Agent) setFetch(digest string, state delta.PeerState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fetch, a.fetchState = digest, state
}

// local are the OS files that this node has: in the slot that runs, and in the other.
func (a *Agent) local() []delta.Local {
	list := []delta.Local{{Name: "the OS that runs", Open: func() (io.ReadCloser, error) { return os.Open(a.o.Running) }}}
	state := a.updater.State()
	for _, name := range a.slots() {
		slot := state.Slot(name)
		if name == state.Running || slot.Phase == update.Empty || slot.Release.Size == 0 {
			continue
		}
		list = append(list, delta.Local{Name: "slot " + name, Open: func() (io.ReadCloser, error) {
			return a.o.Slots.Slots[name].Open(slot.Release.Size)
		}})
	}
	return list
}

// peers are the members that may have a file.
func (a *Agent) peers(digest string) []delta.Peer {
	own := a.o.Key()
	var list []delta.Peer
	for _, m := range a.o.Members() {
		if m.Reached {
			list = append(list, delta.HTTPPeer(m.Client, m.URL, digest, bytes.Compare(m.Key[:], own[:]) < 0))
		}
	}
	return list
}
