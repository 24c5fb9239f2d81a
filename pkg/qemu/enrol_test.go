package qemu

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/networks"
)

// pretendNetwork is a network of pretended nodes, of which running are on.
func pretendNetwork(t *testing.T, nodes, servers, running int) (*Network, []*guest) {
	t.Helper()
	machine := tiny(t)
	machine.Forwards = nil
	n, err := Create(t.Context(), t.TempDir()+"/net", NetworkSpec{Name: "test", Nodes: nodes, Servers: servers, Node: machine})
	if err != nil {
		t.Fatal(err)
	}
	var guests []*guest
	for i, node := range n.nodes {
		if err := node.Change(func(s *NodeSpec) { s.Forwards = []Forward{{Guest: api.Port, Host: freePort(t)}} }); err != nil {
			t.Fatal(err)
		}
		if i < running {
			turnOn(t, node)
		}
		guests = append(guests, newGuest(t, node))
	}
	return n, guests
}

func known(t *testing.T, n *Network) []networks.Node {
	t.Helper()
	var nodes []networks.Node
	err := n.spec.Identity.use(t.Context(), func(id *networks.Network) error {
		nodes = id.Nodes()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return nodes
}

// The first node founds the cluster and has an issuer, those that run already are
// enrolled by hand as well, and the rest get an invite by their role.
func TestStartEnrols(t *testing.T) {
	ctx := testContext(t)
	n, guests := pretendNetwork(t, 5, 3, 2)
	for i := range 2 {
		guests[i].boot(n.nodes[i])
	}
	joining := n.nodes[2:]
	n.nodes = n.nodes[:2]
	var seen []string
	if err := n.Start(ctx, StartOptions{See: func(o Observation) { seen = append(seen, o.Stage()) }}); err != nil {
		t.Fatal(err)
	}
	if len(seen) == 0 {
		t.Error("nothing was observed")
	}
	n.nodes = append(n.nodes, joining...)
	for i, g := range guests[:2] {
		if g.status.Membership.Role != "server" || (g.issuer != nil) != (i == 0) {
			t.Errorf("node %d: role %q, issuer %v", i+1, g.status.Membership.Role, g.issuer != nil)
		}
		if key, err := n.nodes[i].Key(); err != nil || key != g.key.Public() {
			t.Errorf("node %d: key %v, %v", i+1, key, err)
		}
	}
	if nodes := known(t, n); len(nodes) != 2 || nodes[1].Name != "node-2" || nodes[1].Addresses[0] != mustAddress(t, n.nodes[1]) {
		t.Errorf("known nodes %+v", nodes)
	}
	strangers, err := n.strangers()
	if err != nil || !slices.Equal(strangers, joining) {
		t.Fatalf("strangers %v, %v", strangers, err)
	}

	if err := n.inviteAll(ctx, joining); err != nil {
		t.Fatal(err)
	}
	slices.Sort(guests[0].invited)
	if want := []identity.NodeRole{identity.Agent, identity.Agent, identity.Server}; !slices.Equal(guests[0].invited, want) {
		t.Errorf("invited %v, want %v", guests[0].invited, want)
	}
	again, err := OpenNetwork(n.dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, node := range again.nodes[2:] {
		c, err := config.Parse(node.Spec().Config)
		if err != nil {
			t.Fatal(err)
		}
		token, err := identity.ParseToken(c.Membership.Invite.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		want := identity.Agent
		if i == 0 {
			want = identity.Server
		}
		if caps := token.Invite().Caps; caps.Node != want || c.Hostname != node.Name() || len(c.Membership.Peers) != 1 {
			t.Errorf("%s: token for %s, configuration %+v", node.Name(), caps, c.Membership)
		}
	}
	if strangers, err := again.strangers(); err != nil || len(strangers) != 0 {
		t.Errorf("strangers with an invite: %v, %v", strangers, err)
	}
}

// A node that has come by its invite is known from its first answer on, and its
// invite is thrown away.
func TestInvitedNode(t *testing.T) {
	ctx := testContext(t)
	n, guests := pretendNetwork(t, 2, 1, 2)
	guests[0].boot(n.nodes[0])
	if err := n.Enrol(ctx, n.nodes[0], nil); err != nil {
		t.Fatal(err)
	}
	if err := n.inviteAll(ctx, n.nodes[1:]); err != nil {
		t.Fatal(err)
	}
	node, g := n.nodes[1], guests[1]
	c, err := config.Parse(node.Spec().Config)
	if err != nil {
		t.Fatal(err)
	}
	token, err := identity.ParseToken(c.Membership.Invite.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	request, err := token.Request(g.key, [32]byte{1}, node.Name())
	if err != nil {
		t.Fatal(err)
	}
	credential, err := guests[0].issuer.Admit(request)
	if err != nil {
		t.Fatal(err)
	}
	g.says("mycelium: init 0.1.0 started\r\nmycelium: enrolment: " + g.key.Public().String() + "\r\n")
	g.run(portOf(t, node), func() []byte { return credential })
	if err := n.Enrol(ctx, node, nil); err != nil {
		t.Fatal(err)
	}
	if key, err := node.Key(); err != nil || key != g.key.Public() || g.status.Membership.Role != "agent" {
		t.Errorf("key %v, %v, role %s", key, err, g.status.Membership.Role)
	}
	if node.invited() || len(known(t, n)) != 2 {
		t.Errorf("invited still: %v; known are %+v", node.invited(), known(t, n))
	}
}

// A node whose STATE was wiped is another one. In a network to throw away it gets
// an issuer again.
func TestEnrolAfterWipe(t *testing.T) {
	ctx := testContext(t)
	n, guests := pretendNetwork(t, 1, 1, 1)
	node, g := n.nodes[0], guests[0]
	g.boot(node)
	if err := n.Enrol(ctx, node, nil); err != nil {
		t.Fatal(err)
	}
	if err := n.Enrol(ctx, node, nil); err != nil { // a member already
		t.Fatal(err)
	}
	g.stop()
	wiped := newGuest(t, node)
	wiped.boot(node)
	if err := n.Enrol(ctx, node, nil); err != nil {
		t.Fatal(err)
	}
	if key, err := node.Key(); err != nil || key != wiped.key.Public() || wiped.issuer == nil {
		t.Errorf("key %v, %v, issuer %v", key, err, wiped.issuer != nil)
	}
	if nodes := known(t, n); len(nodes) != 1 || nodes[0].Key != wiped.key.Public() {
		t.Errorf("known are %+v", nodes)
	}
}

// Somebody else on the forwarded port does not get a certificate.
func TestEnrolComparesTheFingerprint(t *testing.T) {
	n, g := pretend(t, throwaway(t))
	other := identity.GenerateKey().Public()
	g.says = func(text string) { say(t, n, strings.ReplaceAll(text, g.key.Public().String(), other.String())) }
	g.boot(n)
	err := error(syscall.ECONNREFUSED)
	for ctx := testContext(t); ctx.Err() == nil && errors.Is(err, syscall.ECONNREFUSED); { // until it listens
		err = n.push(ctx, other, EnrolOptions{Role: identity.Server, Found: true})
	}
	if !errors.Is(err, identity.ErrWrongPeer) {
		t.Errorf("error %v", err)
	}
	if len(g.grants) > 0 {
		t.Error("the wrong node was handed a certificate")
	}
}

func TestEnrolFailures(t *testing.T) {
	n, g := pretend(t, throwaway(t))
	ctx, cancel := context.WithCancel(testContext(t))
	err := n.Enrol(ctx, EnrolOptions{Role: identity.Server}, func(Observation) { cancel() })
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "did not become a member of its network") {
		t.Errorf("a node that does not boot: %v", err)
	}
	say(t, n, "mycelium: init 0.1.0 started\r\nmycelium: fatal: no disk\r\n")
	if err := n.Enrol(testContext(t), EnrolOptions{Role: identity.Server}, nil); err == nil || !strings.Contains(err.Error(), "no disk") {
		t.Errorf("a node that cannot boot: %v", err)
	}
	lonely, err := newNode(NodeSpec{Name: "n", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := lonely.Enrol(testContext(t), EnrolOptions{}, nil); err == nil {
		t.Error("a node without a network was enrolled")
	}
	if _, err := lonely.Client(t.Context()); err == nil {
		t.Error("a node without a network can be called")
	}
	_ = g
}

// Machines in a network of the operator's are known there until they are removed.
func TestOwnNetwork(t *testing.T) {
	ctx := testContext(t)
	id := throwaway(t)
	machine := tiny(t)
	machine.Forwards = nil
	n, err := Create(ctx, t.TempDir()+"/net", NetworkSpec{Name: "other", Identity: id, Node: machine})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(n.dir + "/" + identityDir); err == nil {
		t.Error("a network was founded besides the chosen one")
	}
	if err := n.nodes[0].Change(func(s *NodeSpec) { s.Forwards = []Forward{{Guest: api.Port, Host: freePort(t)}} }); err != nil {
		t.Fatal(err)
	}
	turnOn(t, n.nodes[0])
	g := newGuest(t, n.nodes[0])
	g.boot(n.nodes[0])
	if err := n.Start(ctx, StartOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(known(t, n)) != 1 {
		t.Errorf("known are %+v", known(t, n))
	}
	for _, node := range n.nodes { // so that Down has nothing to switch off
		if err := os.Remove(node.path(processFile)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.Down(ctx, DownOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(known(t, n)) != 0 {
		t.Errorf("after the end known are %+v", known(t, n))
	}
}
