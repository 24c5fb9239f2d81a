package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/plaintext"
	"github.com/digital-mycelium/os/pkg/api"
)

// nodeLines shows how it goes on with each node: one line for each, kept up to date
// on a terminal; elsewhere a line for each change. It is safe for concurrent use.
type nodeLines struct {
	w     io.Writer
	names []string
	width func() int // nil when w is no terminal

	mu    sync.Mutex
	live  map[string]string
	said  map[string]string
	drawn int
}

func newNodeLines(w io.Writer, names []string) *nodeLines {
	l := &nodeLines{w: w, names: names, live: map[string]string{}, said: map[string]string{}}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		l.width = func() int {
			width, _, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 80
			}
			return width
		}
	}
	return l
}

// set says how it is with a node: in words that are worth a line of a log, and what
// only a terminal shows, which changes all the time.
func (l *nodeLines) set(name, words, more string) {
	words, more = plaintext.Line(words), plaintext.Line(more)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.width == nil {
		if words != "" && l.said[name] != words {
			l.said[name] = words
			fmt.Fprintln(l.w, l.line(name, words))
		}
		return
	}
	l.live[name] = strings.TrimSpace(words + "  " + more)
	l.draw("")
}

// say prints something about a node that stays.
func (l *nodeLines) say(name, format string, args ...any) {
	text := l.line(name, plaintext.Line(fmt.Sprintf(format, args...)))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.width == nil {
		fmt.Fprintln(l.w, text)
		return
	}
	l.draw(text)
}

// Write prints lines that stay, about no node of its own.
func (l *nodeLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.width == nil {
		return l.w.Write(p)
	}
	l.draw(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

func (l *nodeLines) line(name, text string) string {
	width := 0
	for _, n := range l.names {
		width = max(width, len(n))
	}
	return fmt.Sprintf("%-*s  %s", width, name, text)
}

// draw draws the lines over themselves; above goes before them and stays.
func (l *nodeLines) draw(above string) {
	var b strings.Builder
	if l.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", l.drawn)
	}
	if above != "" {
		fmt.Fprintf(&b, "\r\x1b[K%s\n", strings.ReplaceAll(above, "\n", "\n\x1b[K"))
	}
	for _, name := range l.names {
		fmt.Fprintf(&b, "\r\x1b[K%s\n", cut(l.line(name, l.live[name]), l.width()-1))
	}
	l.drawn = len(l.names)
	fmt.Fprint(l.w, b.String())
}

// bar shows done of total.
func bar(done, total uint64) string {
	const cells = 20
	if total == 0 {
		return ""
	}
	done = min(done, total)
	full := int(done * cells / total)
	return fmt.Sprintf("%s%s %3d%%", strings.Repeat("█", full), strings.Repeat("░", cells-full), done*100/total)
}

// activityText says what a node does to update: in words, and how far it is.
func activityText(a *api.UpdateActivity) (words, more string) {
	if a == nil {
		return "", ""
	}
	words = strings.TrimSpace(a.Stage + " " + a.Version)
	if a.Total == 0 {
		return words, ""
	}
	more = fmt.Sprintf("%s of %s", bar(a.Local+a.Peers+a.Server, a.Total), size(a.Total))
	if saved := savedText(a); saved != "" {
		more += ", " + saved
	}
	return words, more
}

// savedText says what did not have to come from the release server.
func savedText(a *api.UpdateActivity) string {
	var from []string
	if a.Local > 0 {
		from = append(from, size(a.Local)+" by what runs")
	}
	if a.Peers > 0 {
		from = append(from, size(a.Peers)+" by peers")
	}
	if len(from) == 0 {
		return ""
	}
	return "saved " + strings.Join(from, " and ")
}
