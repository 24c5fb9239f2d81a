package networks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
)

// newcomer is a node that waits to be enrolled.
type newcomer struct {
	key identity.PrivateKey
	// signs is whose certificate it asks for; key when zero.
	signs identity.PrivateKey
	// answer is what it says to what it was sent.
	answer error
	got    *api.Grant
}

func (f *newcomer) Describe(_ context.Context, network identity.NetworkID) (api.Description, error) {
	key := f.signs
	if key.IsZero() {
		key = f.key
	}
	request, err := identity.Sign(key, identity.Request{Network: network, Key: key.Public(), Mesh: [32]byte{1}, Name: "node-1"})
	return api.Description{Request: request, Name: "node-1"}, err
}

func (f *newcomer) Enrol(_ context.Context, g api.Grant) error {
	f.got = &g
	return f.answer
}

func enrolFake(t *testing.T, n *Network, f *newcomer, o EnrolOptions) (Node, error) {
	t.Helper()
	if f.key.IsZero() {
		f.key = identity.GenerateKey()
	}
	o.Address = "192.0.2.1:6440"
	return n.enrol(t.Context(), f, f.key.Public, o)
}

func TestEnrolFounder(t *testing.T) {
	s, id := newStore(t)
	create(t, s, "home", id)
	n := open(t, s, "home")
	defer n.Close()
	d, _ := n.ServersDelegation()
	f := &newcomer{}
	node, err := enrolFake(t, n, f, EnrolOptions{Role: identity.Server, Found: true, Peers: []string{"p:1"}})
	noErr(t, err)
	if node.Key != f.key.Public() || node.Name != "node-1" || !slices.EqualFunc(n.Nodes(), []Node{node}, func(a, b Node) bool { return a.Key == b.Key }) {
		t.Errorf("node %+v, remembered %+v", node, n.Nodes())
	}
	// As the node does with what it got.
	g := f.got
	clock, err := identity.OpenClock(t.TempDir()+"/clock", s.Built, nil)
	noErr(t, err)
	v, err := identity.CreateVerifier(t.TempDir()+"/trust", g.Network, g.Anchor, clock)
	noErr(t, err)
	cert, err := v.Verify(g.Credential)
	noErr(t, err)
	if cert.Key != f.key.Public() || cert.Caps.Node != identity.Server || cert.Caps.API != identity.NoAPI || !g.Found || len(g.Peers) != 1 {
		t.Errorf("the node is %s and got %+v", cert.Caps, g)
	}
	key, err := identity.KeyFromSeed(g.Issuer.Key)
	noErr(t, err)
	issuer, err := identity.CreateIssuer(t.TempDir()+"/ledger", key, g.Issuer.Delegation, v)
	noErr(t, err)
	if issuer.Delegation().Issuer != d.Issuer {
		t.Errorf("the issuer is %s", issuer.Delegation().Issuer)
	}

	// The next ones join; nobody else founds.
	second := &newcomer{}
	_, err = enrolFake(t, n, second, EnrolOptions{Role: identity.Agent})
	noErr(t, err)
	if second.got.Issuer != nil || second.got.Found {
		t.Errorf("a joining node got %+v", second.got)
	}
	if _, err := enrolFake(t, n, &newcomer{}, EnrolOptions{Role: identity.Server, Found: true}); !errors.Is(err, ErrHandedOver) {
		t.Errorf("founded again: %v", err)
	}
}

// After a rotation the node is told the new root key and how it came about.
func TestEnrolAfterRotation(t *testing.T) {
	s, id := newStore(t)
	create(t, s, "home", id)
	n := open(t, s, "home")
	defer n.Close()
	root, err := n.Unlock("", id)
	noErr(t, err)
	noErr(t, n.Rotate(root, CertificateValidity, id.Recipient()))
	noErr(t, n.Revoke(identity.GenerateKey().Public(), 0))
	f := &newcomer{}
	_, err = enrolFake(t, n, f, EnrolOptions{Role: identity.Agent})
	noErr(t, err)
	clock, err := identity.OpenClock(t.TempDir()+"/clock", s.Built, nil)
	noErr(t, err)
	v, err := identity.CreateVerifier(t.TempDir()+"/trust", f.got.Network, f.got.Anchor, clock)
	noErr(t, err)
	for _, r := range f.got.Statements.Rotations {
		noErr(t, v.AddRotation(r))
	}
	for _, r := range f.got.Statements.Revocations {
		noErr(t, v.AddRevocation(r))
	}
	_, err = v.Verify(f.got.Credential)
	noErr(t, err)
	if len(f.got.Statements.Rotations) != 1 || len(f.got.Statements.Revocations) != 1 {
		t.Errorf("statements %+v", f.got.Statements)
	}
}

// Which answers leave the servers' issuer here.
func TestEnrolFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		f    *newcomer
		want error
		kept bool
	}{
		"another key":  {&newcomer{signs: identity.GenerateKey()}, identity.ErrSignature, true},
		"refused":      {&newcomer{answer: fmt.Errorf("enrol: %w", api.ErrConflict)}, api.ErrConflict, true},
		"unreachable":  {&newcomer{answer: &net.OpError{Op: "dial", Err: errors.New("refused")}}, nil, true},
		"lost answer":  {&newcomer{answer: context.DeadlineExceeded}, context.DeadlineExceeded, false},
		"cut off":      {&newcomer{answer: &net.OpError{Op: "read", Err: errors.New("reset")}}, nil, false},
		"wrong answer": {&newcomer{answer: errors.New("internal")}, nil, false},
	} {
		s, id := newStore(t)
		create(t, s, "home", id)
		n := open(t, s, "home")
		_, err := enrolFake(t, n, tt.f, EnrolOptions{Role: identity.Server, Found: true})
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, gone := n.ServersDelegation(); gone == tt.kept {
			t.Errorf("%s: handed over: %v", name, gone)
		}
		if len(n.Nodes()) > 0 {
			t.Errorf("%s: the node is remembered", name)
		}
		n.Close()
	}
}
