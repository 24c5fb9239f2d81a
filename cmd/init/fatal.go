package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/phase"
	"github.com/digital-mycelium/os/pkg/api"
)

// fatal shows why the machine cannot go on, waits so that it can be read,
// stores what can be stored and reboots. It does not return.
func (m *machine) fatal(err error) {
	if !m.failing.CompareAndSwap(false, true) {
		select {} // the first failure alone speaks and reboots
	}
	wait := m.cmdline.panicWait
	m.console.showLines(true)
	var panicked *phase.PanicError
	if errors.As(err, &panicked) {
		m.console.print(string(panicked.Stack))
	}
	m.log.Error("fatal", "error", err)
	m.console.event(api.ConsoleEvent{Kind: api.EventFatal, Text: fmt.Sprintf("%v; rebooting in %s", err, wait)})
	m.console.flush(2 * time.Second)
	done := make(chan struct{})
	go func() { unix.Sync(); close(done) }()
	time.Sleep(wait)
	select {
	case <-done:
	case <-time.After(10 * time.Second): // a disk that hangs
	}
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil {
		m.console.print("reboot: " + err.Error())
	}
	select {} // the watchdog, or the person at the machine, does the rest
}
