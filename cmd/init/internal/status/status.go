// Package status is the one place where a node's state stands: services write
// what they know, the console, the dashboard and the machine API read it.
package status

import (
	"context"
	"slices"
	"sync"

	"github.com/digital-mycelium/os/pkg/api"
)

// Board holds the node's status. Its methods are safe for concurrent use.
type Board struct {
	mu       sync.Mutex
	status   api.Status
	problems []problem
	changed  chan struct{} // closed and replaced at each change
}

type problem struct{ key, text string }

// New returns a board that begins with s.
func New(s api.Status) *Board {
	return &Board{status: s, changed: make(chan struct{})}
}

// Update changes the status and wakes who watches it. change must not keep
// slices of the status, nor change elements in place: it replaces slices.
func (b *Board) Update(change func(*api.Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.status)
	b.wake()
}

// Refresh changes values that change all the time (memory in use, free space)
// without waking anyone.
func (b *Board) Refresh(change func(*api.Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.status)
}

func (b *Board) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// SetProblem makes text the problem known by key, in the place of an earlier
// one with that key. An empty text ends it.
func (b *Board) SetProblem(key, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.problems, func(p problem) bool { return p.key == key })
	switch {
	case i < 0 && text == "", i >= 0 && b.problems[i].text == text:
		return
	case i < 0:
		b.problems = append(b.problems, problem{key, text})
	case text == "":
		b.problems = slices.Delete(b.problems, i, i+1)
	default:
		b.problems[i].text = text
	}
	texts := make([]string, len(b.problems))
	for i, p := range b.problems {
		texts[i] = p.text
	}
	b.status.Problems = texts
	b.wake()
}

// ClearProblem ends the problem known by key.
func (b *Board) ClearProblem(key string) { b.SetProblem(key, "") }

// Get returns the status and a channel that is closed at its next change.
// The caller must not change what the status' slices hold.
func (b *Board) Get() (api.Status, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status, b.changed
}

// Wait blocks until the status fulfils condition, or ctx ends.
func (b *Board) Wait(ctx context.Context, condition func(api.Status) bool) error {
	for {
		s, changed := b.Get()
		if condition(s) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
