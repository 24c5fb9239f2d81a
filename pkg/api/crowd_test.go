package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// fakeConn is a connection from an address.
type fakeConn struct {
	net.Conn
	from   string
	closed bool
}

func (c *fakeConn) RemoteAddr() net.Addr {
	ap, _ := netip.ParseAddrPort(c.from)
	return net.TCPAddrFromAddrPort(ap)
}

func (c *fakeConn) Close() error { c.closed = true; return nil }

// crowdOf fills a crowd of at most n, in order, one a millisecond.
func crowdOf(t *testing.T, n int, from ...string) (c *crowd, conns []*fakeConn, now time.Time) {
	t.Helper()
	c, now = newCrowd(n, time.Second), t0
	for _, f := range from {
		conn := &fakeConn{from: f}
		if wait := c.try(&place{conn: conn, source: sourceOf(conn)}, now); wait != 0 {
			t.Fatalf("%s has to wait %s", f, wait)
		}
		conns, now = append(conns, conn), now.Add(time.Millisecond)
	}
	return c, conns, now
}

func TestCrowd(t *testing.T) {
	const a, b, d = "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"
	for _, tt := range []struct {
		name   string
		there  []string
		comer  string
		age    time.Duration // of the oldest one
		victim int           // -1: none has to go, -2: the newcomer waits
	}{
		{"room", []string{a, a}, a, 0, -1},
		{"full, its own and young", []string{a, a, a}, a, 10 * time.Millisecond, -2},
		{"full, its own and old", []string{a, a, a}, a, time.Second, 0},
		{"another address has more", []string{b, a, a}, b, 10 * time.Millisecond, -2},
		{"another address has far more", []string{a, a, a}, b, 10 * time.Millisecond, 0},
		{"the oldest of the address that has most", []string{b, a, a}, d, 10 * time.Millisecond, 1},
		{"all alone and young", []string{a, b, "10.0.0.4:1"}, d, 10 * time.Millisecond, -2},
		{"all alone and old", []string{b, a, "10.0.0.4:1"}, d, time.Second, 0},
		{"one IPv6 network is one address", []string{"[2001:db8::1]:1", "[2001:db8::2]:1", a}, d, 10 * time.Millisecond, 0},
	} {
		c, conns, _ := crowdOf(t, 3, tt.there...)
		comer := &fakeConn{from: tt.comer}
		wait := c.try(&place{conn: comer, source: sourceOf(comer)}, t0.Add(tt.age))
		if (wait > 0) != (tt.victim == -2) {
			t.Errorf("%s: waits %s", tt.name, wait)
		}
		for i, conn := range conns {
			if conn.closed != (i == tt.victim) {
				t.Errorf("%s: connection %d closed: %v", tt.name, i, conn.closed)
			}
		}
	}
}

// A newcomer that waits goes on when somebody leaves, and when the server ends.
func TestCrowdWaits(t *testing.T) {
	c := newCrowd(1, time.Hour)
	stop := make(chan struct{})
	first := c.enter(&fakeConn{from: "10.0.0.1:1"}, stop)
	got := make(chan *place)
	enter := func() { got <- c.enter(&fakeConn{from: "10.0.0.1:2"}, stop) }
	go enter()
	select {
	case <-got:
		t.Error("it did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	c.leave(first)
	if p := <-got; p == nil {
		t.Error("no place")
	}
	c.leave(first) // again changes nothing
	go enter()
	close(stop)
	if p := <-got; p != nil {
		t.Error("a place in a server that has ended")
	}
	if c.n != 1 || len(c.places) != 1 {
		t.Errorf("%d places, %d addresses are left", c.n, len(c.places))
	}
}

func TestSessions(t *testing.T) {
	open := func(s *sessions, list string) map[string]*fakeConn {
		conns := map[string]*fakeConn{}
		for i, word := range strings.Fields(list) {
			busy := strings.HasSuffix(word, "!")
			c := &fakeConn{from: word}
			if !s.add(c, word[:1], t0.Add(time.Duration(i)*time.Second)) {
				t.Fatalf("%s was refused", word)
			}
			if busy {
				s.state(c, http.StateActive)
			}
			conns[strings.TrimSuffix(word, "!")] = c
		}
		return conns
	}
	for _, tt := range []struct {
		there, comer, victim string
		room                 bool
	}{
		{"a1! a2!", "a", "", true},
		{"a1! a2! a3!", "a", "", false},      // its own limit
		{"a1! a2 a3", "a", "a2", true},       // its own idle one
		{"b1 a1! a2! a3!", "a", "", false},   // not another's
		{"a1! b1 c1 d1", "e", "b1", true},    // the longest idle one
		{"a1! a2! a3! b1!", "b", "a1", true}, // who has 3 for who has 1
		{"a1! a2! a3! b1!", "c", "a1", true}, // the oldest of who has most
		{"a1! b1! c1! d1!", "e", "", false},  // all have as much
		{"a1! a2! b1! b2!", "c", "a1", true}, // the oldest of those who have most
		{"a1! a2! b1! b2!", "b", "", false},  // as much as they
	} {
		s := newSessions(4, 3)
		conns := open(s, tt.there)
		if room := s.add(&fakeConn{from: "new"}, tt.comer, t0.Add(time.Minute)); room != tt.room {
			t.Errorf("%s and %s: %v", tt.there, tt.comer, room)
		}
		for name, c := range conns {
			if c.closed != (name == tt.victim) {
				t.Errorf("%s and %s: %s closed: %v", tt.there, tt.comer, name, c.closed)
			}
		}
		if len(s.open) > 4 {
			t.Errorf("%d are open", len(s.open))
		}
	}
}

func TestRefusalLog(t *testing.T) {
	l := newRefusalLog()
	now := t0
	l.now = func() time.Time { return now }
	if !l.first("a", "x") || l.first("a", "x") || !l.first("a", "y") || !l.first("b", "x") {
		t.Error("it is not once for each address and reason")
	}
	lines := 0
	for i := range 100_000 { // a network of strangers
		if l.first(fmt.Sprint(i), "x") {
			lines++
		}
	}
	if lines > refusalsAMinute {
		t.Errorf("%d lines in a minute", lines)
	}
	now = now.Add(time.Minute)
	if !l.first("new", "x") {
		t.Error("nothing is logged any more")
	}
}

// quiet reports whether no request is under way.
func (s *sessions) quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.open {
		if o.idle.IsZero() {
			return false
		}
	}
	return true
}
