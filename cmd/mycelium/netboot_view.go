package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/digital-mycelium/os/pkg/netboot"
)

// netbootView shows what the machines do: a line for each, kept up to date, on a
// terminal; a line for each change otherwise. It is safe for concurrent use.
type netbootView struct {
	w     io.Writer
	width func() int // nil: no terminal
	now   func() time.Time

	mu    sync.Mutex
	order []netboot.MAC
	last  map[netboot.MAC]netboot.Machine
	drawn int // lines on the screen
	at    time.Time
}

// redraw bounds how often bytes on their way are shown.
const redraw = 200 * time.Millisecond

func newNetbootView(w io.Writer) *netbootView {
	v := &netbootView{w: w, now: time.Now, last: map[netboot.MAC]netboot.Machine{}}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		v.width = func() int {
			width, _, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 80
			}
			return width
		}
	}
	return v
}

// see shows a change of a machine.
func (v *netbootView) see(m netboot.Machine) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before, known := v.last[m.MAC]
	if !known {
		v.order = append(v.order, m.MAC)
	}
	v.last[m.MAC] = m
	moved := netbootChange(before, m)
	if v.width == nil {
		if moved != "" {
			fmt.Fprintf(v.w, "%s  %s  %s\n", v.now().Format(time.TimeOnly), m.MAC, moved)
		}
		return
	}
	if moved != "" || v.now().Sub(v.at) >= redraw {
		v.draw()
	}
}

// log returns a writer for log lines, which stand above the live view.
func (v *netbootView) log(w io.Writer) io.Writer {
	return lockedWriter{w: w, around: func(write func()) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.drawn > 0 {
			fmt.Fprintf(v.w, "\x1b[%dA\r\x1b[J", v.drawn)
			v.drawn = 0
		}
		write()
		if v.width != nil {
			v.draw()
		}
	}}
}

// close leaves the last picture standing.
func (v *netbootView) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.width != nil {
		v.draw()
	}
	v.drawn = 0
}

func (v *netbootView) draw() {
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	for _, mac := range v.order {
		fmt.Fprintf(&b, "\r\x1b[K%s\n", cut(netbootLine(v.last[mac]), v.width()-1))
	}
	v.drawn, v.at = len(v.order), v.now()
	fmt.Fprint(v.w, b.String())
}

// netbootLine is a machine's line of the live view.
func netbootLine(m netboot.Machine) string {
	mark := "…"
	switch {
	case m.Problem != "" || m.State == netboot.Failed:
		mark = "!"
	case m.State == netboot.Started, m.State == netboot.Configured, m.State == netboot.Installed, m.State == netboot.OwnDisk:
		mark = "✓"
	}
	return strings.TrimRight(fmt.Sprintf("%s %s  %-4s %-10s  %-15s  %-10s  %s", mark, m.MAC, m.Way, platformName(m), addressText(m), m.State, netbootDetail(m)), " ")
}

func platformName(m netboot.Machine) string {
	switch {
	case m.Platform.Arch == "":
		return ""
	case m.Way == netboot.Pi:
		return m.Platform.Arch
	}
	return m.Platform.String()
}

func addressText(m netboot.Machine) string {
	if !m.Address.IsValid() {
		return ""
	}
	return m.Address.String()
}

// netbootDetail is what the machine fetches or says.
func netbootDetail(m netboot.Machine) string {
	switch {
	case m.Problem != "":
		return m.Problem
	case m.Report.Phase != "":
		return strings.TrimRight(fmt.Sprintf("%s %d %% %s", m.Report.Phase, m.Report.Percent, m.Report.Message), " ")
	case m.State == netboot.Asked && m.File == "", m.State == netboot.OwnDisk:
		return ""
	case m.Size > 0:
		return fmt.Sprintf("%s %3d %% of %.1f MiB", m.File, 100*m.Sent/m.Size, float64(m.Size)/(1<<20))
	}
	return m.File
}

// netbootChange says what is new of a machine, in a line; nothing when it is
// only that more of a file was sent.
func netbootChange(before, now netboot.Machine) string {
	if now.Problem != "" {
		if before.Problem == now.Problem {
			return ""
		}
		return "problem: " + now.Problem
	}
	if now.Report != before.Report && now.Report.Phase != "" {
		return fmt.Sprintf("says: %s", netbootDetail(now))
	}
	if now.State == before.State && now.Way == before.Way || now.State == "" {
		return ""
	}
	text := string(now.State)
	switch now.State {
	case netboot.Asked:
		text = fmt.Sprintf("asks what to boot: %s, %s", now.Way, platformName(now))
	case netboot.Loading, netboot.Fetching:
		text = fmt.Sprintf("fetches %s, %.1f MiB, at %s", now.File, float64(now.Size)/(1<<20), now.Address)
	case netboot.Scripted:
		text = "has its script"
		if now.Way == netboot.Pi {
			text = "has its command line"
		}
	case netboot.Started:
		text = "has the operating system and starts it"
	case netboot.Configured:
		text = "has its configuration"
	case netboot.OwnDisk:
		text = "is installed and boots its disk"
	}
	return text
}
