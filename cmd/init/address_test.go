package main

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/netplan"
	"github.com/digital-mycelium/os/cmd/init/internal/status"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/supervise"
)

// testMachine is a machine without hardware.
func testMachine() *machine {
	m := &machine{log: slog.New(slog.DiscardHandler), board: status.New(api.Status{}), config: config.Default()}
	m.net = newNetwork(m)
	return m
}

// eth0 is an interface with the given addresses.
func eth0(addrs ...string) []netplan.Link {
	l := netplan.Link{Name: "eth0", Carrier: true}
	for _, a := range addrs {
		l.Addresses = append(l.Addresses, netip.MustParsePrefix(a))
	}
	return []netplan.Link{l}
}

// idle is a process that ends when it is told to.
type idle struct{ end chan struct{} }

func (p idle) PID() int                    { return 1 }
func (p idle) Ready() <-chan struct{}      { return nil }
func (p idle) Wait() error                 { <-p.end; return nil }
func (p idle) Signal(syscall.Signal) error { close(p.end); return nil }

// TestServiceFollowsAddress: a service that needs the node's address starts
// when there is one, and anew when another has come to stay.
func TestServiceFollowsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMachine()
		var used []string
		var last netip.Addr
		m.supervise(supervise.Spec{
			Name: "x",
			Wait: func(ctx context.Context) (err error) {
				last, err = m.net.waitAddress(ctx, 0)
				return err
			},
			Start: func(ctx context.Context) (supervise.Process, error) {
				addr := last
				used = append(used, addr.String())
				ctx, cancel := context.WithCancel(ctx)
				go m.restartOnNewAddress(ctx, addr)
				p := idle{make(chan struct{})}
				go func() { <-p.end; cancel() }()
				return p, nil
			},
		})
		step := func(d time.Duration, addrs ...string) {
			m.net.publish(eth0(addrs...))
			time.Sleep(d)
		}
		step(time.Minute)
		if s, _ := m.board.Get(); len(used) != 0 || len(s.Problems) != 1 {
			t.Errorf("without an address: started with %v, problems %q", used, s.Problems)
		}
		step(time.Minute, "10.0.0.1/8")
		step(time.Minute)                             // lost: nothing to start anew with
		step(time.Minute, "10.0.0.1/8")               // the same again
		step(2*time.Second, "10.0.0.2/8")             // another for a moment
		step(time.Minute, "10.0.0.1/8")               //
		step(time.Minute, "10.0.0.3/8")               // another for good
		step(time.Minute, "10.0.0.3/8", "10.9.0.1/8") // one more is no change
		if want := []string{"10.0.0.1", "10.0.0.3"}; !slices.Equal(used, want) {
			t.Errorf("started with %v, want %v", used, want)
		}
		s, _ := m.board.Get()
		if len(s.Problems) != 0 || len(s.Services) != 1 || s.Services[0].State != supervise.Running || s.Services[0].Restarts != 1 {
			t.Errorf("problems %q, services %+v", s.Problems, s.Services)
		}
		m.stopServices()
		if s, _ := m.board.Get(); s.Services[0].State != supervise.Stopped {
			t.Errorf("services %+v", s.Services)
		}
		// What waits for another address ends with its context.
		synctest.Wait()
	})
}

// TestBlockedServiceWaits: a node whose disk is not usable says why Kubernetes
// does not start.
func TestBlockedServiceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMachine()
		m.block("DATA cannot be used")
		m.supervise(m.k3sSpec())
		m.net.publish(eth0("10.0.0.1/8"))
		time.Sleep(time.Hour)
		s, _ := m.board.Get()
		if len(s.Services) != 1 || s.Services[0].State != supervise.Waiting || s.Kubernetes.Reason != "DATA cannot be used" {
			t.Errorf("services %+v, Kubernetes %+v", s.Services, s.Kubernetes)
		}
		if !slices.Equal(s.Problems, []string{"Kubernetes is off: DATA cannot be used"}) {
			t.Errorf("problems %q", s.Problems)
		}
		m.stopServices()
	})
}
