package mesh

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testMesh(log *bytes.Buffer) (*Mesh, *fake) {
	f := &fake{state: state{
		own:  []netip.Addr{netip.MustParseAddr("192.168.1.5")},
		near: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")},
	}}
	m := newMesh(f, Key{9}, netip.MustParsePrefix("100.64.0.9/10"), slog.New(slog.NewTextHandler(log, nil)))
	close(m.ended) // nobody watches: the tests look at it when they want
	return m, f
}

func TestApply(t *testing.T) {
	m, f := testMesh(new(bytes.Buffer))
	noErr(t, m.reconcile(time.Now()))
	if len(f.writes) != 0 {
		t.Error("written before anything is wanted")
	}
	a := Peer{keyA, []netip.Prefix{prefixX}, endpoints("203.0.113.7:1", "192.168.1.1:51820")}
	b := Peer{keyB, []netip.Prefix{prefixY}, endpoints("100.64.0.1:51820", "192.168.1.5:51820")}
	noErr(t, m.Apply([]Peer{a, b}))
	if p := f.peers[keyA]; p.endpoint != somewhere || p.keepalive != keepalive {
		t.Errorf("%+v: the endpoint near by is not the first", p)
	}
	if p := f.peers[keyB]; p.endpoint.IsValid() {
		t.Errorf("%+v: an endpoint in the mesh, or this machine's own", p)
	}
	noErr(t, m.Apply([]Peer{b, a}))
	if len(f.writes) != 1 {
		t.Errorf("the same again is written: %+v", f.writes[1:])
	}
	// somebody else changes the kernel's state
	delete(f.peers, keyB)
	f.routes = f.routes[:1]
	noErr(t, m.reconcile(time.Now()))
	if len(f.writes) != 2 || len(f.writes[1].peers) != 1 || len(f.writes[1].newRoutes) != 1 {
		t.Errorf("%+v", f.writes[1:])
	}
	// a peer goes, and with it what was tried
	noErr(t, m.Apply([]Peer{b}))
	if len(f.peers) != 1 || len(m.attempts) != 1 || len(f.routes) != 1 {
		t.Errorf("%+v, %d attempts", f.state, len(m.attempts))
	}
	// a bad peer does not hinder the others
	if err := m.Apply([]Peer{a, {}, b}); err == nil || len(f.peers) != 2 {
		t.Errorf("%d peers, %v", len(f.peers), err)
	}
	noErr(t, m.Apply(nil))
	if len(f.peers) != 0 || len(f.routes) != 0 {
		t.Errorf("%+v", f.state)
	}
	noErr(t, m.Close())
	if !f.closed {
		t.Error("the device is open")
	}
}

func TestEndpointsAreTriedInTurn(t *testing.T) {
	m, f := testMesh(new(bytes.Buffer))
	noErr(t, m.Apply([]Peer{{keyA, []netip.Prefix{prefixX}, endpoints("203.0.113.7:1", "192.168.1.1:51820")}}))
	now := time.Now().Add(every)
	noErr(t, m.reconcile(now))
	far := netip.MustParseAddrPort("203.0.113.7:1")
	if p := f.peers[keyA]; p.endpoint != far {
		t.Errorf("%+v", p)
	}
	p := f.peers[keyA]
	p.handshake = time.Unix(1, 0)
	f.peers[keyA] = p
	for range 10 {
		now = now.Add(every)
		noErr(t, m.reconcile(now))
	}
	if p := f.peers[keyA]; p.endpoint != far || len(f.writes) != 2 {
		t.Errorf("%+v, %d writes: what works was given up", p, len(f.writes))
	}
	if s, err := m.Status(); err != nil || len(s) != 1 || s[0].Endpoint != far || s[0].LastHandshake != time.Unix(1, 0) {
		t.Errorf("%+v, %v", s, err)
	}
	now = now.Add(alive)
	noErr(t, m.reconcile(now))
	if p := f.peers[keyA]; p.endpoint != somewhere {
		t.Errorf("%+v: a dead endpoint was kept", p)
	}
}

func TestFailuresAreToldOnce(t *testing.T) {
	var log bytes.Buffer
	m, f := testMesh(&log)
	f.err = errors.New("no such device")
	if err := m.Apply([]Peer{{Key: keyA}}); !errors.Is(err, f.err) {
		t.Errorf("%v", err)
	}
	for range 3 {
		m.report(m.reconcile(time.Now()))
	}
	if _, err := m.Status(); !errors.Is(err, f.err) {
		t.Errorf("%v", err)
	}
	f.err = nil
	m.report(m.reconcile(time.Now())) // tried again, it works
	f.err = errors.New("no such device")
	m.report(m.reconcile(time.Now()))
	if n := strings.Count(log.String(), "no such device"); n != 2 || len(f.peers) != 1 {
		t.Errorf("told %d times, %d peers", n, len(f.peers))
	}
}
