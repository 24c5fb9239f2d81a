// Package supervise keeps a long-running process alive: it starts it when its
// conditions are met, starts it again with growing delays when it ends, and
// stops it in order.
//
// The package starts no processes of its own: a Starter does, so that the
// whole behaviour is tested in memory.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"
)

// States of a service.
const (
	Waiting = "waiting" // for its conditions, see Spec.Wait
	Running = "running"
	Backoff = "backoff" // ended; will be started again after a delay
	Stopped = "stopped"
)

// Process is a started process.
type Process interface {
	PID() int
	// Wait blocks until the process has ended. Its error says how, nil for exit
	// status 0. It is called once.
	Wait() error
	// Signal sends a signal; a process that has ended is no error.
	Signal(syscall.Signal) error
	// Ready is closed when the process has reported that it is ready; a nil
	// channel means that it never reports.
	Ready() <-chan struct{}
}

// Starter starts a process for a service. The context is that of Run.
type Starter func(ctx context.Context) (Process, error)

// Spec describes a service. Durations of 0 mean the defaults.
type Spec struct {
	Name string
	// Wait, when set, is called before every start and blocks until the service
	// may start. An error keeps it waiting and is shown as the last error.
	Wait  func(ctx context.Context) error
	Start Starter
	// MinDelay and MaxDelay bound the delay before the service is started again:
	// it doubles with each end (default 500 ms, 30 s) and begins anew once a life
	// has lasted Settled (default 60 s).
	MinDelay, MaxDelay, Settled time.Duration
	// StopTimeout is how long SIGTERM may take before SIGKILL (default 10 s).
	StopTimeout time.Duration
}

// Status is what a service is doing.
type Status struct {
	Name  string
	State string
	// Ready says that the process has reported readiness in this life.
	Ready    bool
	PID      int
	Restarts int
	// Since is when State was entered.
	Since time.Time
	// LastError is how the last life ended, or why a start failed.
	LastError string
}

// Service is one supervised service. Its methods are safe for concurrent use.
type Service struct {
	spec    Spec
	log     *slog.Logger
	changed func(Status)
	restart chan string

	mu     sync.Mutex
	status Status
}

// New returns a service that Run will keep alive. changed, which may be nil, is
// called after every change of its status and must not block.
func New(spec Spec, log *slog.Logger, changed func(Status)) *Service {
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{{&spec.MinDelay, 500 * time.Millisecond}, {&spec.MaxDelay, 30 * time.Second}, {&spec.Settled, time.Minute}, {&spec.StopTimeout, 10 * time.Second}} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if changed == nil {
		changed = func(Status) {}
	}
	return &Service{
		spec: spec, log: log.With("service", spec.Name), changed: changed, restart: make(chan string, 1),
		status: Status{Name: spec.Name, State: Stopped, Since: time.Now()},
	}
}

// Status returns what the service is doing.
func (s *Service) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Restart stops the running process in order and starts it again without delay;
// one that has ended is started without waiting any longer. It does nothing and
// returns false while the service waits for its conditions or is stopped.
func (s *Service) Restart(reason string) bool {
	if state := s.Status().State; state != Running && state != Backoff {
		return false
	}
	select {
	case s.restart <- reason:
	default: // one is under way
	}
	return true
}

func (s *Service) update(f func(*Status)) {
	s.mu.Lock()
	before := s.status
	f(&s.status)
	if s.status.State != before.State {
		s.status.Since = time.Now()
	}
	after := s.status
	s.mu.Unlock()
	if after != before {
		s.changed(after)
	}
}

// Run keeps the service alive until ctx ends, then stops it and returns when
// its process is gone. It must be called once.
func (s *Service) Run(ctx context.Context) {
	defer s.update(func(st *Status) { st.State, st.PID, st.Ready = Stopped, 0, false })
	delay := s.spec.MinDelay
	for first := true; ; first = false {
		if !s.wait(ctx) {
			return
		}
		if !first {
			s.update(func(st *Status) { st.Restarts++ })
		}
		began := time.Now()
		wanted, err := s.live(ctx)
		if ctx.Err() != nil {
			return
		}
		if wanted {
			delay = s.spec.MinDelay
			continue
		}
		if time.Since(began) >= s.spec.Settled {
			delay = s.spec.MinDelay
		}
		s.log.Warn("service ended", "error", err, "again_in", delay)
		s.update(func(st *Status) { st.State, st.PID, st.Ready, st.LastError = Backoff, 0, false, err.Error() })
		select {
		case <-ctx.Done():
			return
		case reason := <-s.restart:
			s.log.Info("starting the service now", "reason", reason)
			delay = s.spec.MinDelay
			continue
		case <-time.After(delay):
		}
		delay = min(2*delay, s.spec.MaxDelay)
	}
}

// wait blocks until the service may start; false means that ctx ended.
func (s *Service) wait(ctx context.Context) bool {
	if s.spec.Wait == nil {
		return ctx.Err() == nil
	}
	s.update(func(st *Status) { st.State, st.PID, st.Ready = Waiting, 0, false })
	for {
		err := s.spec.Wait(ctx)
		if ctx.Err() != nil {
			return false
		}
		if err == nil {
			return true
		}
		s.update(func(st *Status) { st.LastError = err.Error() })
		select {
		case <-ctx.Done():
			return false
		case <-time.After(s.spec.MaxDelay):
		}
	}
}

// live is one life of the process. wanted says that Restart ended it.
func (s *Service) live(ctx context.Context) (wanted bool, err error) {
	select {
	case <-s.restart: // asked of an earlier life
	default:
	}
	p, err := s.spec.Start(ctx)
	if err != nil {
		return false, fmt.Errorf("start: %w", err)
	}
	s.log.Info("service started", "pid", p.PID())
	s.update(func(st *Status) { st.State, st.PID, st.Ready = Running, p.PID(), false })
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	ready := p.Ready()
	for {
		select {
		case err := <-ended:
			if err == nil {
				err = errors.New("exit status 0")
			}
			return false, err
		case <-ready:
			ready = nil
			s.update(func(st *Status) { st.Ready = true })
		case reason := <-s.restart:
			s.log.Info("restarting the service", "reason", reason)
			s.terminate(p, ended)
			return true, nil
		case <-ctx.Done():
			s.terminate(p, ended)
			return false, ctx.Err()
		}
	}
}

// terminate sends SIGTERM, after StopTimeout SIGKILL, and waits for the end.
func (s *Service) terminate(p Process, ended <-chan error) {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		s.log.Warn("cannot ask the service to end", "error", err)
	}
	select {
	case <-ended:
		return
	case <-time.After(s.spec.StopTimeout):
	}
	s.log.Warn("service does not end, killing it", "after", s.spec.StopTimeout)
	if err := p.Signal(syscall.SIGKILL); err != nil {
		s.log.Warn("cannot kill the service", "error", err)
	}
	<-ended
}
