package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// progress shows how a network's nodes come up.
type progress struct {
	show display
}

// display is one way to show it. It is called from one goroutine at a time.
type display interface {
	see(qemu.Observation)
	close()
}

// newProgress shows a live view on a terminal, a line for each change otherwise.
func newProgress(w io.Writer, network *qemu.Network) *progress {
	f, ok := w.(*os.File)
	if ok && term.IsTerminal(int(f.Fd())) {
		var names []string
		for _, n := range network.Nodes() {
			names = append(names, n.Name())
		}
		return &progress{&liveView{w: w, names: names, width: func() int {
			width, _, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 80
			}
			return width
		}}}
	}
	return &progress{&changeLog{w: w}}
}

func (p *progress) see(o qemu.Observation) { p.show.see(o) }
func (p *progress) close()                 { p.show.close() }

// changeLog writes a line for each change.
type changeLog struct {
	w    io.Writer
	last map[string]qemu.Observation
}

func (c *changeLog) see(o qemu.Observation) {
	if c.last == nil {
		c.last = map[string]qemu.Observation{}
	}
	for _, line := range changes(c.last[o.Node], o) {
		fmt.Fprintf(c.w, "%6.1fs  %s  %s\n", o.Elapsed.Seconds(), o.Node, line)
	}
	c.last[o.Node] = o
}

func (c *changeLog) close() {}

// changes says what is new in now since before.
func changes(before, now qemu.Observation) []string {
	var out []string
	done := before.Boot.Done
	if before.Boot.Boots != now.Boot.Boots {
		if before.Boot.Boots > 0 {
			out = append(out, "started again")
		}
		out = append(out, "init "+now.Boot.Version+" started")
		done = nil
	}
	for _, p := range now.Boot.Done[min(len(done), len(now.Boot.Done)):] {
		out = append(out, fmt.Sprintf("phase %s ok %.3fs", p.Name, p.Seconds))
	}
	if key := now.Boot.Key; key != before.Boot.Key && key != (identity.PublicKey{}) {
		out = append(out, "shows its key "+key.String())
	}
	had := before.Problems()
	for _, p := range now.Problems() {
		if !slices.Contains(had, p) {
			out = append(out, "problem: "+p)
		}
	}
	if stage := now.Stage(); stage != before.Stage() && (now.Status != nil || now.Boot.Version == "") {
		out = append(out, stage)
	}
	return out
}

// liveView keeps one line for each node up to date.
type liveView struct {
	w     io.Writer
	width func() int
	names []string
	last  map[string]qemu.Observation
	drawn int // lines on the screen
}

func (v *liveView) see(o qemu.Observation) {
	if v.last == nil {
		v.last = map[string]qemu.Observation{}
	}
	v.last[o.Node] = o
	v.draw()
}

// close leaves the last picture standing.
func (v *liveView) close() { v.drawn = 0 }

func (v *liveView) draw() {
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	lines := viewLines(v.names, v.last)
	for _, line := range lines {
		fmt.Fprintf(&b, "\r\x1b[K%s\n", cut(line, v.width()-1))
	}
	v.drawn = len(lines)
	fmt.Fprint(v.w, b.String())
}

// viewLines is the live view's text: a line for each node, then their problems.
func viewLines(names []string, last map[string]qemu.Observation) []string {
	var lines []string
	for _, name := range names {
		lines = append(lines, nodeLine(name, last[name]))
	}
	return lines
}

func nodeLine(name string, o qemu.Observation) string {
	mark := "…"
	problems := o.Problems()
	switch {
	case o.Ready():
		mark = "✓"
	case len(problems) > 0:
		mark = "!"
	}
	line := fmt.Sprintf("%s %-10s %6.1fs  %-24s", mark, name, o.Elapsed.Seconds(), o.Stage())
	if s := o.Status; s != nil {
		line += fmt.Sprintf(" %4d of %d MiB used", (s.Memory.Total-s.Memory.Available)>>20, s.Memory.Total>>20)
		for _, service := range s.Services {
			line += fmt.Sprintf("  %s %s", service.Name, service.State)
		}
	}
	if len(problems) > 0 && !o.Ready() {
		line += "  " + problems[0]
	}
	return line
}

// cut shortens a line to width characters.
func cut(line string, width int) string {
	if width < 1 || utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:width-1]) + "…"
}
