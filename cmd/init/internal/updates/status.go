package updates

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/update"
)

// change changes the status and reports it.
func (a *Agent) change(f func(*api.Update)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(&a.status)
	a.o.Report(a.status)
}

// active says what is being done.
func (a *Agent) active(activity api.UpdateActivity) {
	a.change(func(s *api.Update) { s.Activity = &activity })
}

// publish puts what is known of the slots into the status.
func (a *Agent) publish() {
	state := a.updater.State()
	c := a.o.Config()
	a.change(func(s *api.Update) {
		s.Slots = nil
		for _, name := range a.slots() {
			slot := state.Slot(name)
			s.Slots = append(s.Slots, api.Slot{
				Name: name, Phase: string(slot.Phase), Version: slot.Release.Version, Digest: slot.Release.Digest, Reason: slot.Reason,
				Running: name == state.Running, Default: name == state.Default,
			})
		}
		s.Floor = state.Floor
		s.Refused, s.Verdicts = nil, nil
		for _, r := range state.Refused {
			s.Refused = append(s.Refused, api.UpdateVerdict{Version: r.Release.Version, Phase: string(update.Bad), Reason: r.Reason})
		}
		for _, v := range state.Verdicts {
			s.Verdicts = append(s.Verdicts, api.UpdateVerdict{Version: v.Release.Version, Phase: string(v.Phase), Reason: v.Reason, Time: v.Time})
		}
		s.Hold, s.HoldReason = a.hold.On, a.hold.Reason
		s.Server, s.Channel = c.Server, ""
		if c.Server != "" {
			s.Channel = c.FollowedChannel()
		} else { // what the last one said does not matter any more
			s.Available, s.Checked, s.CheckError = "", time.Time{}, ""
		}
	})
	a.o.Problem(problem(state))
}

// problem says what the owner should know of the last update: that it failed, until
// one succeeds or its version is forgiven.
func problem(s update.State) string {
	if len(s.Verdicts) == 0 {
		return ""
	}
	last := s.Verdicts[len(s.Verdicts)-1]
	refused := slices.ContainsFunc(s.Refused, func(r update.Refusal) bool { return r.Release == last.Release })
	if last.Phase != update.Bad || !refused {
		return ""
	}
	return fmt.Sprintf("version %s is not kept: %s; the node runs %s. Install another version, or let it take this one again: mycelium update forgive",
		last.Release, last.Reason, s.Slot(s.Running).Release)
}

func (a *Agent) slots() []string { return slices.Sorted(maps.Keys(a.o.Slots.Slots)) }

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(b, '\n'), 0o600)
}
