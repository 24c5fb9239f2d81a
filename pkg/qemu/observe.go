package qemu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
)

const (
	// observeEvery is how often an observer looks at a node.
	observeEvery = time.Second
	// statusTimeout bounds one request for a node's status.
	statusTimeout = 8 * time.Second
	// firstTimeout bounds it until one was answered: a forwarded port that the
	// guest does not serve yet accepts the connection and then stays silent.
	firstTimeout = 2500 * time.Millisecond
)

// Observation is what is known of a node from outside and from itself.
type Observation struct {
	Node string
	// Running says whether the machine is on.
	Running bool
	// Elapsed is how long since it was started.
	Elapsed time.Duration
	// Boot is what the console has told.
	Boot Boot
	// Status is what the machine API last answered in this boot, nil before it
	// has; Err is why it did not answer the last time.
	Status *api.Status
	Err    error
}

// Ready reports whether the node is a Ready Kubernetes node.
func (o Observation) Ready() bool {
	return o.Running && o.Status != nil && o.Status.Kubernetes.NodeReady
}

// APIUp reports whether the node's Kubernetes API answers.
func (o Observation) APIUp() bool { return o.Running && o.Status != nil && o.Status.Kubernetes.APIUp }

// Stage says in a few words how far the node is.
func (o Observation) Stage() string {
	switch {
	case !o.Running:
		return "off"
	case o.Status == nil || o.Boot.End() != "" || o.Boot.Shutdown != "":
		return o.Boot.Stage()
	case o.Ready():
		return "Ready"
	case o.Status.Phase != "running":
		return o.Status.Phase
	case !o.Status.Kubernetes.APIUp:
		return "Kubernetes API starting"
	}
	return "node not Ready"
}

// Problems are all that is known to be wrong. Once the node reports its
// problems itself, the console adds only why the boot cannot go on.
func (o Observation) Problems() []string {
	if o.Status == nil {
		if p := o.Boot.Problem(); p != "" {
			return []string{p}
		}
		return nil
	}
	var out []string
	if end := o.Boot.End(); end != "" {
		out = append(out, end)
	}
	out = append(out, o.Status.Problems...)
	for _, s := range o.Status.Services {
		if s.LastError != "" && s.State != "running" {
			out = append(out, fmt.Sprintf("service %s (%s, %d restarts): %s", s.Name, s.State, s.Restarts, s.LastError))
		}
	}
	if k := o.Status.Kubernetes; k.APIUp && !k.NodeReady && k.Reason != "" {
		out = append(out, "node not Ready: "+k.Reason)
	}
	return out
}

// Observer follows one node. It is not safe for concurrent use; the caller
// must close it.
type Observer struct {
	node   *Node
	client *api.Client // nil before the first call
	offset int64
	since  time.Time
	boot   Boot
	status *api.Status
}

// Observe begins to follow the node from its last start on.
func (n *Node) Observe() *Observer { return &Observer{node: n} }

// Close ends the observer's connections.
func (o *Observer) Close() {
	if o.client != nil {
		o.client.Close()
	}
}

// Look returns what is known now. It takes at most some seconds.
func (o *Observer) Look(ctx context.Context) (Observation, error) {
	seen := Observation{Node: o.node.name}
	r, err := readRun(o.node.path(processFile))
	if err != nil {
		return seen, err
	}
	if !r.Since.Equal(o.since) { // started again since the last look
		o.since, o.offset, o.boot, o.status = r.Since, r.Console, Boot{}, nil
	}
	if seen.Running, err = r.running(); err != nil {
		return seen, err
	}
	piece, err := o.node.ConsoleFrom(o.offset)
	if err != nil {
		return seen, err
	}
	boots := o.boot.Boots
	o.offset += int64(len(piece))
	o.boot.Feed(piece)
	if o.boot.Boots != boots {
		o.status = nil
	}
	if seen.Running && o.boot.Version != "" && o.node.Spec().Identity != (Identity{}) {
		seen.Err = o.ask(ctx)
	}
	seen.Boot, seen.Status = o.boot, o.status
	seen.Boot.Done = slices.Clone(o.boot.Done)
	if !r.Since.IsZero() {
		seen.Elapsed = time.Since(r.Since)
	}
	return seen, nil
}

// ask asks the node for its status.
func (o *Observer) ask(ctx context.Context) (err error) {
	if o.client == nil {
		if o.client, err = o.node.Client(ctx); err != nil {
			return err
		}
	}
	timeout := statusTimeout
	if o.status == nil {
		timeout = firstTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	status, err := o.node.ask(limited, o.client)
	if status != nil {
		o.status = status
	}
	if errors.Is(err, identity.ErrWrongPeer) { // enrolled anew, with another key
		o.Close()
		o.client = nil
	}
	return err
}

// Follow looks at the node once a second and hands each observation to f, until
// f returns false or ctx ends, whose error it then returns.
func (o *Observer) Follow(ctx context.Context, f func(Observation) bool) error {
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	for {
		seen, err := o.Look(ctx)
		if err != nil {
			return err
		}
		if !f(seen) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
