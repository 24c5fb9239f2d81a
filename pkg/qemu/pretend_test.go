package qemu

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
)

// guest pretends to be the OS in a machine: it waits to be enrolled, and then is
// a member, as the machine API has it. It is made anew when STATE is wiped.
type guest struct {
	api.Node
	api.Peers
	t    *testing.T
	key  identity.PrivateKey
	name string
	// says is what it writes on the console when it begins to serve.
	says func(text string)
	// grants has what it was enrolled with.
	grants chan api.Grant

	stop    func()
	mu      sync.Mutex
	status  api.Status
	invited []identity.NodeRole // one for each use of an invite
	issuer  *identity.Issuer
}

func (g *guest) Describe(network identity.NetworkID) (api.Description, error) {
	request, err := identity.Sign(g.key, identity.Request{Network: network, Key: g.key.Public(), Mesh: [32]byte{1}, Name: g.name})
	return api.Description{Request: request, Name: g.name}, err
}

func (g *guest) Enrol(_ context.Context, grant api.Grant) error {
	g.grants <- grant
	return nil
}

func (g *guest) Status() (api.Status, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.status
	s.Membership.Key = g.key.Public().String()
	return s, make(chan struct{})
}

func (g *guest) set(change func(*api.Status)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.status)
}

func (g *guest) Kubeconfig() ([]byte, error) {
	cert, err := identity.PlainCertificate(g.key, api.KubernetesServerName)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	return []byte("clusters:\n- cluster:\n    certificate-authority-data: " + base64.StdEncoding.EncodeToString(text) + "\n"), nil
}

func (g *guest) Invite(role identity.NodeRole, uses int, lifetime time.Duration) (identity.Token, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.issuer == nil {
		return identity.Token{}, api.ErrNotIssuer
	}
	for range uses {
		g.invited = append(g.invited, role)
	}
	return g.issuer.Invite(identity.Caps{Node: role}, uses, lifetime)
}

// run serves on port until the test ends: enrolment first, unless it is a member
// by credential already.
func (g *guest) run(port int, credential func() []byte) {
	g.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	g.stop = func() { cancel(); wg.Wait() }
	g.t.Cleanup(g.stop)
	wg.Go(func() {
		grant := api.Grant{Credential: credential()}
		if grant.Credential == nil {
			enrolment, err := api.NewEnrolmentServer(g.key, g, slog.New(slog.DiscardHandler))
			if err != nil {
				g.t.Error(err)
				return
			}
			served, stop := context.WithCancel(ctx)
			done := make(chan struct{})
			go func() { defer close(done); g.serve(served, port, enrolment) }()
			g.says("mycelium: enrolment: " + g.key.Public().String() + "\r\n")
			select {
			case grant = <-g.grants:
			case <-ctx.Done():
			}
			stop()
			<-done
			if ctx.Err() != nil {
				return
			}
		}
		g.member(ctx, port, grant)
	})
}

func (g *guest) serve(ctx context.Context, port int, s *api.Server) {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err == nil {
		err = s.Serve(ctx, l)
	}
	if err != nil && ctx.Err() == nil {
		g.t.Error(err)
	}
}

// member takes the grant over and serves as a member.
func (g *guest) member(ctx context.Context, port int, grant api.Grant) {
	dir := g.t.TempDir()
	clock, err := identity.OpenClock(filepath.Join(dir, "clock"), time.Time{}, nil)
	if err != nil {
		g.t.Error(err)
		return
	}
	_, cert, err := identity.ParseCredential(grant.Credential)
	if err != nil {
		g.t.Error(err)
		return
	}
	v, err := identity.CreateVerifier(filepath.Join(dir, "trust"), cert.Network, grant.Anchor, clock)
	if err != nil {
		g.t.Error(err)
		return
	}
	if grant.Issuer != nil {
		key, err := identity.KeyFromSeed(grant.Issuer.Key)
		if err != nil {
			g.t.Error(err)
			return
		}
		issuer, err := identity.CreateIssuer(filepath.Join(dir, "ledger"), key, grant.Issuer.Delegation, v)
		if err != nil {
			g.t.Error(err)
			return
		}
		g.mu.Lock()
		g.issuer = issuer
		g.mu.Unlock()
	}
	wrapped, err := identity.TLSCertificate(g.key, grant.Credential)
	if err != nil {
		g.t.Error(err)
		return
	}
	g.set(func(s *api.Status) { s.Membership.Role = cert.Caps.Node.String() })
	g.serve(ctx, port, api.NewMemberServer(api.MemberConfig{
		Verifier: v, Certificate: func() (*tls.Certificate, error) { return &wrapped, nil },
		Node: g, Peers: g, Log: slog.New(slog.DiscardHandler),
	}))
}

// freePort returns a port of 127.0.0.1 on which nothing listens.
func freePort(t *testing.T) int {
	t.Helper()
	forwards, err := choosePorts(t.Context(), []Forward{{Guest: api.Port}})
	if err != nil {
		t.Fatal(err)
	}
	return forwards[0].Host
}

// pretend makes a node whose QEMU is a child process of the test's, whose console
// is a file, and whose OS is a guest, which does not run yet.
func pretend(t *testing.T, id Identity) (*Node, *guest) {
	t.Helper()
	c := config.Default()
	c.Hostname = "node-1"
	document, err := c.Document()
	if err != nil {
		t.Fatal(err)
	}
	n, err := newNode(NodeSpec{
		Name: "node-1", Dir: t.TempDir(), Identity: id, Config: document,
		Forwards: []Forward{{Guest: api.Port, Host: freePort(t)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	turnOn(t, n)
	return n, newGuest(t, n)
}

func turnOn(t *testing.T, n *Node) {
	t.Helper()
	_, p := child(t)
	if err := writeRun(n.path(processFile), run{process: p, Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
}

func newGuest(t *testing.T, n *Node) *guest {
	return &guest{
		t: t, key: identity.GenerateKey(), name: n.Name(), grants: make(chan api.Grant, 1), status: api.Status{Phase: "running"},
		says: func(text string) { say(t, n, text) },
	}
}

// boot lets the guest say that it starts, and serve.
func (g *guest) boot(n *Node) {
	g.t.Helper()
	g.says("mycelium: init 0.1.0 started\r\n")
	g.run(portOf(g.t, n), func() []byte { return nil })
}

func portOf(t *testing.T, n *Node) int {
	t.Helper()
	port, err := strconv.Atoi(strings.TrimPrefix(mustAddress(t, n), "127.0.0.1:"))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func mustAddress(t *testing.T, n *Node) string {
	t.Helper()
	address, err := n.apiAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func say(t *testing.T, n *Node, text string) {
	t.Helper()
	f, err := os.OpenFile(n.ConsolePath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// throwaway founds a network.
func throwaway(t *testing.T) Identity {
	t.Helper()
	id, err := NewIdentity(t.Context(), filepath.Join(t.TempDir(), "identity"), "test")
	if err != nil {
		t.Fatal(err)
	}
	return id
}
