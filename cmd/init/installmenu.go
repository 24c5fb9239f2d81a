package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/install"
	"github.com/digital-mycelium/os/pkg/api"
)

// offerInstall lets whoever is at the machine install it, on every terminal that is
// a console: the lines come from the terminal itself, with its own editing.
func (m *machine) offerInstall(ctx context.Context) {
	if m.live == nil {
		return
	}
	names, screen := splitConsoles(readLine("/sys/class/tty/console/active"))
	if screen {
		names = append(names, "tty1")
	}
	var menu sync.Mutex // one person at a time has the word
	for _, name := range names {
		f, err := os.OpenFile("/dev/"+name, os.O_RDWR|oNoCTTY, 0)
		if err != nil {
			m.log.Info("no menu", "terminal", name, "error", err)
			continue
		}
		_ = unix.IoctlSetInt(int(f.Fd()), unix.TCFLSH, unix.TCIFLUSH) // what a firmware left
		m.spawn(func() {
			defer f.Close()
			m.installMenu(f, &menu, m.targets, func(o install.Order) error {
				err := m.install(ctx, installRequest{Order: o})
				if err == nil {
					m.afterInstall(api.InstallReboot)
				}
				return err
			})
		})
	}
	if m.live.medium != nil {
		m.console.event(api.ConsoleEvent{Kind: api.EventInstall, Text: install.Hint})
	}
}

// installMenu serves one terminal until that is gone.
func (m *machine) installMenu(f io.ReadWriter, others *sync.Mutex, disks func() []install.Disk, do func(install.Order) error) {
	say := func(text string) {
		_, _ = io.WriteString(f, strings.ReplaceAll(text, "\n", "\r\n")+"\r\n")
	}
	var menu install.Menu
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if !menu.Busy() && !others.TryLock() {
			continue
		}
		answer, order := menu.Line(lines.Text(), disks)
		m.menuOpen.Store(menu.Busy())
		if answer != "" {
			say("\x1b[?25h\n" + answer) // with the cursor, which the overview hides
		}
		if order != nil {
			if err := do(*order); err != nil {
				say(err.Error())
			}
		}
		if !menu.Busy() {
			others.Unlock()
		}
	}
	if menu.Busy() {
		m.menuOpen.Store(false)
		others.Unlock()
	}
}
