package membership

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/discover"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/mesh"
)

// Options are what the machine around it gives.
type Options struct {
	// Dir holds the node's identity; it is made.
	Dir                  string
	Name, Version, Board string
	// Sealer keeps what opens the node's key, nil for a file.
	Sealer Sealer
	// Build is when the program was built. System is the machine's clock, zero while
	// that is known to show no more than the earliest time that it can be.
	Build  time.Time
	System func() time.Time
	Log    *slog.Logger

	// Network, when not zero, is the only one that the node may be enrolled in.
	Network identity.NetworkID
	// Invite, when not zero, is what a node without a network joins with.
	Invite identity.Token
	// Peers returns where to look for the network besides the LAN, host or host:port.
	Peers func() []string

	// Addresses returns the node's own, the best first, and a channel that is
	// closed when they change.
	Addresses func() ([]netip.Addr, <-chan struct{})
	// Listen opens a TCP port on all addresses.
	Listen func(ctx context.Context, port int) (net.Listener, error)
	// Discover runs discovery on the LAN until ctx ends.
	Discover func(ctx context.Context, network identity.NetworkID, flags func() discover.Flags, found func(discover.Hint))
	// OpenMesh makes the mesh's interface.
	OpenMesh func(key [32]byte, address netip.Addr) (Mesh, error)
	// Pods returns which pods' network is behind which mesh address, and a
	// channel that is closed when that changes.
	Pods func() (map[netip.Addr]netip.Prefix, <-chan struct{})
	// Join returns how others join the cluster through this server, api.ErrNotYet
	// while they cannot.
	Join func(role identity.NodeRole) (api.ClusterJoin, error)
	// Serving reports whether this node's Kubernetes API answers.
	Serving func() bool

	// Node and Kubernetes are served to members.
	Node       api.Node
	Kubernetes http.Handler
	// SetClock is called with the time when it is known to be later than the
	// machine's clock says.
	SetClock func(time.Time)
	// Report is called after each change of Status with what the owner should
	// know; it must not block.
	Report func(s api.Membership, problems map[string]string)
}

// Mesh is what the node needs of pkg/mesh.
type Mesh interface {
	Apply(peers []mesh.Peer) error
	Status() ([]mesh.PeerStatus, error)
	Close() error
}

// Membership is the node's place in its network. Its methods are safe for
// concurrent use.
type Membership struct {
	o     Options
	log   *slog.Logger
	store *store

	mu       sync.Mutex
	b        *belonging // nil for a node without a network
	problems map[string]string
	changed  chan struct{} // closed and replaced at each change of who is a member
	hints    map[netip.Addr]hint
	kick     chan struct{} // wakes the exchange
	mesh     Mesh
	enrolled chan struct{} // closed when an operator has enrolled the node
	refused  bool          // other members say that this node was removed
	turn     turn          // of the server that joins the cluster through this one
}

// hint is where somebody of the network was heard.
type hint struct {
	flags discover.Flags
	at    time.Time
}

// Open reads the node's identity, and makes what is missing. Run does the rest.
func Open(o Options) (*Membership, error) {
	s, err := openStore(o.Dir, o.Sealer, o.Build, o.System, o.Log)
	if err != nil {
		return nil, err
	}
	m := &Membership{
		o: o, log: o.Log, store: s, problems: map[string]string{}, changed: make(chan struct{}),
		hints: map[netip.Addr]hint{}, kick: make(chan struct{}, 1), enrolled: make(chan struct{}),
	}
	b, notes, err := s.openBelonging()
	if err != nil {
		return nil, fmt.Errorf("the network in %s cannot be opened: restore STATE, or reset the node (scope all) and enrol it again: %w", s.path(networkDir), err)
	}
	m.b = b
	for i, note := range notes {
		m.problems[fmt.Sprintf("membership/%d", i)] = note.Error()
	}
	m.setClock()
	m.report()
	return m, nil
}

// Key returns the node's public key.
func (m *Membership) Key() identity.PublicKey { return m.store.key.Public() }

// Self is what a member is.
type Self struct {
	Role    identity.NodeRole
	Address netip.Addr // on the mesh
	// Found says that the node began the cluster.
	Found bool
	// Servers is how many server members are known, this node included.
	Servers int
}

// Self returns what the node is, and a channel that is closed when that may have
// changed; ok is false for a node that is no member in good standing, or has no
// mesh yet.
func (m *Membership) Self() (self Self, ok bool, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.b == nil || m.mesh == nil || m.standing() != nil {
		return Self{}, false, m.changed
	}
	self = Self{Role: m.b.cert.Caps.Node, Address: identity.MeshAddress(m.b.cert.Key), Found: m.b.found}
	if self.Role == identity.Server {
		self.Servers++
	}
	for _, other := range m.b.members.Members() {
		if other.Key != m.b.cert.Key && other.Caps.Node == identity.Server {
			self.Servers++
		}
	}
	return self, true, m.changed
}

// standing says why the node's own certificate does not count; nil when it does.
func (m *Membership) standing() error {
	_, err := m.b.verifier.Verify(m.b.credential)
	return err
}

// Status returns the membership for the node's status.
func (m *Membership) Status() api.Membership {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status()
}

func (m *Membership) status() api.Membership {
	s := api.Membership{State: api.Unconfigured, Key: m.Key().String(), Peers: []api.Peer{}}
	if m.b == nil {
		if !m.o.Invite.IsZero() {
			s.State, s.Network = api.Joining, m.o.Invite.Invite().Network.String()
		}
		return s
	}
	s.State, s.Network, s.Role = api.Member, m.b.verifier.Network().String(), m.b.cert.Caps.Node.String()
	s.Address, s.Expires, s.Issuer = identity.MeshAddress(m.b.cert.Key).String(), m.b.cert.NotAfter, m.b.issuer != nil
	if m.refused || errors.Is(m.standing(), identity.ErrRevoked) {
		s.State = api.Removed
	}
	s.Peers = m.peers()
	return s
}

// peers returns the other members with what the mesh knows of them.
func (m *Membership) peers() []api.Peer {
	list := []api.Peer{}
	seen := map[mesh.Key]mesh.PeerStatus{}
	if m.mesh != nil {
		status, err := m.mesh.Status()
		if err != nil {
			m.log.Warn("the mesh does not tell its state", "error", err)
		}
		for _, p := range status {
			seen[p.Key] = p
		}
	}
	for _, other := range m.b.members.Members() {
		if other.Key == m.b.cert.Key {
			continue
		}
		p := api.Peer{
			Name: other.Name, Key: other.Key.String(), Role: other.Caps.Node.String(), Address: other.Address.String(),
			Issuer: other.Issuer, Version: other.OS,
		}
		if st, ok := seen[mesh.Key(other.Mesh)]; ok {
			p.LastHandshake = st.LastHandshake
			if st.Endpoint.IsValid() {
				p.Endpoint = st.Endpoint.String()
			}
		}
		list = append(list, p)
	}
	return list
}

// notify tells everybody that something about the membership has changed.
func (m *Membership) notify() {
	m.mu.Lock()
	close(m.changed)
	m.changed = make(chan struct{})
	m.mu.Unlock()
	m.report()
	m.wake()
}

// wake has the exchange run soon.
func (m *Membership) wake() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

func (m *Membership) report() {
	m.mu.Lock()
	s := m.status()
	problems := make(map[string]string, len(m.problems))
	for k, v := range m.problems {
		problems[k] = v
	}
	m.mu.Unlock()
	m.o.Report(s, problems)
}

// problem makes text the problem known by key; an empty one ends it.
func (m *Membership) problem(key, text string) {
	m.mu.Lock()
	same := m.problems[key] == text
	if text == "" {
		delete(m.problems, key)
	} else {
		m.problems[key] = text
	}
	m.mu.Unlock()
	if !same {
		m.report()
	}
}

// setClock sets the machine's clock when certificates prove that it is behind.
func (m *Membership) setClock() {
	if now := m.store.clock.Now(); now.Sub(m.o.System()) > identity.Skew {
		m.o.SetClock(now)
	}
}

// Run makes the node a member, and acts as one until ctx ends.
func (m *Membership) Run(ctx context.Context) error {
	if m.current() == nil {
		if err := m.found(ctx); err != nil {
			return err
		}
	}
	return m.run(ctx)
}

func (m *Membership) current() *belonging {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.b
}

// certificate is what the node shows in TLS.
func (m *Membership) certificate() (*tls.Certificate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.b.shown == nil {
		pair, err := identity.TLSCertificate(m.store.key, m.b.credential)
		if err != nil {
			return nil, err
		}
		m.b.shown = &pair
	}
	return m.b.shown, nil
}

// serve serves on a port until ctx ends.
func (m *Membership) serve(ctx context.Context, port int, server *api.Server) error {
	l, err := m.o.Listen(ctx, port)
	if err != nil {
		return fmt.Errorf("listen on port %d: %w", port, err)
	}
	return server.Serve(ctx, l)
}
