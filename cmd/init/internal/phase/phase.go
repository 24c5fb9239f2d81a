// Package phase runs the steps of a boot, one after the other, and reports how
// each of them ended.
package phase

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// Phase is one step of the boot.
type Phase struct {
	Name string
	// Fatal says that the boot cannot go on when the phase fails.
	Fatal bool
	Run   func(ctx context.Context) error
}

// Result is how a phase went.
type Result struct {
	Name string
	// Start is when the phase began, Seconds how long it took.
	Start   time.Time
	Seconds float64
	// Err is why it failed, nil when it did not.
	Err error
	// Done is false in the report that the phase begins.
	Done bool
}

// PanicError is a panic inside a phase.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Run runs the phases in order. report is called when each begins and ends. A
// fatal phase that fails ends the run; a panic is such a failure in any phase.
// The error names the phase.
func Run(ctx context.Context, phases []Phase, now func() time.Time, report func(Result)) error {
	for _, p := range phases {
		r := Result{Name: p.Name, Start: now()}
		report(r)
		r.Err = guard(ctx, p.Run)
		r.Seconds, r.Done = now().Sub(r.Start).Seconds(), true
		report(r)
		var panicked *PanicError
		if r.Err != nil && (p.Fatal || errors.As(r.Err, &panicked)) {
			return fmt.Errorf("phase %s: %w", p.Name, r.Err)
		}
	}
	return nil
}

// guard calls run and turns a panic into an error.
func guard(ctx context.Context, run func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return run(ctx)
}
