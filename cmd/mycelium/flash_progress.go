package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/flash"
)

// flashProgress shows how far the writing of an image is: on one line of a
// terminal, else with a line now and then.
type flashProgress struct {
	w        io.Writer
	now      func() time.Time
	terminal bool
	began    time.Time
	phase    flash.Phase
	phaseAt  time.Time
	shown    time.Time
	open     bool // the line has no end yet
}

func newFlashProgress(w io.Writer, now func() time.Time) *flashProgress {
	f, ok := w.(*os.File)
	return &flashProgress{w: w, now: now, began: now(), terminal: ok && term.IsTerminal(int(f.Fd()))}
}

func (p *flashProgress) elapsed() time.Duration { return p.now().Sub(p.began) }

// see is told how far it is.
func (p *flashProgress) see(phase flash.Phase, done, total int64) {
	now := p.now()
	if phase != p.phase {
		p.close()
		p.phase, p.phaseAt, p.shown = phase, now, now
	}
	every := 10 * time.Second
	if p.terminal {
		every = 200 * time.Millisecond
	}
	if now.Sub(p.shown) < every && done < total {
		return
	}
	p.shown = now
	line := progressLine(phase, done, total, now.Sub(p.phaseAt))
	if !p.terminal {
		fmt.Fprintln(p.w, line)
		return
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	p.open = true
}

// close ends the line.
func (p *flashProgress) close() {
	if p.open {
		fmt.Fprintln(p.w)
		p.open = false
	}
}

// progressLine says how far a phase is that has taken so long.
func progressLine(phase flash.Phase, done, total int64, took time.Duration) string {
	line := fmt.Sprintf("%-9s %3d %%  %d of %d MiB", phase, done*100/max(total, 1), (done+1<<20-1)>>20, (total+1<<20-1)>>20)
	if took < time.Second || done == 0 {
		return line
	}
	speed := float64(done) / took.Seconds()
	line += fmt.Sprintf("  %.1f MiB/s", speed/(1<<20))
	if done < total {
		left := time.Duration(float64(total-done) / speed * float64(time.Second))
		line += fmt.Sprintf("  %v left", left.Round(time.Second))
	}
	return line
}
