package main

import (
	"bufio"
	"context"
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
		m.spawn(func() { m.installMenu(ctx, f, &menu) })
	}
	if m.live.medium != nil {
		m.console.event(api.ConsoleEvent{Kind: api.EventInstall, Text: install.Hint})
	}
}

// installMenu serves one terminal until that is gone.
func (m *machine) installMenu(ctx context.Context, f *os.File, others *sync.Mutex) {
	defer f.Close()
	var menu install.Menu
	for lines := bufio.NewScanner(f); lines.Scan(); {
		before := menu.Busy()
		if !before && !others.TryLock() {
			continue
		}
		answer, order := menu.Line(lines.Text(), m.targets)
		m.menuOpen.Store(menu.Busy())
		if answer != "" {
			_, _ = f.WriteString("\x1b[?25h\r\n" + strings.ReplaceAll(answer, "\n", "\r\n") + "\r\n")
		}
		if !menu.Busy() {
			others.Unlock()
		}
		if order == nil {
			continue
		}
		if err := m.install(ctx, installRequest{Order: *order}); err != nil {
			_, _ = f.WriteString(strings.ReplaceAll(err.Error(), "\n", "\r\n") + "\r\n")
			continue
		}
		m.afterInstall(api.InstallReboot)
	}
}
