package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/disk"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/gpt"
)

// A reset is ordered while the node runs and carried out by the next boot, when
// nothing uses the partitions. The order is a file on STATE and outlives power
// cuts: DATA is wiped first, then the order goes, alone or with all of STATE.

// resetPath holds the order.
const resetPath = "/state/reset"

// resetOrder is what the next boot is to wipe.
type resetOrder struct {
	Scope api.ResetScope `json:"scope"`
	// PowerOff ends the boot after the wipe.
	PowerOff bool `json:"powerOff"`
}

// reset orders a wipe and the reboot that carries it out; with shutdown, the
// machine is powered off after the wipe.
func (m *machine) reset(scope api.ResetScope, shutdown bool) error {
	return m.orderReset(resetPath, scope, shutdown)
}

func (m *machine) orderReset(path string, scope api.ResetScope, shutdown bool) error {
	if err := m.resettable(scope); err != nil {
		return err
	}
	if err := writeResetOrder(path, resetOrder{Scope: scope, PowerOff: shutdown}); err != nil {
		return err
	}
	m.log.Warn("reset ordered", "scope", scope, "shutdown", shutdown)
	m.console.event(api.ConsoleEvent{Kind: api.EventReset, Text: fmt.Sprintf("rebooting to wipe what the scope %s says", scope)})
	m.request(actionReboot)
	return nil
}

// resettable says why a reset cannot be done.
func (m *machine) resettable(scope api.ResetScope) error {
	if scope != api.ResetData && scope != api.ResetAll {
		return fmt.Errorf("%w: %q is no scope of a reset: write %s or %s", api.ErrInvalid, scope, api.ResetData, api.ResetAll)
	}
	switch m.volumeState("STATE") {
	case "missing", "":
		return fmt.Errorf("%w: there is nothing to reset: this machine has no STATE, keeps everything in memory and forgets it when it is switched off", api.ErrConflict)
	case "corrupt":
		return fmt.Errorf("%w: a reset is ordered on STATE, which is damaged and not in use: erase the partitions STATE and DATA with another machine, or write the image anew", api.ErrConflict)
	}
	return nil
}

func writeResetOrder(path string, o resetOrder) error {
	b, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("order the reset: %w", err)
	}
	if err := durable.WriteFile(path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("order the reset: %w", err)
	}
	return nil
}

// readResetOrder returns the order at path, nil when there is none.
func readResetOrder(path string) (*resetOrder, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the order of a reset: %w", err)
	}
	var o resetOrder
	if err := json.Unmarshal(b, &o); err != nil || o.Scope != api.ResetData && o.Scope != api.ResetAll {
		return nil, fmt.Errorf("%s is no order of a reset and nothing is wiped: order it again", path)
	}
	return &o, nil
}

// finishReset carries out what an order on STATE says. STATE is mounted and
// nothing else is.
func (m *machine) finishReset(ctx context.Context) error {
	order, err := readResetOrder(resetPath)
	if order == nil {
		return err
	}
	m.log.Warn("reset", "scope", order.Scope)
	err = m.resetSteps().run(order.Scope)
	m.log.Warn("reset ends", "scope", order.Scope, "error", err)
	if err != nil {
		err = fmt.Errorf("reset: %w; it is tried again at the next boot", err)
	} else if order.PowerOff {
		m.finish(actionPowerOff)
	}
	if m.volumeState("STATE") == "" { // closed, whether wiped or not
		err = errors.Join(err, m.mountVolume(ctx, stateVolume()))
	}
	return err
}

// resetSteps are the parts of a reset.
type resetSteps struct{ wipeData, forget, closeState, wipeState func() error }

// run does the steps in the order in which a power cut after any of them leaves
// the order, or a STATE that is known to be half wiped, or a finished reset.
func (s resetSteps) run(scope api.ResetScope) error {
	steps := []func() error{s.wipeData, s.forget}
	if scope == api.ResetAll {
		steps = []func() error{s.wipeData, s.closeState, s.wipeState}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) resetSteps() resetSteps {
	wipe := func(v volume) func() error {
		return func() error {
			p, ok := m.disk.table.Find(v.typ, v.label)
			if !ok {
				return nil
			}
			m.console.event(api.ConsoleEvent{Kind: api.EventReset, Text: "wiping " + v.label})
			return m.wipePartition(m.disk.partition(p), v.typ)
		}
	}
	return resetSteps{
		wipeData:   wipe(dataVolume()),
		forget:     func() error { return forgetData(k3sConfigDir, resetPath) },
		closeState: func() error { return m.closeVolume(stateVolume()) },
		wipeState:  wipe(stateVolume()),
	}
}

// forgetData removes what STATE has of Kubernetes' database, and then the order,
// durably.
func forgetData(kubernetes, order string) error {
	if err := os.RemoveAll(kubernetes); err != nil {
		return fmt.Errorf("forget the cluster: %w", err)
	}
	dir, err := os.Open(filepath.Dir(order))
	if err != nil {
		return err
	}
	// What the order is about must not come back when the order is gone.
	if err := dir.Sync(); err != nil {
		return errors.Join(fmt.Errorf("forget the cluster: %w", err), dir.Close())
	}
	return errors.Join(os.Remove(order), dir.Sync(), dir.Close())
}

func (m *machine) closeVolume(v volume) error {
	if err := unix.Unmount(v.target, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", v.target, err)
	}
	m.dropVolume(v.label)
	return nil
}

// wipePartition wipes a partition of the given type. STATE is small and holds the
// machine's own keys: it is overwritten as a whole.
func (m *machine) wipePartition(device string, typ gpt.GUID) error {
	f, err := openBlockDevice(device)
	if err != nil {
		return err
	}
	return errors.Join(m.wipe(f, typ), f.Close())
}

func (m *machine) wipe(f *blockDevice, typ gpt.GUID) error {
	done, err := disk.Wipe(f, typ == gpt.State, func() { m.heart.beat(phasePatience) })
	m.log.Warn("partition wiped", "device", f.Name(), "overwritten", done.Overwritten, "discarded", done.Discarded, "secure", done.Secure, "error", err)
	if err != nil {
		return fmt.Errorf("wipe %s: %w", f.Name(), err)
	}
	return nil
}

// dropVolume takes a volume that is no longer mounted out of the status.
func (m *machine) dropVolume(label string) {
	var left []mountedVolume
	var shown []api.Volume
	for _, v := range m.volumes {
		if v.Label != label {
			left, shown = append(left, v), append(shown, v.Volume)
		}
	}
	m.volumes = left
	m.board.Update(func(s *api.Status) { s.Volumes = shown })
}
