package image

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress prints a line when a step begins and when it ends. Steps may run
// side by side.
type progress struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
	now   func() time.Time
}

func newProgress(w io.Writer, now func() time.Time) *progress {
	return &progress{w: w, start: now(), now: now}
}

// step runs do and names the step in its error. what is said when it ends.
func (p *progress) step(name string, do func() (what string, err error)) error {
	began := p.now()
	p.print("%-14s ...", name)
	what, err := do()
	took := p.now().Sub(began).Seconds()
	if err != nil {
		p.print("%-14s failed after %.1f s", name, took)
		return fmt.Errorf("%s: %w", name, err)
	}
	p.print("%-14s %s (%.1f s)", name, what, took)
	return nil
}

func (p *progress) print(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "%7.1f s  "+format+"\n", append([]any{p.now().Sub(p.start).Seconds()}, args...)...)
}
