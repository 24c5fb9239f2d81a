package main

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/phase"
	"github.com/digital-mycelium/os/pkg/api"
)

// phases is the boot, in order. A fatal phase that fails is shown and followed
// by a reboot; any other failure becomes one of the status' problems and the
// boot goes on, so that the machine API can say what is wrong.
func (m *machine) phases() []phase.Phase {
	return []phase.Phase{
		{Name: "mounts", Fatal: true, Run: m.mountEarly},
		{Name: "root", Fatal: true, Run: m.switchRoot},
		{Name: "modules", Run: m.loadModules},
		{Name: "entropy", Run: m.gatherEntropy},
		{Name: "disks", Run: m.prepareDisk},
		{Name: "state", Run: m.mountState},
		{Name: "update", Run: m.openUpdates},
		{Name: "config", Run: m.loadConfig},
		{Name: "data", Run: m.mountData},
		{Name: "identity", Fatal: true, Run: m.identify},
		{Name: "sysctl", Run: m.applySysctls},
		{Name: "network", Run: m.startNetwork},
		{Name: "time", Run: m.startClock},
		{Name: "fetch", Run: m.fetchConfig},
		{Name: "install", Run: m.installAtBoot},
		{Name: "membership", Run: m.openMembership},
		{Name: "services", Fatal: true, Run: m.startServices},
	}
}

// Patience that the watchdog has with PID 1.
const (
	// phasePatience is how long one boot phase may take: a large disk's check
	// takes minutes.
	phasePatience = 15 * time.Minute
	// loopPatience is how long the main loop may stand still.
	loopPatience = 30 * time.Second
)

// boot runs the phases.
func (m *machine) boot(ctx context.Context) error {
	err := phase.Run(ctx, m.phases(), time.Now, func(r phase.Result) {
		m.heart.beat(phasePatience)
		m.reportPhase(r)
	})
	if err != nil {
		return err
	}
	m.board.Update(func(s *api.Status) { s.Phase = "running" })
	m.console.event(api.ConsoleEvent{Kind: api.EventRunning, Seconds: uptime().Seconds()})
	m.spawn(func() { m.slimDown(ctx) })
	m.spawn(func() { m.freeFirmware(ctx) })
	return nil
}

// slimDown gives back the memory that the boot took, and again what the wait
// for Kubernetes took: from then on little happens here.
func (m *machine) slimDown(ctx context.Context) {
	debug.SetGCPercent(40)
	debug.FreeOSMemory()
	if err := m.board.Wait(ctx, func(s api.Status) bool { return s.Kubernetes.NodeReady }); err != nil {
		return
	}
	if sleep(ctx, 10*time.Second) {
		debug.FreeOSMemory()
	}
}

func (m *machine) reportPhase(r phase.Result) {
	if !r.Done {
		m.board.Update(func(s *api.Status) {
			s.Phase = r.Name
			s.Phases = append(s.Phases[:len(s.Phases):len(s.Phases)], api.Phase{Name: r.Name, Start: uptime().Seconds()})
		})
		return
	}
	e := api.ConsoleEvent{Kind: api.EventPhase, Name: r.Name, Seconds: r.Seconds}
	if r.Err != nil {
		e.Text = r.Err.Error()
		m.log.Error("boot phase failed", "phase", r.Name, "error", r.Err)
		m.board.SetProblem("phase/"+r.Name, "boot phase "+r.Name+" failed: "+r.Err.Error())
	} else {
		m.log.Info("boot phase done", "phase", r.Name, "seconds", r.Seconds)
	}
	m.console.event(e)
	m.board.Update(func(s *api.Status) {
		phases := append([]api.Phase(nil), s.Phases...)
		last := &phases[len(phases)-1]
		last.Seconds, last.Error = r.Seconds, e.Text
		s.Phases = phases
	})
}
