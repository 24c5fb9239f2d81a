package membership

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/discover"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/members"
	"github.com/digital-mycelium/os/pkg/mesh"
)

// lan is a network segment in this process: nodes have loopback addresses of
// their own and find each other by a list.
type lan struct {
	t    *testing.T
	next atomic.Uint32
	mu   sync.Mutex
	here []*testNode
}

// lans gives every segment of the test binary its own addresses.
var lans atomic.Uint32

func newLAN(t *testing.T) *lan {
	l := &lan{t: t}
	l.next.Store(lans.Add(1) << 8)
	return l
}

// testNode is a node without a machine.
type testNode struct {
	*Membership
	lan     *lan
	dir     string
	address netip.Addr
	clock   func() time.Time
	serving atomic.Bool
	mesh    fakeMesh
	stop    func()

	mu       sync.Mutex
	set      []time.Time
	problems map[string]string
}

type fakeMesh struct {
	mu    sync.Mutex
	peers []mesh.Peer
}

func (f *fakeMesh) Apply(peers []mesh.Peer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.peers = slices.Clone(peers)
	return nil
}
func (f *fakeMesh) Status() ([]mesh.PeerStatus, error) { return nil, nil }
func (f *fakeMesh) Close() error                       { return nil }

func (f *fakeMesh) keys() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.peers)
}

// node makes a node; change may alter its options.
func (l *lan) node(name string, change func(*Options)) *testNode {
	l.t.Helper()
	n := l.next.Add(1)
	tn := &testNode{lan: l, dir: filepath.Join(l.t.TempDir(), name), address: netip.AddrFrom4([4]byte{127, 66, byte(n >> 8), byte(n)}), clock: time.Now}
	tn.start(name, change)
	l.add(tn)
	return tn
}

func (l *lan) add(tn *testNode) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.here = append(l.here, tn)
}

func (tn *testNode) start(name string, change func(*Options)) {
	t := tn.lan.t
	t.Helper()
	never := make(chan struct{})
	o := Options{
		Dir: tn.dir, Name: name, Version: "1", Board: "test", Build: time.Now().Add(-time.Hour), System: func() time.Time { return tn.clock() },
		Log:       slog.New(slog.DiscardHandler),
		Peers:     func() []string { return nil },
		Addresses: func() ([]netip.Addr, <-chan struct{}) { return []netip.Addr{tn.address}, never },
		Listen: func(ctx context.Context, port int) (net.Listener, error) {
			var lc net.ListenConfig
			return lc.Listen(ctx, "tcp", net.JoinHostPort(tn.address.String(), strconv.Itoa(port)))
		},
		Discover: tn.discover,
		OpenMesh: func([32]byte, netip.Addr) (Mesh, error) { return &tn.mesh, nil },
		Pods:     func() (map[netip.Addr]netip.Prefix, <-chan struct{}) { return nil, never },
		Join: func(role identity.NodeRole) (api.ClusterJoin, error) {
			if !tn.serving.Load() {
				return api.ClusterJoin{}, api.ErrNotYet
			}
			return api.ClusterJoin{Server: "https://" + tn.address.String() + ":6443", Token: role.String() + " token"}, nil
		},
		Serving: tn.serving.Load,
		Node:    nil,
		SetClock: func(now time.Time) {
			tn.mu.Lock()
			defer tn.mu.Unlock()
			tn.set = append(tn.set, now)
		},
		Report: func(_ api.Membership, problems map[string]string) {
			tn.mu.Lock()
			defer tn.mu.Unlock()
			tn.problems = problems
		},
	}
	if change != nil {
		change(&o)
	}
	m, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	tn.Membership = m
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	tn.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	})
	t.Cleanup(tn.stop)
}

// discover finds every node of this LAN that is a member of the network.
func (tn *testNode) discover(ctx context.Context, network identity.NetworkID, _ func() discover.Flags, found func(discover.Hint)) {
	for ctx.Err() == nil {
		tn.lan.mu.Lock()
		nodes := slices.Clone(tn.lan.here)
		tn.lan.mu.Unlock()
		for _, other := range nodes {
			if other != tn && other.Status().State == api.Member && other.Status().Network == network.String() {
				found(discover.Hint{Address: other.address, Flags: discover.Flags{Member: true, Issuer: other.Status().Issuer}})
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 seconds: %s", what)
		}
	}
}

// operator founds a network as a person does.
type operator struct {
	t        *testing.T
	root     identity.PrivateKey
	key      identity.PrivateKey
	clock    *identity.Clock
	verifier *identity.Verifier
	issuer   *identity.Issuer
	cred     []byte
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	o := &operator{t: t, root: identity.GenerateKey(), key: identity.GenerateKey()}
	dir := t.TempDir()
	o.clock = must(t)(identity.OpenClock(filepath.Join(dir, "clock"), time.Now().Add(-time.Hour), nil))
	id := identity.NetworkOf(o.root.Public())
	o.verifier = must2(t)(identity.CreateVerifier(filepath.Join(dir, "trust"), id, identity.NetworkID{}, o.clock))
	issuerKey := identity.GenerateKey()
	issuer, err := identity.CreateIssuer(filepath.Join(dir, "ledger"), issuerKey, o.delegate(issuerKey.Public(), 1), o.verifier)
	if err != nil {
		t.Fatal(err)
	}
	o.issuer = issuer
	if o.cred, err = issuer.Certify(o.key.Public(), "ann", identity.Caps{API: identity.Admin}); err != nil {
		t.Fatal(err)
	}
	return o
}

func must(t *testing.T) func(*identity.Clock, error) *identity.Clock {
	return func(c *identity.Clock, err error) *identity.Clock {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func must2(t *testing.T) func(*identity.Verifier, error) *identity.Verifier {
	return func(v *identity.Verifier, err error) *identity.Verifier {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (o *operator) delegate(issuer identity.PublicKey, first uint64) []byte {
	now := time.Now().UTC().Truncate(time.Second)
	d, err := identity.Sign(o.root, identity.Delegation{
		Network: identity.NetworkOf(o.root.Public()), Root: o.root.Public(), Issuer: issuer, Caps: identity.Caps{API: identity.Admin, Node: identity.Server},
		MaxValidity: 30 * 24 * time.Hour, FirstSerial: first, Count: 100, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(365 * 24 * time.Hour),
	})
	if err != nil {
		o.t.Fatal(err)
	}
	return d
}

// enrol makes a node the founder, with an issuer of its own.
func (o *operator) enrol(tn *testNode) {
	o.t.Helper()
	client := api.NewEnrolmentClient(tn.url(api.Port), func(key identity.PublicKey) error {
		if key != tn.Key() {
			return fmt.Errorf("another node: %s", key)
		}
		return nil
	})
	defer client.Close()
	network := o.verifier.Network()
	var description api.Description
	eventually(o.t, "the node offers enrolment", func() bool {
		var err error
		description, err = client.Describe(o.t.Context(), network)
		return err == nil
	})
	cred, err := o.issuer.Issue(description.Request, identity.Caps{Node: identity.Server})
	if err != nil {
		o.t.Fatal(err)
	}
	serversIssuer := identity.GenerateKey()
	g := api.Grant{Network: network, Credential: cred, Found: true, Issuer: &api.IssuerGrant{Key: serversIssuer.Reveal(), Delegation: o.delegate(serversIssuer.Public(), 1000)}}
	if err := client.Enrol(o.t.Context(), g); err != nil {
		o.t.Fatal(err)
	}
	eventually(o.t, "the node is a member", func() bool { return tn.Status().State == api.Member })
}

func (tn *testNode) url(port int) string {
	return net.JoinHostPort(tn.address.String(), strconv.Itoa(port))
}

// client calls a node as the operator.
func (o *operator) client(tn *testNode) *api.Client {
	o.t.Helper()
	pair, err := identity.TLSCertificate(o.key, o.cred)
	if err != nil {
		o.t.Fatal(err)
	}
	client, err := api.NewClient(api.ClientConfig{Address: tn.url(api.Port), TLS: o.verifier.ClientTLS(identity.TLSOptions{Certificate: func() (*tls.Certificate, error) { return &pair, nil }, Peer: tn.Key()})})
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(client.Close)
	return client
}

func (o *operator) invite(tn *testNode, role identity.NodeRole, uses int) identity.Token {
	o.t.Helper()
	var token identity.Token
	eventually(o.t, "an invite", func() (ok bool) {
		var err error
		token, err = o.client(tn).Invite(o.t.Context(), role, uses, time.Hour)
		return err == nil
	})
	return token
}

// TestServersJoinInTurn: a server joins the cluster when the one before it serves,
// an agent at any time.
func TestServersJoinInTurn(t *testing.T) {
	l, ann := newLAN(t), newOperator(t)
	first := l.node("first", nil)
	ann.enrol(first)
	first.serving.Store(true)
	servers, agents := ann.invite(first, identity.Server, 2), ann.invite(first, identity.Agent, 1)
	second := l.node("second", func(o *Options) { o.Invite = servers })
	third := l.node("third", func(o *Options) { o.Invite = servers })
	agent := l.node("agent", func(o *Options) { o.Invite = agents })
	for _, tn := range []*testNode{second, third, agent} {
		eventually(t, tn.o.Name+" knows the server", func() bool {
			tn.Wake()
			return tn.Status().State == api.Member && len(tn.targets(func(other members.Member) bool { return other.Serving })) == 1
		})
	}
	for _, tn := range []*testNode{second, second, agent} {
		if _, err := tn.askJoin(t.Context()); err != nil {
			t.Errorf("%s joins: %v", tn.o.Name, err)
		}
	}
	if _, err := third.askJoin(t.Context()); !errors.Is(err, api.ErrNotYet) || !strings.Contains(err.Error(), "turn of second") {
		t.Errorf("third joins while second does: %v", err)
	}
	second.serving.Store(true)
	second.Wake()
	eventually(t, "the turn of third", func() bool {
		_, err := third.askJoin(t.Context())
		return err == nil
	})
}

// TestNetwork: enrol, invite, join, know each other, join the cluster, remove.
func TestNetwork(t *testing.T) {
	l, ann := newLAN(t), newOperator(t)
	first := l.node("first", nil)
	if s := first.Status(); s.State != api.Unconfigured || s.Key != first.Key().String() {
		t.Errorf("before enrolment: %+v", s)
	}
	ann.enrol(first)
	token := ann.invite(first, identity.Agent, 2)
	second := l.node("second", func(o *Options) { o.Invite = token })
	third := l.node("third", func(o *Options) { o.Invite = token })
	all := []*testNode{first, second, third}
	for _, tn := range all {
		eventually(t, tn.o.Name+" knows the others", func() bool { return len(tn.Status().Peers) == 2 && tn.mesh.keys() == 2 })
	}
	fourth := l.node("fourth", func(o *Options) { o.Invite = token })
	eventually(t, "a third use of an invite for two is refused", func() bool {
		fourth.mu.Lock()
		defer fourth.mu.Unlock()
		return strings.Contains(fourth.problems["membership/join"], "used up")
	})

	first.serving.Store(true)
	first.Wake()
	join, err := second.JoinCluster(t.Context())
	if err != nil || join.Token != "agent token" {
		t.Errorf("join: %+v, %v", join, err)
	}

	// A node that starts again is a member at once.
	second.stop()
	second = &testNode{lan: l, dir: second.dir, address: second.address, clock: time.Now}
	second.start("second", nil)
	l.add(second)
	if s := second.Status(); s.State != api.Member || s.Role != "agent" || len(s.Peers) != 2 {
		t.Errorf("after a restart: %+v", s)
	}

	if err := ann.client(first).Revoke(t.Context(), third.Key()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the others drop the removed node", func() bool { return first.mesh.keys() == 1 && second.mesh.keys() == 1 })
	eventually(t, "the removed node learns of it", func() bool {
		third.Wake()
		return third.Status().State == api.Removed && third.mesh.keys() == 0 || third.Status().State == api.Removed
	})
	if _, err := third.askJoin(t.Context()); !errors.Is(err, identity.ErrRevoked) {
		t.Errorf("the removed node asks to join the cluster: %v", err)
	}
}

// TestTwoNetworks: nodes of two networks on one segment have nothing to do with
// each other.
func TestTwoNetworks(t *testing.T) {
	l, ann, bob := newLAN(t), newOperator(t), newOperator(t)
	a, b := l.node("a", nil), l.node("b", nil)
	ann.enrol(a)
	bob.enrol(b)
	a.heard(discover.Hint{Address: b.address}) // a false hint
	a.exchange(t.Context(), true)
	if len(a.Status().Peers) != 0 || len(b.Status().Peers) != 0 {
		t.Errorf("peers: %+v and %+v", a.Status().Peers, b.Status().Peers)
	}
	var err error
	eventually(t, "an answer of the other network", func() bool {
		_, err = a.exchangeAt(t.Context(), b.url(api.Port))
		return !errors.Is(err, syscall.ECONNREFUSED)
	})
	if !errors.Is(err, identity.ErrWrongNetwork) {
		t.Errorf("exchange with another network: %v", err)
	}
	if _, err := bob.client(a).Members(t.Context()); err == nil {
		t.Error("another network's operator is answered")
	}
}

// TestClockOf1970: a machine whose clock shows 1970 joins, and its clock is set.
func TestClockOf1970(t *testing.T) {
	l, ann := newLAN(t), newOperator(t)
	first := l.node("first", nil)
	ann.enrol(first)
	token := ann.invite(first, identity.Agent, 1)
	old := l.node("old", func(o *Options) {
		o.Invite = token
		o.Build = time.Now().Add(-30 * 24 * time.Hour)
		o.System = func() time.Time { return time.Unix(0, 0) }
	})
	eventually(t, "it is a member", func() bool { return old.Status().State == api.Member && len(first.Status().Peers) == 1 })
	old.mu.Lock()
	defer old.mu.Unlock()
	if len(old.set) == 0 || time.Since(old.set[len(old.set)-1]).Abs() > time.Hour {
		t.Errorf("the clock was set to %v", old.set)
	}
}

// TestOtherNetworkBakedIn: a node whose configuration names a network is
// enrolled in no other.
func TestOtherNetworkBakedIn(t *testing.T) {
	l, ann, bob := newLAN(t), newOperator(t), newOperator(t)
	n := l.node("n", func(o *Options) { o.Network = ann.verifier.Network() })
	client := api.NewEnrolmentClient(n.url(api.Port), func(identity.PublicKey) error { return nil })
	defer client.Close()
	eventually(t, "the node answers", func() bool {
		_, err := client.Describe(t.Context(), ann.verifier.Network())
		return err == nil
	})
	if _, err := client.Describe(t.Context(), bob.verifier.Network()); !errors.Is(err, api.ErrConflict) {
		t.Errorf("another network: %v", err)
	}
	ann.enrol(n)
}
