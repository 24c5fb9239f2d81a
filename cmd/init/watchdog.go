package main

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// heart says until when PID 1 counts as alive. What must go on (the boot's
// phases, the main loop, the shutdown's steps) beats it with the time that its
// next step may take.
type heart struct {
	begin time.Time
	until atomic.Int64 // nanoseconds after begin
}

func newHeart() *heart {
	h := &heart{begin: time.Now()}
	h.beat(phasePatience)
	return h
}

func (h *heart) beat(patience time.Duration) {
	h.until.Store(int64(time.Since(h.begin) + patience))
}

func (h *heart) alive() bool { return int64(time.Since(h.begin)) < h.until.Load() }

const (
	// watchdogTimeout is after how much time without food the hardware resets
	// the machine; it is fed three times as often.
	watchdogTimeout = 60 * time.Second
	watchdogDevice  = "/dev/watchdog0"
)

// watchdog feeds the hardware as long as the heart beats.
type watchdog struct {
	f       *os.File
	stop    context.CancelFunc
	stopped chan struct{}
}

// startWatchdog opens the hardware watchdog, if there is one, and feeds it.
func (m *machine) startWatchdog() {
	if m.cmdline.noWatchdog {
		m.log.Warn("the watchdog is off, as the kernel's command line says: a system that hangs stays so")
		return
	}
	f, err := os.OpenFile(watchdogDevice, os.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		m.log.Info("no watchdog", "error", err)
		return
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, int(watchdogTimeout.Seconds())); err != nil {
		m.log.Warn("the watchdog keeps its own timeout", "error", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watchdog{f: f, stop: cancel, stopped: make(chan struct{})}
	m.watchdog = w
	m.spawn(func() {
		defer close(w.stopped)
		w.feed(ctx, m.heart, m.log)
	})
}

func (w *watchdog) feed(ctx context.Context, h *heart, log *slog.Logger) {
	for starving := false; ; {
		switch alive := h.alive(); {
		case alive:
			if _, err := w.f.Write([]byte{0}); err != nil {
				log.Error("cannot feed the watchdog", "error", err)
			}
			starving = false
		case !starving:
			log.Error("the main loop stands still: the watchdog is no longer fed")
			starving = true
		}
		if !sleep(ctx, watchdogTimeout/3) {
			return
		}
	}
}

// disarm stops the hardware in order (the magic close), so that a machine that
// is off or boots slowly is not reset.
func (w *watchdog) disarm(log *slog.Logger) {
	if w == nil {
		return
	}
	w.stop()
	<-w.stopped
	if _, err := w.f.WriteString("V"); err != nil {
		log.Warn("cannot disarm the watchdog", "error", err)
	}
	if err := w.f.Close(); err != nil {
		log.Warn("cannot close the watchdog", "error", err)
	}
}
