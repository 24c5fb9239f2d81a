package supervise

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fakeProcess lives until end is closed or it gets a signal that it heeds.
type fakeProcess struct {
	pid   int
	life  time.Duration // 0: for ever
	deaf  bool          // ignores SIGTERM
	err   error
	ready chan struct{}

	mu      sync.Mutex
	signals []syscall.Signal
	end     chan struct{}
}

func (p *fakeProcess) PID() int               { return p.pid }
func (p *fakeProcess) Ready() <-chan struct{} { return p.ready }

func (p *fakeProcess) Wait() error {
	var after <-chan time.Time
	if p.life > 0 {
		after = time.After(p.life)
	}
	select {
	case <-after:
	case <-p.end:
	}
	return p.err
}

func (p *fakeProcess) Signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signals = append(p.signals, s)
	if s == syscall.SIGKILL || !p.deaf {
		close(p.end)
	}
	return nil
}

// starts records when and what was started.
type starts struct {
	begin time.Time
	at    []time.Duration
	procs []*fakeProcess
	next  func(n int) (*fakeProcess, error)
}

func (s *starts) start(context.Context) (Process, error) {
	s.at = append(s.at, time.Since(s.begin))
	p, err := s.next(len(s.at))
	if err != nil {
		return nil, err
	}
	p.pid, p.end = 100+len(s.at), make(chan struct{})
	s.procs = append(s.procs, p)
	return p, nil
}

// run supervises spec for d of fake time, then stops it and returns its last status.
func run(spec Spec, d time.Duration, during func(*Service)) Status {
	ctx, cancel := context.WithCancel(context.Background())
	s := New(spec, slog.New(slog.DiscardHandler), nil)
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	if during != nil {
		go during(s)
	}
	time.Sleep(d)
	cancel()
	<-done
	return s.Status()
}

func TestBackoffGrowsAndBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &starts{begin: time.Now(), next: func(n int) (*fakeProcess, error) {
			life := time.Second
			if n == 4 {
				life = 2 * time.Minute
			}
			return &fakeProcess{life: life, err: errors.New("exit status 1")}, nil
		}}
		spec := Spec{Name: "x", Start: st.start, MinDelay: time.Second, MaxDelay: 3 * time.Second}
		got := run(spec, 131*time.Second, nil)
		sec := func(n int) time.Duration { return time.Duration(n) * time.Second }
		// Lives of 1 s, delays of 1, 2, 3 s, a life of 120 s, and 1 s again.
		if want := []time.Duration{0, sec(2), sec(5), sec(9), sec(130)}; !slices.Equal(st.at, want) {
			t.Errorf("started at %v, want %v", st.at, want)
		}
		if got.State != Stopped || got.Restarts != 4 || got.LastError != "exit status 1" || got.PID != 0 {
			t.Errorf("status %+v", got)
		}
	})
}

func TestFailedStartIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &starts{begin: time.Now(), next: func(n int) (*fakeProcess, error) {
			if n == 1 {
				return nil, errors.New("no such file")
			}
			return &fakeProcess{}, nil
		}}
		run(Spec{Name: "x", Start: st.start}, time.Minute, func(s *Service) {
			time.Sleep(100 * time.Millisecond)
			if got := s.Status(); got.State != Backoff || got.LastError != "start: no such file" {
				t.Errorf("status %+v", got)
			}
			time.Sleep(time.Second)
			if got := s.Status(); got.State != Running || got.PID != 102 || got.Restarts != 1 {
				t.Errorf("status %+v", got)
			}
		})
	})
}

func TestStop(t *testing.T) {
	for _, tt := range []struct {
		name string
		deaf bool
		want []syscall.Signal
		took time.Duration
	}{
		{"obedient", false, []syscall.Signal{syscall.SIGTERM}, 0},
		{"deaf", true, []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := &starts{begin: time.Now(), next: func(int) (*fakeProcess, error) { return &fakeProcess{deaf: tt.deaf}, nil }}
				run(Spec{Name: "x", Start: st.start, StopTimeout: 5 * time.Second}, time.Minute, nil)
				if took := time.Since(st.begin) - time.Minute; took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if !slices.Equal(st.procs[0].signals, tt.want) {
					t.Errorf("signals %v, want %v", st.procs[0].signals, tt.want)
				}
			})
		})
	}
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &starts{begin: time.Now(), next: func(int) (*fakeProcess, error) { return &fakeProcess{deaf: true}, nil }}
		spec := Spec{
			Name: "x", Start: st.start, StopTimeout: 5 * time.Second,
			Wait: func(context.Context) error { time.Sleep(2 * time.Second); return nil },
		}
		run(spec, time.Minute, func(s *Service) {
			time.Sleep(time.Second)
			if s.Restart("not yet running: forgotten") {
				t.Error("accepted while the service waits")
			}
			time.Sleep(10 * time.Second)
			s.Restart("address changed")
			time.Sleep(time.Second)
			s.Restart("and again: one is under way")
		})
		// The process needs 5 s to be killed, the conditions 2 s.
		if want := []time.Duration{2 * time.Second, 18 * time.Second}; !slices.Equal(st.at, want) {
			t.Errorf("started at %v, want %v", st.at, want)
		}
	})
}

func TestRestartEndsTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &starts{begin: time.Now(), next: func(n int) (*fakeProcess, error) {
			if n < 4 {
				return &fakeProcess{life: time.Second}, nil
			}
			return &fakeProcess{}, nil
		}}
		run(Spec{Name: "x", Start: st.start, MinDelay: 10 * time.Second}, time.Minute, func(s *Service) {
			time.Sleep(2 * time.Second) // the first life has ended
			if !s.Restart("asked for") {
				t.Error("refused while the service waits for its next life")
			}
		})
		// Started at once, and the delays begin anew.
		want := []time.Duration{0, 2 * time.Second, 13 * time.Second, 34 * time.Second}
		if !slices.Equal(st.at, want) {
			t.Errorf("started at %v, want %v", st.at, want)
		}
	})
}

func TestWaitsForConditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		st := &starts{begin: time.Now(), next: func(int) (*fakeProcess, error) { return &fakeProcess{}, nil }}
		spec := Spec{Name: "x", Start: st.start, Wait: func(ctx context.Context) error {
			select {
			case <-open:
			case <-ctx.Done():
			}
			return ctx.Err()
		}}
		run(spec, time.Minute, func(s *Service) {
			time.Sleep(20 * time.Second)
			if got := s.Status(); got.State != Waiting {
				t.Errorf("status %+v", got)
			}
			close(open)
		})
		if want := []time.Duration{20 * time.Second}; !slices.Equal(st.at, want) {
			t.Errorf("started at %v, want %v", st.at, want)
		}
	})
}

func TestStopsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := Spec{Name: "x", Wait: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		if got := run(spec, time.Second, nil); got.State != Stopped {
			t.Errorf("status %+v", got)
		}
	})
}

func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ready := make(chan struct{})
		st := &starts{begin: time.Now(), next: func(int) (*fakeProcess, error) { return &fakeProcess{ready: ready}, nil }}
		run(Spec{Name: "x", Start: st.start}, time.Minute, func(s *Service) {
			time.Sleep(time.Second)
			if s.Status().Ready {
				t.Error("ready before it said so")
			}
			close(ready)
			time.Sleep(time.Second)
			if !s.Status().Ready {
				t.Error("not ready although it said so")
			}
		})
	})
}
