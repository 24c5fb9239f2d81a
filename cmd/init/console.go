package main

import (
	"os"
	"strings"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/events"
	"github.com/digital-mycelium/os/pkg/api"
)

// console prints lines on the serial consoles and, until the dashboard draws
// there, on the screen. It never waits for a terminal: a line that a blocked
// terminal cannot take is dropped.
type console struct {
	lines   chan consoleLine
	events  *events.Log
	control chan func()
	serial  []*os.File
	screen  *os.File
	// showOnScreen is owned by run.
	showOnScreen bool
}

type consoleLine struct {
	text string
	done chan struct{} // closed when printed; may be nil
}

func newConsole() *console {
	c := &console{lines: make(chan consoleLine, 256), events: events.New(eventsKept), control: make(chan func()), serial: []*os.File{os.Stdout}, showOnScreen: true}
	go c.run()
	return c
}

func (c *console) run() {
	for {
		select {
		case f := <-c.control:
			f()
		case l := <-c.lines:
			if l.text != "" {
				c.write(l.text)
			}
			if l.done != nil {
				close(l.done)
			}
		}
	}
}

// write prints on every terminal; an error (a terminal that is gone) has no
// better place to be reported.
func (c *console) write(text string) {
	text = strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\r\n") + "\r\n"
	for _, f := range c.serial {
		_, _ = f.WriteString(text)
	}
	if c.screen != nil && c.showOnScreen {
		_, _ = c.screen.WriteString(text)
	}
}

// print prints text, which may have several lines.
func (c *console) print(text string) {
	select {
	case c.lines <- consoleLine{text: text}:
	default:
	}
}

// eventsKept is how many events the machine API can still show.
const eventsKept = 1000

// event notes an event for the machine API and prints its line.
func (c *console) event(e api.ConsoleEvent) {
	c.events.Add(e)
	c.print(e.String())
}

// flush waits until what was printed so far is out, at most for limit.
func (c *console) flush(limit time.Duration) {
	done := make(chan struct{})
	timeout := time.After(limit)
	select {
	case c.lines <- consoleLine{done: done}:
	case <-timeout:
		return
	}
	select {
	case <-done:
	case <-timeout:
	}
}

// attach finds the terminals that the kernel uses as consoles, once /dev and
// /sys are there. The kernel opened only the last one for us.
func (c *console) attach() {
	serial, hasScreen := splitConsoles(readLine("/sys/class/tty/console/active"))
	var files []*os.File
	for _, name := range serial {
		if f, err := os.OpenFile("/dev/"+name, os.O_WRONLY|oNoCTTY, 0); err == nil {
			files = append(files, f)
		}
	}
	var screen *os.File
	if hasScreen {
		screen, _ = os.OpenFile("/dev/tty0", os.O_WRONLY|oNoCTTY, 0)
	}
	if len(files) == 0 && screen == nil {
		return // keep the one that the kernel opened
	}
	c.control <- func() { c.serial, c.screen = files, screen }
}

// showLines takes the screen back from the dashboard, or leaves it to it.
func (c *console) showLines(on bool) { c.control <- func() { c.showOnScreen = on } }

// splitConsoles tells the screen (tty0, tty1, ...) from other consoles, given
// the kernel's list of active ones.
func splitConsoles(active string) (serial []string, screen bool) {
	for _, name := range strings.Fields(active) {
		if digits, isTTY := strings.CutPrefix(name, "tty"); isTTY && strings.Trim(digits, "0123456789") == "" {
			screen = true
			continue
		}
		serial = append(serial, name)
	}
	return serial, screen
}
