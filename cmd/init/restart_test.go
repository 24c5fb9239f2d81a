package main

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/supervise"
)

// mortal is a process that ends at the first signal.
type mortal struct{ end chan struct{} }

func (p mortal) PID() int                    { return 1 }
func (p mortal) Ready() <-chan struct{}      { return nil }
func (p mortal) Wait() error                 { <-p.end; return nil }
func (p mortal) Signal(syscall.Signal) error { close(p.end); return nil }

func TestRestartService(t *testing.T) {
	m := newMachine("test", time.Now())
	lives := make(chan struct{}, 10)
	m.supervise(supervise.Spec{Name: "a", Start: func(context.Context) (supervise.Process, error) {
		lives <- struct{}{}
		return mortal{make(chan struct{})}, nil
	}})
	m.supervise(supervise.Spec{Name: "b", Wait: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
	t.Cleanup(m.stopServices)
	<-lives
	state := func(name, want string) {
		t.Helper()
		err := m.board.Wait(t.Context(), func(s api.Status) bool {
			for _, sv := range s.Services {
				if sv.Name == name && sv.State == want {
					return true
				}
			}
			return false
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	state("a", supervise.Running)
	state("b", supervise.Waiting)
	if err := m.restartService("a"); err != nil {
		t.Errorf("a: %v", err)
	}
	<-lives
	if err := m.restartService("b"); !errors.Is(err, api.ErrNotYet) {
		t.Errorf("b, which waits: %v", err)
	}
	if err := m.restartService("c"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("c, which is none: %v", err)
	}
}
