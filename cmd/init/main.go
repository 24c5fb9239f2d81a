// Command init is PID 1 of Digital Mycelium OS and everything of ours that runs
// on a node: it boots the machine phase by phase, supervises the services and
// shuts down in order. Each file is one concern; phases.go is the boot.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/phase"
	"github.com/digital-mycelium/os/pkg/api"
)

// Set by the linker: -X main.version=... -X main.buildTime=<seconds since 1970>.
var (
	version   = "dev"
	buildTime = ""
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintf(os.Stderr, "mycelium init %s: this is a machine's first process (PID 1) and does nothing else\n", version)
		os.Exit(2)
	}
	// The kernel has opened the console for us; say hello before anything can fail.
	started := api.ConsoleEvent{Kind: api.EventStarted, Name: version}
	_, _ = os.Stdout.WriteString(started.String() + "\r\n")
	m := newMachine(version, parseBuildTime(buildTime))
	m.console.events.Add(started)
	defer func() {
		if v := recover(); v != nil {
			m.fatal(&phase.PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := m.boot(ctx); err != nil {
		m.fatal(err)
	}
	m.finish(m.loop(ctx))
}

// loop waits for the request to shut down, and proves to the watchdog that it
// still runs.
func (m *machine) loop(ctx context.Context) action {
	tick := time.NewTicker(measurePause)
	defer tick.Stop()
	for {
		m.heart.beat(loopPatience)
		select {
		case a := <-m.requests:
			return a
		case <-tick.C:
			m.measure()
		}
	}
}
