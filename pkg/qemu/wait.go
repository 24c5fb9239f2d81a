package qemu

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Condition is what to wait for.
type Condition string

// The conditions: the node is a Ready Kubernetes node; its Kubernetes API
// answers; nothing.
const (
	WaitReady Condition = "ready"
	WaitAPI   Condition = "api"
	WaitNone  Condition = "none"
)

// ParseCondition reads a condition.
func ParseCondition(s string) (Condition, error) {
	switch c := Condition(s); c {
	case WaitReady, WaitAPI, WaitNone:
		return c, nil
	}
	return "", fmt.Errorf("unknown condition %q: use %s, %s or %s", s, WaitReady, WaitAPI, WaitNone)
}

// Met reports whether o meets the condition.
func (c Condition) Met(o Observation) bool {
	switch c {
	case WaitReady:
		return o.Ready()
	case WaitAPI:
		return o.APIUp()
	}
	return true
}

// WaitError says why a node did not become what was waited for.
type WaitError struct {
	Condition Condition
	// Last is the last observation, Console the console's last lines.
	Last    Observation
	Console string
	// Err is why the wait ended.
	Err error
}

func (e *WaitError) Unwrap() error { return e.Err }

func (e *WaitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %s did not become %s: %v\n  stage: %s, %.0f s after its start", e.Last.Node, e.Condition,
		e.Err, e.Last.Stage(), e.Last.Elapsed.Seconds())
	for _, p := range e.Last.Problems() {
		fmt.Fprintf(&b, "\n  problem: %s", p)
	}
	if e.Last.Running && e.Last.Err != nil {
		fmt.Fprintf(&b, "\n  machine API: %v", e.Last.Err)
	}
	if e.Console != "" {
		fmt.Fprintf(&b, "\n  last console lines:\n    %s", strings.ReplaceAll(e.Console, "\n", "\n    "))
	}
	return b.String()
}

var errEndedEarly = errors.New("the machine went off")

// Until waits until the node meets the condition and returns the last
// observation; each observation also goes to see, unless that is nil. It fails
// with a *WaitError when the machine goes off or ctx ends before.
func (n *Node) Until(ctx context.Context, c Condition, see func(Observation)) (Observation, error) {
	o := n.Observe()
	defer o.Close()
	var last Observation
	err := o.Follow(ctx, func(seen Observation) bool {
		last = seen
		if see != nil {
			see(seen)
		}
		return seen.Running && !c.Met(seen)
	})
	if err == nil && !c.Met(last) {
		err = outputError(n.path(outputFile), errEndedEarly)
	}
	if err == nil {
		return last, nil
	}
	console, readErr := n.ConsoleLog()
	if readErr != nil {
		err = errors.Join(err, readErr)
	}
	return last, &WaitError{Condition: c, Last: last, Console: LastLines(console, 12), Err: err}
}

// Wait waits until every node meets the condition, as Node.Until does. Calls
// of see come one at a time.
func (n *Network) Wait(ctx context.Context, c Condition, see func(Observation)) error {
	if c == WaitNone {
		return nil
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := make([]error, len(n.nodes))
	for i, node := range n.nodes {
		wg.Go(func() {
			_, errs[i] = node.Until(ctx, c, func(o Observation) {
				mu.Lock()
				defer mu.Unlock()
				if see != nil {
					see(o)
				}
			})
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
