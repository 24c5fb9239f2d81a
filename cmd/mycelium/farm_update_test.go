package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/update/delta"
)

// eventList is what happened in a farm, in order.
type eventList struct {
	mu   sync.Mutex
	list []string
}

func (e *eventList) add(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, what)
}

// take returns what happened since the last time.
func (e *eventList) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.list
	e.list = nil
	return list
}

// fakeSlots are the slots of a fake node: a runs, b is the other one.
type fakeSlots struct {
	*fakeNode
	offers []api.AvailableUpdate
	// fate is how trials end: "" well, "bad", or "put off".
	fate string
	// offline nodes go away when they reboot, before they have answered.
	offline bool
	// stageErrors are what fetching ends with, one after the other.
	stageErrors []error
	developer   identity.PublicKey
}

// updatable gives all nodes of the farm two slots, the first with what they run.
func (f *farm) updatable() {
	for _, n := range f.nodes {
		n.slots = &fakeSlots{fakeNode: n}
		n.change(func(s *api.Status) {
			s.Update = &api.Update{
				Slots:  []api.Slot{{Name: "a", Phase: "good", Version: s.Version, Running: true, Default: true}, {Name: "b", Phase: "empty"}},
				Floor:  s.Version,
				Server: "https://releases.example", Channel: "stable",
			}
		})
	}
}

// log notes what the node does among what others do.
func (s *fakeSlots) log(format string, args ...any) {
	s.farm.events.add(fmt.Sprintf(format, args...) + " " + s.status.Name)
}

// idle changes the slot that does not run.
func idle(u *api.Update, f func(*api.Slot)) {
	f(&u.Slots[slices.IndexFunc(u.Slots, func(s api.Slot) bool { return !s.Running })])
}

func (s *fakeSlots) Check(context.Context) ([]api.AvailableUpdate, error) { return s.offers, nil }

func (s *fakeSlots) Stage(_ context.Context, version string, force bool) (string, error) {
	s.log("stage%s", map[bool]string{true: "!"}[force])
	if len(s.stageErrors) > 0 {
		err := s.stageErrors[0]
		s.stageErrors = s.stageErrors[1:]
		if err != nil {
			return "", err
		}
	}
	s.change(func(st *api.Status) {
		idle(st.Update, func(slot *api.Slot) { *slot = api.Slot{Name: slot.Name, Phase: "staged", Version: version} })
	})
	return version, nil
}

func (s *fakeSlots) Push(_ context.Context, statement []byte, r io.Reader) (string, error) {
	says, err := identity.Parse[identity.OSFile](statement)
	if err != nil {
		return "", err
	}
	if says.Key != s.developer || says.Network != s.farm.id {
		return "", fmt.Errorf("%w: %s is no developer's key here", identity.ErrSignature, says.Key)
	}
	hash := sha256.New()
	if n, err := io.Copy(hash, r); err != nil || uint64(n) != says.Size || [32]byte(hash.Sum(nil)) != says.Digest {
		return "", fmt.Errorf("%w: another file came: %w", api.ErrInvalid, err)
	}
	s.log("push %s %s %v to", says.Version, says.Board, says.Downgrade)
	s.change(func(st *api.Status) {
		idle(st.Update, func(slot *api.Slot) {
			*slot = api.Slot{Name: slot.Name, Phase: "staged", Version: says.Version, Digest: hex.EncodeToString(says.Digest[:])}
		})
	})
	return says.Version, nil
}

// trialLooks is how many looks a trial lasts. Two look at a node: who shows how it is,
// and who waits for it.
const trialLooks = 10

// Try lets the node boot, be on trial, and have a verdict, step by step as it is looked at.
func (s *fakeSlots) Try(context.Context) error {
	s.log("try")
	swap := func(st *api.Status) {
		for i := range st.Update.Slots {
			slot := &st.Update.Slots[i]
			if slot.Running = !slot.Running; slot.Running {
				st.Version = slot.Version
			}
		}
		st.BootID += "+"
	}
	running := func(st *api.Status) *api.Slot {
		return &st.Update.Slots[slices.IndexFunc(st.Update.Slots, func(s api.Slot) bool { return s.Running })]
	}
	steps := []func(*api.Status){
		func(st *api.Status) {
			swap(st)
			running(st).Phase = "trial"
			st.Kubernetes.NodeReady = false
			st.Update.Trial = &api.UpdateTrial{Version: st.Version, Waiting: []string{"the node to be Ready"}, Deadline: theTime}
		},
		func(st *api.Status) {
			st.Kubernetes.NodeReady, st.Update.Trial = true, nil
			slot := running(st)
			verdict := api.UpdateVerdict{Version: slot.Version, Phase: "good", Time: theTime}
			switch s.fate {
			case "":
				slot.Phase = "good"
			case "bad":
				verdict.Phase, verdict.Reason = "bad", "the\x1b[2J camera is gone"
				slot.Phase, slot.Reason = "bad", verdict.Reason
				st.Update.Refused = append(st.Update.Refused, verdict)
				swap(st)
			case "put off":
				verdict.Phase = "staged"
				slot.Phase = "staged"
				swap(st)
			}
			st.Update.Verdicts = append(st.Update.Verdicts, verdict)
			s.farm.events.add(verdict.Phase + " " + st.Name)
		},
	}
	for range trialLooks {
		steps = slices.Insert(steps, 1, func(*api.Status) {})
	}
	s.mu.Lock()
	s.steps = steps
	s.mu.Unlock()
	if s.offline {
		s.farm.reboots.Go(func() {
			s.stop()
			s.listen(s.address)
		})
	}
	return nil
}

func (s *fakeSlots) RollBack(reason string) error {
	s.note("rollback " + reason)
	s.Reboot()
	return nil
}

func (s *fakeSlots) Hold(on bool, reason string) error {
	s.note(fmt.Sprintf("hold %v %s", on, reason))
	return nil
}

func (s *fakeSlots) Forgive(version string) error {
	s.note("forgive " + version)
	return nil
}

func (s *fakeSlots) File(string) (io.ReadSeekCloser, delta.PeerState, error) {
	return nil, delta.PeerState{Phase: delta.None}, nil
}
