package api

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
)

// flood keeps n connections to address open at a time, each of which does what
// behave does and comes again when it is thrown out, until the test ends. It
// returns when all have connected once.
func flood(t *testing.T, address string, n int, behave func(net.Conn)) *atomic.Int64 {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var all, first sync.WaitGroup
	var connected atomic.Int64
	t.Cleanup(func() { cancel(); all.Wait() })
	for range n {
		first.Add(1)
		arrived := sync.OnceFunc(first.Done)
		all.Go(func() {
			for ctx.Err() == nil {
				c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
				arrived()
				if err != nil {
					return // the test is over, or its system has no more connections
				}
				connected.Add(1)
				stop := context.AfterFunc(ctx, func() { _ = c.Close() })
				behave(c)
				_, _ = io.Copy(io.Discard, c) // until it is thrown out
				stop()
				_ = c.Close()
			}
		})
	}
	first.Wait()
	return &connected
}

// hello returns a ClientHello as a client sends it.
func hello(t *testing.T) []byte {
	t.Helper()
	here, there := net.Pipe()
	go func() { _ = tls.Client(here, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
	defer func() { _ = here.Close() }()
	b := make([]byte, 16<<10)
	n, err := there.Read(b)
	noErr(t, err)
	return b[:n]
}

// A thousand parallel connections of strangers, from the caller's own address,
// who come again when they are thrown out, keep no member out: neither one that
// has a connection nor one that makes a new one.
func TestFloodOfStrangers(t *testing.T) {
	w := newWorld(t)
	s, _, _ := w.memberServer(discard)
	address := serve(t, s)
	old := w.member("old", reader).client(address)
	noErr(t, second(old.Status(t.Context())))
	first := hello(t)
	var kind atomic.Int64
	connected := flood(t, address, 1000, func(c net.Conn) {
		switch kind.Add(1) % 4 {
		case 0: // says nothing
		case 1:
			_, _ = c.Write(first[:len(first)/2])
		case 2:
			_, _ = c.Write(first)
		case 3:
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for range 2 {
		noErr(t, second(old.Status(ctx)))
		fresh := w.member("fresh", reader).client(address)
		noErr(t, second(fresh.Status(ctx)))
		fresh.Close()
	}
	if connected.Load() < 1000 {
		t.Errorf("only %d strangers came", connected.Load())
	}
}

// What strangers cost in memory is bounded by the places for handshakes.
func TestMemoryOfHandshakes(t *testing.T) {
	w := newWorld(t)
	s, _, _ := w.memberServer(discard)
	address := serve(t, s)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := heap()
	first := hello(t)
	var conns []net.Conn
	for range usualLimits.handshakes {
		c, err := net.Dial("tcp", address)
		noErr(t, err)
		defer func() { _ = c.Close() }()
		_, err = c.Write(first)
		noErr(t, err)
		conns = append(conns, c)
	}
	for _, c := range conns { // the server has answered the hello: its costs are there
		_, err := io.ReadFull(c, make([]byte, 64))
		noErr(t, err)
	}
	each := (int64(heap()) - int64(before)) / int64(len(conns))
	t.Logf("%d bytes a connection, the other end's included", each)
	if each > 100<<10 {
		t.Errorf("a handshake under way holds %d bytes", each)
	}
}

// Members with all their connections busy keep nobody out but themselves.
func TestOneMemberCannotTakeAllConnections(t *testing.T) {
	w := newWorld(t)
	var log logBuffer
	s, _, _ := w.memberServer(log.logger())
	l := usualLimits
	l.sessions, l.perPeer = 4, 3
	s.setLimits(l)
	address := serve(t, s)
	greedy := w.member("greedy", reader)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch := func(m *member) {
		ready := make(chan struct{})
		go func() {
			_ = m.client(address).WatchStatus(ctx, func(*Status) error {
				select {
				case <-ready:
				default:
					close(ready)
				}
				return nil
			})
		}()
		<-ready
	}
	for range 3 {
		watch(greedy)
	}
	if err := second(greedy.client(address).Status(t.Context())); err == nil {
		t.Error("a fourth connection of one member was taken")
	}
	eventually(t, func() bool { return strings.Contains(log.String(), "all connections are in use") })
	watch(w.member("ann", reader))
	noErr(t, second(w.member("bob", reader).client(address).Status(t.Context()))) // greedy loses one
	noErr(t, second(w.member("eve", reader).client(address).Status(t.Context()))) // bob's is idle
}

// Who is slow after the handshake is given up, in every way to be slow.
func TestSlowMembersAreGivenUp(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	l := usualLimits
	l.header, l.body, l.stall, l.idle, l.handshake = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
	s.setLimits(l)
	address := serve(t, s)
	ann := w.member("ann", operator)
	const post = "POST /mycelium.machine.v1.MachineService/"
	for name, sent := range map[string]string{
		"says nothing":          "",
		"half a request line":   "GET /met",
		"headers without end":   "GET /metrics HTTP/1.1\r\nHost: x\r\n",
		"a body that stops":     post + "Reboot HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{",
		"chunks that stop":      post + "Reboot HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
		"an upload that stops":  post + "LoadImage HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+proto\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n\x00\x00\x00\x00\x09\r\n",
		"an OS file that stops": post + "PushUpdate HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+proto\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n\x00\x00\x00\x00\x09\r\n",
		"idle after an answer":  "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
		"a refused body, stops": post + "Reset HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2000000\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{ann.cert}, NextProtos: []string{"http/1.1"}})
			noErr(t, err)
			defer func() { _ = c.Close() }()
			noErr(t, c.SetDeadline(time.Now().Add(time.Minute)))
			_, err = io.WriteString(c, sent)
			noErr(t, err)
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the server still waits")
			}
		})
	}
	t.Run("handshake", func(t *testing.T) {
		c, err := net.Dial("tcp", address)
		noErr(t, err)
		defer func() { _ = c.Close() }()
		noErr(t, c.SetDeadline(time.Now().Add(time.Minute)))
		_, err = c.Write(hello(t)[:100])
		noErr(t, err)
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the server still waits")
		}
	})
	if did := node.took(); strings.Contains(did, "reboot") || len(node.images) > 0 {
		t.Errorf("the node did %q", did)
	}
}

// Who asks for much and reads nothing is given up.
func TestDeafMembersAreGivenUp(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	l := usualLimits
	l.write = 300 * time.Millisecond
	s.setLimits(l)
	node.append(strings.Repeat("x", 32<<20))
	address := serve(t, s)
	ann := w.member("ann", reader)
	for _, proto := range []string{"http/1.1", "h2"} {
		t.Run(proto, func(t *testing.T) {
			h, base := dialer(address, Port, w.newVerifier("deaf-"+proto[:2], w.now).ClientTLS(identity.TLSOptions{Certificate: ann.show}), proto == "h2")
			defer h.CloseIdleConnections()
			err := deaf(t, h, base, s.sessions.quiet)
			if err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the log came after all: %v", err)
			}
		})
	}
}

// Headers are bounded.
func TestLargeHeaders(t *testing.T) {
	w := newWorld(t)
	s, _, _ := w.memberServer(discard)
	address := serve(t, s)
	ann := w.member("ann", reader)
	for _, http2 := range []bool{false, true} {
		h, base := dialer(address, Port, w.newVerifier(map[bool]string{false: "v1", true: "v2"}[http2], w.now).ClientTLS(identity.TLSOptions{Certificate: ann.show}), http2)
		defer h.CloseIdleConnections()
		for size, good := range map[int]bool{8 << 10: true, 64 << 10: false} {
			code, err := getWithHeader(t, h, base+"/metrics", size)
			if ok := err == nil && code == 200; ok != good {
				t.Errorf("HTTP/2 %v, %d bytes of headers: %d, %v", http2, size, code, err)
			}
		}
	}
}
