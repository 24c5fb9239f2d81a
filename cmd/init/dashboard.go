package main

import (
	"context"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/dash"
	"github.com/digital-mycelium/os/pkg/api"
)

// announce prints on the serial console what changes in the status, a line each.
func (m *machine) announce(ctx context.Context) {
	old := api.Status{}
	for {
		s, changed := m.board.Get()
		for _, e := range dash.Diff(old, s, uptime().Seconds()) {
			m.console.event(e)
		}
		old = s
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

const (
	// redrawPause is the least time between two drawings of the screen.
	redrawPause = time.Second
	// redrawAnyway is when it is drawn although nothing happened: the clock and
	// the memory have changed, the kernel may have written over it.
	redrawAnyway = 30 * time.Second
	// redrawHidden is when a screen that shows something else is looked at again.
	redrawHidden = 5 * time.Second
)

// dashboard draws the overview on the machine's screen, if it has one.
func (m *machine) dashboard(ctx context.Context) {
	screen, err := os.OpenFile("/dev/tty1", os.O_WRONLY|oNoCTTY, 0)
	if err != nil {
		m.log.Info("no screen", "error", err)
		return
	}
	defer screen.Close()
	shown := false
	for {
		s, changed := m.board.Get()
		if show := m.config().Console.ShowDashboard() && !m.menuOpen.Load(); show != shown {
			m.console.showLines(!show)
			shown = show
		}
		if !shown {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			case <-time.After(redrawHidden):
			}
			continue
		}
		width, height := screenSize(screen)
		log, _, _ := m.logs.Get("init").Tail(height)
		view := dash.View{Status: s, Uptime: uptime(), Log: strings.Split(strings.TrimRight(string(log), "\n"), "\n")}
		if _, err := screen.WriteString(paint(dash.Render(view, width-1, height))); err != nil {
			m.log.Warn("cannot draw on the screen", "error", err)
			return
		}
		if !sleep(ctx, redrawPause) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(redrawAnyway):
		}
	}
}

// paint returns what makes a terminal show lines and nothing else: every line
// is overwritten in place, so that nothing flickers. The lines must be shorter
// than the terminal is wide: behind the last column, "erase to the end of the
// line" takes that column with it.
func paint(lines []string) string {
	var b strings.Builder
	b.WriteString("\x1b[?25l\x1b[9;0]\x1b[H") // no cursor, no blanking, top left
	for i, l := range lines {
		b.WriteString(l + "\x1b[K") // and nothing behind it
		if i < len(lines)-1 {
			b.WriteString("\r\n")
		}
	}
	b.WriteString("\x1b[J")
	return b.String()
}

// screenSize returns the terminal's columns and lines.
func screenSize(f *os.File) (width, height int) {
	ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || ws.Col == 0 || ws.Row == 0 {
		return 80, 25
	}
	return int(ws.Col), int(ws.Row)
}
