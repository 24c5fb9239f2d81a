package mesh

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Mesh is a WireGuard interface and what shall be on it. It is safe for
// concurrent use.
type Mesh struct {
	own    Key
	inside netip.Prefix
	device device
	log    *slog.Logger

	mu       sync.Mutex
	want     map[Key]Peer // nil before the first Apply
	attempts map[Key]*attempt
	failure  string // the last that was logged

	stop  func()
	ended chan struct{}
}

// device is the part of the kernel that is needed: one WireGuard interface.
type device interface {
	read() (state, error)
	write(changes) error // as much of them as possible
	close() error
}

// Open makes the WireGuard interface name, in place of one that is there, with
// the private key, this machine's address on the mesh and the mesh's range in
// one prefix, the UDP port to listen on and the size of packets in bytes. The
// caller must close it. It needs CAP_NET_ADMIN. ErrUnsupported: the kernel has
// no WireGuard.
func Open(name string, key [32]byte, address netip.Prefix, port, mtu int, log *slog.Logger) (*Mesh, error) {
	d, err := openKernel(name, key, address, port, mtu)
	if err != nil {
		return nil, fmt.Errorf("open the mesh %s: %w", name, err)
	}
	m := newMesh(d, PublicKey(key), address, log)
	stop := make(chan struct{})
	m.stop = sync.OnceFunc(func() { close(stop) })
	go m.watch(stop)
	return m, nil
}

func newMesh(d device, own Key, address netip.Prefix, log *slog.Logger) *Mesh {
	return &Mesh{
		own: own, inside: address.Masked(), device: d, log: log,
		attempts: map[Key]*attempt{}, ended: make(chan struct{}), stop: func() {},
	}
}

// Close ends it and removes the interface.
func (m *Mesh) Close() error {
	m.stop()
	<-m.ended
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.device.close(); err != nil {
		return fmt.Errorf("close the mesh: %w", err)
	}
	return nil
}

// PublicKey returns this machine's key.
func (m *Mesh) PublicKey() Key { return m.own }

// Apply says which peers there shall be, and no others. The error names those
// that make no sense and are left out, or what the kernel refused; all else is
// done, and what was refused is tried again.
func (m *Mesh) Apply(peers []Peer) error {
	want, bad := check(peers, m.own)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.want = want
	for k := range m.attempts {
		if _, wanted := want[k]; !wanted {
			delete(m.attempts, k)
		}
	}
	if err := m.reconcile(time.Now()); err != nil {
		return err
	}
	if bad != nil {
		return fmt.Errorf("apply the mesh's peers: %w", bad)
	}
	return nil
}

// Status returns what the kernel says of the peers, in the order of their keys.
func (m *Mesh) Status() ([]PeerStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.device.read()
	if err != nil {
		return nil, fmt.Errorf("read the mesh's state: %w", err)
	}
	out := make([]PeerStatus, 0, len(s.peers))
	for _, k := range slices.SortedFunc(maps.Keys(s.peers), compareKeys) {
		p := s.peers[k]
		out = append(out, PeerStatus{k, p.endpoint, p.handshake, p.received, p.sent})
	}
	return out, nil
}

// watch keeps the kernel at what is wanted until stop is closed.
func (m *Mesh) watch(stop <-chan struct{}) {
	defer close(m.ended)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		m.mu.Lock()
		m.report(m.reconcile(time.Now()))
		m.mu.Unlock()
	}
}

// report logs a failure once, not every ten seconds.
func (m *Mesh) report(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != m.failure {
		m.log.Warn("mesh", "error", err)
	}
	m.failure = text
}

// reconcile makes the kernel what is wanted at the time now.
func (m *Mesh) reconcile(now time.Time) error {
	if m.want == nil {
		return nil
	}
	have, err := m.device.read()
	if err != nil {
		return fmt.Errorf("read the mesh's state: %w", err)
	}
	inside := []netip.Prefix{m.inside}
	for _, p := range m.want {
		inside = append(inside, p.Allowed...)
	}
	want := make(map[Key]target, len(m.want))
	for k, p := range m.want {
		a := m.attempts[k]
		if a == nil {
			a = &attempt{}
			m.attempts[k] = a
		}
		from := func() []netip.AddrPort { return candidates(p.Endpoints, have, inside) }
		want[k] = target{a.choose(now, from, have.peers[k]), p.Allowed}
	}
	c := plan(have, want)
	if c.empty() {
		return nil
	}
	if err := m.device.write(c); err != nil {
		return fmt.Errorf("change the mesh: %w", err)
	}
	return nil
}
