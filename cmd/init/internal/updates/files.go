package updates

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/digital-mycelium/os/pkg/update"
	"github.com/digital-mycelium/os/pkg/update/delta"
)

// File opens the OS file with a digest, from whichever slot holds it, for a member, or
// says how far this node is with it.
func (a *Agent) File(digest string) (io.ReadSeekCloser, delta.PeerState, error) {
	whole := delta.PeerState{Phase: delta.Whole}
	state := a.updater.State()
	for _, name := range a.slots() {
		slot := state.Slot(name)
		if name == state.Running || slot.Release.Digest != digest {
			continue
		}
		switch slot.Phase {
		case update.Staged, update.Trial, update.Good:
			f, err := a.o.Slots.Slots[name].Open(slot.Release.Size)
			return f, whole, err
		}
	}
	a.mu.Lock()
	fetch, fetched := a.fetch, a.fetchState
	a.mu.Unlock()
	switch {
	case fetch == digest:
		return nil, fetched, nil
	case a.runs(digest):
		f, err := os.Open(a.o.Running)
		if err != nil {
			return nil, delta.PeerState{}, fmt.Errorf("read the OS file that runs: %w", err)
		}
		return f, whole, nil
	}
	return nil, delta.PeerState{Phase: delta.None}, nil
}

// runs reports whether what runs is the OS file with a digest. Of a system that no
// update has brought, its file tells.
func (a *Agent) runs(digest string) bool {
	state := a.updater.State()
	known := state.Slot(state.Running).Release.Digest
	if known == "" {
		var err error
		if known, err = a.running(); err != nil {
			a.o.Log.Warn("it is not known which OS file runs", "error", err)
			return false
		}
	}
	return known == digest
}

// sumFile returns a file's SHA-256.
func sumFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the OS file that runs: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read the OS file that runs: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
