package system

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
)

// strangers: a thousand connections at a time of those who are no members keep
// the node's operator from nothing.
func strangers(t *testing.T, m *lab.Machine) {
	before, err := m.Status(t.Context())
	must(t, "status", err)
	port, ok := m.HostPort(api.Port)
	if !ok {
		t.Fatal("the machine API is not forwarded")
	}
	const crowd = 1000
	connected, leave := besiege(t, fmt.Sprintf("127.0.0.1:%d", port), crowd)
	defer leave()
	for range 5 { // each with a handshake of its own to do
		client, err := m.Client(t.Context())
		must(t, "client", err)
		status, err := client.Status(within(t, 3*time.Minute))
		client.Close()
		must(t, "an answer among strangers", err)
		if !status.Kubernetes.NodeReady || status.BootID != before.BootID {
			t.Errorf("the node is Ready: %v, of the boot %s, before %s", status.Kubernetes.NodeReady, status.BootID, before.BootID)
		}
	}
	if n := connected.Load(); n < crowd {
		t.Errorf("%d connections, want %d at least", n, crowd)
	}
	leave()
	after, err := m.WaitStatus(within(t, 2*time.Minute), "no problem", func(s *api.Status) (bool, string) {
		return len(s.Problems) == 0, fmt.Sprintf("%q", s.Problems)
	})
	must(t, "status", err)
	checkHealthy(t, m, after)
}

// comeBack is after how much time a stranger who was thrown out comes again. What is
// tried is not how many handshakes an emulated processor does in a second.
const comeBack = 5 * time.Second

// besiege keeps n connections to a machine API open until leave is called, and
// returns when each has been accepted once. Who is thrown out comes again.
func besiege(t *testing.T, address string, n int) (connected *atomic.Int64, leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all, first sync.WaitGroup
	leave = func() { cancel(); all.Wait() }
	connected = &atomic.Int64{}
	for i := range n {
		first.Add(1)
		arrived := sync.OnceFunc(first.Done)
		all.Go(func() {
			defer arrived()
			for ctx.Err() == nil {
				c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
				if err != nil {
					continue
				}
				connected.Add(1)
				arrived()
				stop := context.AfterFunc(ctx, func() { _ = c.Close() })
				misbehave(ctx, c, i)
				stop()
				_ = c.Close()
				select {
				case <-time.After(comeBack):
				case <-ctx.Done():
				}
			}
		})
	}
	first.Wait()
	return connected, leave
}

// misbehave does what one of four kinds of strangers does, until it is thrown out.
func misbehave(ctx context.Context, c net.Conn, kind int) {
	switch kind % 4 {
	case 0: // says nothing
	case 1: // never comes to an end
		record := []byte{22, 3, 1, 0x10, 0} // of a handshake, 4096 bytes long
		for ; ctx.Err() == nil; record = []byte{1} {
			if _, err := c.Write(record); err != nil {
				return
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	case 2: // speaks another protocol, and much of it
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 1000000000\r\n\r\n")
		_, _ = c.Write(make([]byte, 1<<20))
	case 3: // has no certificate, and does not wait for the answer
		s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}}) //nolint:gosec // a stranger does not care whom it talks to
		if s.HandshakeContext(ctx) == nil {
			_, _ = s.Write(make([]byte, 1<<20))
		}
	}
	_, _ = io.Copy(io.Discard, c)
}
