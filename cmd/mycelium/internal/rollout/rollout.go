// Package rollout decides how the nodes of a network come to another version of
// their OS, one after the other: what to do next from what is seen, and when to
// stop. It does nothing itself: whoever uses it looks at the nodes, carries the
// actions out, and says how they ended.
//
// All that a rollout knows is on the nodes (what their slots hold, how trials
// ended) and in Kubernetes (whom a rollout has cordoned), so that another one goes on where
// one was broken off.
package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Verb is what is done to a node.
type Verb string

// What is done to nodes.
const (
	// Stage has the node fetch the version into its idle slot.
	Stage Verb = "stage"
	// Drain keeps new pods off the node and moves its pods away.
	Drain Verb = "drain"
	// Try has the node reboot into the version, on trial.
	Try Verb = "try"
	// Uncordon lets pods onto the node again.
	Uncordon Verb = "uncordon"
)

// Action is something to do now, beside whatever is under way.
type Action struct {
	Verb Verb
	Node string
	// Force stages a version that has failed on the node.
	Force bool
}

// Options say how to roll out.
type Options struct {
	Version string
	// Force takes the version where it has failed before, once.
	Force bool
	// Drain moves pods away from a node before it reboots.
	Drain bool
	// MaxUnavailable is how many nodes that are no servers may be down at a time;
	// servers go one by one.
	MaxUnavailable int
	// Patience bounds a node's way from its reboot to its return, and all waiting
	// for nodes that are down without having been rebooted.
	Patience time.Duration
}

// tries is how often a trial is begun on a node in one rollout: the second time
// when the first was put off, by somebody who rebooted the node meanwhile.
const tries = 2

// wait is what a node is waited for. The time of a wait that has become another
// one begins anew.
type wait string

const (
	nothing    wait = ""
	itsReturn  wait = "return" // that it answers, has rebooted, has passed its trial, is Ready
	others     wait = "others" // that other nodes are up
	uncordoned wait = "uncordoned"
)

// memory is what one rollout has done to a node.
type memory struct {
	doing  Verb // under way; empty for nothing
	held   bool // cordoned by a rollout, this one or one before
	empty  bool // drained in this rollout
	forced bool // staged with force in this rollout
	tried  int
	boot   string    // in which the last trial was asked for
	wait   wait      // what it is waited for
	since  time.Time // since when
	spoke  string    // in words
	stuck  error     // why uncordoning failed the last time
}

// Rollout is one under way. It is not safe for concurrent use.
type Rollout struct {
	o      Options
	memory map[string]*memory
	tiers  [][]string
	halted error
	left   []string // what the end of a halted rollout leaves behind, in words
}

// New begins a rollout to the nodes that are Chosen; held are the names of those that an
// earlier one has left cordoned.
func New(o Options, nodes []Node, held []string) (*Rollout, error) {
	if err := check(nodes); err != nil {
		return nil, err
	}
	if o.MaxUnavailable < 1 {
		return nil, fmt.Errorf("%d nodes may be unavailable: want at least 1", o.MaxUnavailable)
	}
	r := &Rollout{o: o, memory: map[string]*memory{}, tiers: order(o.Version, nodes)}
	for _, n := range nodes {
		if n.Chosen {
			r.memory[n.Name] = &memory{held: slices.Contains(held, n.Name)}
		}
	}
	return r, nil
}

// Order returns the names of the nodes in the order of the rollout.
func (r *Rollout) Order() []string { return slices.Concat(r.tiers...) }

// Halted returns why no further node is touched; nil while all goes well.
func (r *Rollout) Halted() error { return r.halted }

func (r *Rollout) halt(format string, args ...any) {
	if r.halted == nil {
		r.halted = fmt.Errorf(format, args...)
	}
}

// Ended says how an action ended. For a Try whose answer was lost err is nil: what
// the node does then tells.
func (r *Rollout) Ended(a Action, err error, now time.Time) {
	m := r.memory[a.Node]
	m.doing = ""
	switch {
	case a.Verb == Drain:
		m.held, m.empty = true, err == nil // it may be cordoned although the rest failed
		if err != nil {
			r.halt("%s was not drained: %w", a.Node, err)
		}
	case a.Verb == Uncordon && err != nil:
		m.stuck = err // it is tried again
	case a.Verb == Uncordon:
		m.held, m.stuck, m.wait = false, nil, nothing
	case err != nil && a.Verb == Stage:
		r.halt("%s did not fetch %s: %w", a.Node, r.o.Version, err)
	case err != nil:
		r.halt("%s did not try %s: %w", a.Node, r.o.Version, err)
		m.tried-- // it was not rebooted
	case a.Verb == Stage:
		m.forced = m.forced || a.Force
	case a.Verb == Try:
		m.wait, m.since = itsReturn, now
	}
}

// State is how far a rollout is.
type State struct {
	// Do are actions to begin now.
	Do []Action
	// Waits says what each chosen node is waited for, or what is done to it, in words.
	Waits map[string]string
	// Done says that nothing is left to do or to wait for: all is well unless
	// Halted says otherwise.
	Done bool
}

// Next looks at all nodes and says what is to be done.
func (r *Rollout) Next(now time.Time, nodes []Node) State {
	s := &step{r: r, now: now, nodes: map[string]Node{}, state: State{Waits: map[string]string{}}}
	for _, n := range nodes {
		s.nodes[n.Name] = n
	}
	if r.halted == nil {
		s.judge()
	}
	if r.halted == nil {
		s.stageAll()
	}
	if r.halted != nil {
		s.windDown()
	} else {
		s.forward()
	}
	return s.state
}

// Advice says what a person can do about a rollout that was halted.
func (r *Rollout) Advice() string {
	if r.halted == nil {
		return ""
	}
	lines := slices.Clone(r.left)
	if errors.Is(r.halted, errFailed) {
		lines = append(lines, "The other nodes are as they were. Look at the node's log (mycelium node logs), then roll out another version, or the same one with --force.")
	} else {
		lines = append(lines, "The same command goes on from here once that is mended.")
	}
	return strings.Join(lines, "\n")
}

// errFailed marks that the version itself failed on a node.
var errFailed = errors.New("rolled back")
