package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/plaintext"
)

// answer is what one node said to a question.
type answer[T any] struct {
	Node string `json:"node"`
	// Error is why there is no result.
	Error  string `json:"error,omitempty"`
	Result *T     `json:"result,omitempty"`
	err    error
}

// patient bounds how long a node may take to answer a question; an emulated one
// needs long while it boots.
const patient = 30 * time.Second

// ask asks all nodes at once, in the order of which the answers are. It says
// for whom it waits when that takes longer than a second.
func ask[T any](cmd *cobra.Command, fl *fleet, nodes []nodeRef, f func(context.Context, nodeClient) (T, error)) []answer[T] {
	out := make([]answer[T], len(nodes))
	w := beginWaiting(cmd, nodes)
	defer w.stop()
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			defer w.done(n.Name)
			out[i] = answer[T]{Node: n.Name}
			ctx, cancel := context.WithTimeout(cmd.Context(), patient)
			defer cancel()
			v, err := call(ctx, fl, n, f)
			if errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("no answer within %v: look at the machine's screen, or at the network between: %w", patient, err)
			}
			if err != nil {
				out[i].err, out[i].Error = err, err.Error()
				return
			}
			out[i].Result = &v
		})
	}
	wg.Wait()
	return out
}

// call asks one node.
func call[T any](ctx context.Context, fl *fleet, n nodeRef, f func(context.Context, nodeClient) (T, error)) (T, error) {
	var none T
	c, err := fl.client(ctx, n)
	if err != nil {
		return none, err
	}
	defer c.Close()
	return f(ctx, c)
}

// failed prints why nodes failed and returns the error for all of them, nil when
// none did.
func failed[T any](cmd *cobra.Command, answers []answer[T]) error {
	var names []string
	var errs []error
	for _, a := range answers {
		if a.err != nil {
			names, errs = append(names, a.Node), append(errs, a.err)
		}
	}
	switch {
	case len(errs) == 0:
		return nil
	case len(answers) == 1:
		return fmt.Errorf("%s: %w", names[0], errs[0])
	}
	for i, err := range errs {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", names[i], plaintext.Line(err.Error()))
	}
	return &failedNodesError{names: names, total: len(answers), err: errors.Join(errs...)}
}

// failedNodesError says which of several nodes failed; why has been printed.
type failedNodesError struct {
	names []string
	total int
	err   error
}

func (e *failedNodesError) Error() string {
	return fmt.Sprintf("%d of %d nodes failed: %s", len(e.names), e.total, strings.Join(e.names, ", "))
}

func (e *failedNodesError) Unwrap() error { return e.err }

// sayFunc tells the person how it goes on with a node.
type sayFunc func(format string, args ...any)

// act lets all nodes do something at once. What f says goes to standard error
// with the node's name before it, as does how it ended.
func act(cmd *cobra.Command, fl *fleet, nodes []nodeRef, f func(ctx context.Context, n nodeRef, c nodeClient, say sayFunc) error) error {
	out := make([]answer[struct{}], len(nodes))
	say := &prefixed{w: cmd.ErrOrStderr(), names: refNames(nodes)}
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			out[i] = answer[struct{}]{Node: n.Name}
			_, out[i].err = call(cmd.Context(), fl, n, func(ctx context.Context, c nodeClient) (struct{}, error) {
				return struct{}{}, f(ctx, n, c, func(format string, args ...any) { say.line(n.Name, fmt.Sprintf(format, args...)) })
			})
		})
	}
	wg.Wait()
	err := failed(cmd, out)
	if len(nodes) > 1 && err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "all %d nodes done\n", len(nodes))
	}
	return err
}

// prefixed writes whole lines of several nodes, each with the node's name before it.
type prefixed struct {
	mu    sync.Mutex
	w     io.Writer
	names []string
	// raw writes what is written as it is; else nothing can steer a terminal.
	raw bool
	// bare leaves the names out where there is only one.
	bare bool
}

func (p *prefixed) line(name, text string) {
	if !p.raw {
		text = plaintext.Line(text)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bare && len(p.names) == 1 {
		fmt.Fprintln(p.w, text)
		return
	}
	width := 0
	for _, n := range p.names {
		width = max(width, len(n))
	}
	fmt.Fprintf(p.w, "%-*s  %s\n", width, name, text)
}

// write writes something as a whole.
func (p *prefixed) write(f func(io.Writer) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return f(p.w)
}

// waiting says for whom a command waits.
type waiting struct {
	mu    sync.Mutex
	names []string
	timer *time.Timer
}

// patience is how long nothing is said.
const patience = time.Second

func beginWaiting(cmd *cobra.Command, nodes []nodeRef) *waiting {
	w := &waiting{names: refNames(nodes)}
	w.timer = time.AfterFunc(patience, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.names) > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "Waiting for %s …\n", strings.Join(w.names, ", "))
		}
	})
	return w
}

func (w *waiting) done(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.names, name); i >= 0 {
		w.names = slices.Delete(w.names, i, i+1)
	}
}

func (w *waiting) stop() { w.timer.Stop() }
