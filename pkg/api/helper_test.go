package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/update/delta"
)

// t0 is when the networks of tests are founded.
var t0 = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// world is a network for tests: its keys, and a clock that all its verifiers follow.
type world struct {
	t          testing.TB
	root       identity.PrivateKey
	issuer     identity.PrivateKey
	id         identity.NetworkID
	delegation []byte
	verifier   *identity.Verifier
	dir        string

	mu     sync.Mutex
	clock  time.Time
	serial uint64
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, root: identity.GenerateKey(), issuer: identity.GenerateKey(), clock: t0, serial: 100, dir: t.TempDir()}
	w.id = identity.NetworkOf(w.root.Public())
	d, err := identity.Sign(w.root, identity.Delegation{
		Network: w.id, Root: w.root.Public(), Issuer: w.issuer.Public(), Caps: identity.Caps{API: identity.Admin, Node: identity.Server},
		MaxValidity: 90 * day, FirstSerial: 1, Count: 1000, NotBefore: t0.Add(-day), NotAfter: t0.Add(365 * day),
	})
	noErr(t, err)
	w.delegation = d
	w.verifier = w.newVerifier("verifier", w.now)
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) set(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = now
}

func (w *world) newVerifier(name string, now func() time.Time) *identity.Verifier {
	w.t.Helper()
	clock, err := identity.OpenClock(filepath.Join(w.dir, name+".clock"), t0.Add(-day), now)
	noErr(w.t, err)
	v, err := identity.CreateVerifier(filepath.Join(w.dir, name), w.id, identity.NetworkID{}, clock)
	noErr(w.t, err)
	return v
}

// member is somebody with a certificate.
type member struct {
	world  *world
	key    identity.PrivateKey
	cert   tls.Certificate
	serial uint64
}

// member certifies a new key from t0 - 1h for 30 days.
func (w *world) member(name string, caps identity.Caps) *member {
	w.t.Helper()
	return w.memberAt(name, caps, t0.Add(-time.Hour), t0.Add(30*day))
}

func (w *world) memberAt(name string, caps identity.Caps, from, until time.Time) *member {
	w.t.Helper()
	return w.certify(identity.GenerateKey(), name, caps, from, until)
}

func (w *world) certify(key identity.PrivateKey, name string, caps identity.Caps, from, until time.Time) *member {
	w.t.Helper()
	w.mu.Lock()
	w.serial++
	serial := w.serial
	w.mu.Unlock()
	c := identity.Certificate{
		Network: w.id, Issuer: w.issuer.Public(), Serial: serial, Key: key.Public(), Name: name, Caps: caps,
		NotBefore: from, NotAfter: until,
	}
	if caps.Node != identity.NoNode {
		c.Mesh = [32]byte{1}
	}
	signed, err := identity.Sign(w.issuer, c)
	noErr(w.t, err)
	then := w.newVerifier(fmt.Sprintf("at-%d", serial), func() time.Time { return from })
	credential, err := then.NewCredential(w.delegation, signed)
	noErr(w.t, err)
	cert, err := identity.TLSCertificate(key, credential)
	noErr(w.t, err)
	return &member{w, key, cert, serial}
}

// revoke takes certificates back, as the issuer does.
func (w *world) revoke(version uint64, serials ...uint64) {
	w.t.Helper()
	slices.Sort(serials)
	list, err := identity.Sign(w.issuer, identity.Revocation{
		Network: w.id, Signer: w.issuer.Public(), Version: version, Issued: w.now(), Serials: serials, Delegation: w.delegation,
	})
	noErr(w.t, err)
	noErr(w.t, w.verifier.AddRevocation(list))
}

func (m *member) show() (*tls.Certificate, error) { return &m.cert, nil }

// client returns a client of the member server at address.
func (m *member) client(address string) *Client {
	m.world.t.Helper()
	// A caller's own clock is right: its certificate's end does not end its trust in nodes.
	v := m.world.newVerifier(fmt.Sprintf("client-%d-%p", m.serial, new(int)), m.world.now)
	c, err := NewClient(ClientConfig{Address: address, TLS: v.ClientTLS(identity.TLSOptions{Certificate: m.show})})
	noErr(m.world.t, err)
	m.world.t.Cleanup(c.Close)
	return c
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

var discard = slog.New(slog.DiscardHandler)

// serve lets s answer until the test ends, and returns its address.
func serve(t testing.TB, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noErr(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// memberServer is a node of w with fakes behind it.
func (w *world) memberServer(log *slog.Logger) (*Server, *fakeNode, *fakePeers) {
	w.t.Helper()
	self := w.member("node-1", identity.Caps{Node: identity.Server})
	node, peers := newFakeNode(), &fakePeers{}
	return NewMemberServer(MemberConfig{Verifier: w.verifier, Certificate: self.show, Node: node, Peers: peers, Log: log}), node, peers
}

// fakeNode is a Node in memory.
type fakeNode struct {
	mu      sync.Mutex
	status  Status
	changed chan struct{}
	log     []string
	more    chan struct{}
	events  []Event
	images  map[string]string
	err     error
	calls   []string
	// fixed machines have no slots.
	fixed bool
	// files are OS files by their digest; an empty one is being fetched.
	files map[string]string
	// staging holds StageUpdate up until it is closed.
	staging chan struct{}
}

func newFakeNode() *fakeNode {
	return &fakeNode{status: Status{Name: "n1"}, changed: make(chan struct{}), more: make(chan struct{}), images: map[string]string{}, files: map[string]string{}}
}

func (n *fakeNode) called(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, what)
}

// took returns what was called since the last time.
func (n *fakeNode) took() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := strings.Join(n.calls, " ")
	n.calls = nil
	return s
}

func (n *fakeNode) Status() (Status, <-chan struct{}) {
	n.called("status")
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status, n.changed
}

func (n *fakeNode) rename(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status.Name = name
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *fakeNode) Events() EventLog   { n.called("events"); return fakeEvents{n} }
func (n *fakeNode) LogNames() []string { n.called("logs"); return []string{"init", "kernel"} }
func (n *fakeNode) Metrics() string    { n.called("metrics"); return "# EOF\n" }
func (n *fakeNode) Reboot()            { n.called("reboot") }
func (n *fakeNode) Shutdown()          { n.called("shutdown") }
func (n *fakeNode) Kubeconfig() ([]byte, error) {
	n.called("kubeconfig")
	return []byte("kind: Config\n"), n.err
}

func (n *fakeNode) Processes() ([]Process, error) {
	n.called("processes")
	return []Process{{PID: 1}}, n.err
}
func (n *fakeNode) Time() TimeStatus { n.called("time"); return TimeStatus{Server: "ntp"} }
func (n *fakeNode) RestartService(name string) error {
	n.called("restart " + name)
	if name != "k3s" {
		return fmt.Errorf("service %q: %w", name, ErrNotFound)
	}
	return n.err
}

func (n *fakeNode) Reset(scope ResetScope, shutdown bool) error {
	n.called(fmt.Sprintf("reset %s %v", scope, shutdown))
	return n.err
}

func (n *fakeNode) Install(_ context.Context, o InstallOptions, progress func(InstallProgress)) error {
	n.called(fmt.Sprintf("install %s %v %s", o.Disk, o.Wipe, o.After))
	progress(InstallProgress{Step: "system", Percent: 40, Message: "writing the system"})
	if n.err == nil {
		progress(InstallProgress{Step: InstallDone, Percent: 100})
	}
	return n.err
}

func (n *fakeNode) Configuration() ([]byte, string, error) {
	n.called("configuration")
	return []byte("kind: NodeConfig\n"), "the boot partition", n.err
}

func (n *fakeNode) ApplyConfiguration(_ context.Context, document []byte, dryRun bool) ([]config.Change, error) {
	n.called(fmt.Sprintf("apply %q %v", document, dryRun))
	return []config.Change{{Field: "hostname", Reboot: true}}, n.err
}

func (n *fakeNode) SupportBundle(_ context.Context, w io.Writer) error {
	n.called("bundle")
	if _, err := w.Write(bytes.Repeat([]byte("bundle"), 100_000)); err != nil {
		return err
	}
	return n.err
}

func (n *fakeNode) Log(name string) (Log, error) {
	n.called("log " + name)
	if name != "init" {
		return nil, fmt.Errorf("log %q: %w", name, ErrNotFound)
	}
	return n, nil
}

func (n *fakeNode) append(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log = append(n.log, line)
	n.events = append(n.events, Event{Number: uint64(len(n.events) + 1), Text: line})
	close(n.more)
	n.more = make(chan struct{})
}

func (n *fakeNode) Tail(lines int) ([]byte, int64, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	from := 0
	if lines >= 0 {
		from = max(0, len(n.log)-lines)
	}
	return []byte(strings.Join(n.log[from:], "")), int64(len(n.log)), n.more
}

func (n *fakeNode) Since(position int64) ([]byte, int64, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return []byte(strings.Join(n.log[position:], "")), int64(len(n.log)), n.more
}

type fakeEvents struct{ n *fakeNode }

func (e fakeEvents) Tail(n int) ([]Event, uint64, <-chan struct{}) {
	e.n.mu.Lock()
	defer e.n.mu.Unlock()
	from := 0
	if n >= 0 {
		from = max(0, len(e.n.events)-n)
	}
	return slices.Clone(e.n.events[from:]), uint64(len(e.n.events) + 1), e.n.more
}

func (e fakeEvents) Since(next uint64) ([]Event, uint64, <-chan struct{}) {
	e.n.mu.Lock()
	defer e.n.mu.Unlock()
	return slices.Clone(e.n.events[next-1:]), uint64(len(e.n.events) + 1), e.n.more
}

func (n *fakeNode) PutImage(_ context.Context, name string, r io.Reader) error {
	n.called("image " + name)
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.images[name] = string(b)
	return n.err
}

func (n *fakeNode) Updates() Updates {
	if n.fixed {
		return nil
	}
	return fakeUpdates{n}
}

// fakeUpdates is an Updates in memory.
type fakeUpdates struct{ *fakeNode }

func (u fakeUpdates) Check(context.Context) ([]AvailableUpdate, error) {
	u.called("check")
	return []AvailableUpdate{{Version: "1.2.3", Size: 5, Channels: []string{"stable"}, Published: t0, Due: true}}, u.err
}

func (u fakeUpdates) Stage(ctx context.Context, version string, force bool) (string, error) {
	u.called(fmt.Sprintf("stage %q %v", version, force))
	if u.staging != nil {
		select {
		case <-u.staging:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	return "1.2.3", u.err
}

func (u fakeUpdates) Push(_ context.Context, statement []byte, r io.Reader) (string, error) {
	u.called(fmt.Sprintf("push %q", statement))
	n, err := io.Copy(io.Discard, r)
	if err != nil {
		return "", err
	}
	u.called(fmt.Sprint(n))
	return "1.2.4", u.err
}

func (u fakeUpdates) Try(context.Context) error    { u.called("try"); return u.err }
func (u fakeUpdates) RollBack(reason string) error { u.called("rollback " + reason); return u.err }
func (u fakeUpdates) Hold(on bool, reason string) error {
	u.called(fmt.Sprintf("hold %v %s", on, reason))
	return u.err
}
func (u fakeUpdates) Forgive(version string) error { u.called("forgive " + version); return u.err }

func (u fakeUpdates) File(digest string) (io.ReadSeekCloser, delta.PeerState, error) {
	u.called("file " + digest)
	u.mu.Lock()
	defer u.mu.Unlock()
	content, ok := u.files[digest]
	switch {
	case !ok:
		return nil, delta.PeerState{Phase: delta.None}, nil
	case content == "":
		return nil, delta.PeerState{Phase: delta.Fetching, Have: 7, Leading: true}, nil
	case content == "broken":
		return nil, delta.PeerState{}, errors.New("the disk is gone")
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{strings.NewReader(content), io.NopCloser(nil)}, delta.PeerState{Phase: delta.Whole}, nil
}

// fakePeers is a Peers in memory.
type fakePeers struct {
	fakeNode
	in    Knowledge
	out   Knowledge
	token identity.Token
	added Statements
}

func (p *fakePeers) Exchange(_ context.Context, from *identity.Certificate, in Knowledge) (Knowledge, error) {
	p.called("exchange " + from.Name)
	p.in = in
	return p.out, p.err
}

func (p *fakePeers) JoinCluster(_ context.Context, from *identity.Certificate) (ClusterJoin, error) {
	p.called("join " + from.Name)
	return ClusterJoin{Server: "https://100.64.0.1:6443", Token: "tok"}, p.err
}

func (p *fakePeers) Members() []Peer { p.called("members"); return []Peer{{Name: "node-1"}} }

func (p *fakePeers) Invite(role identity.NodeRole, uses int, lifetime time.Duration) (identity.Token, error) {
	p.called(fmt.Sprintf("invite %s %d %s", role, uses, lifetime))
	return p.token, p.err
}

func (p *fakePeers) Revoke(key identity.PublicKey) error {
	p.called("revoke " + key.String())
	return p.err
}

func (p *fakePeers) AddStatements(s Statements) error {
	p.called("statements")
	p.added = s
	return p.err
}

func parse(t testing.TB, c tls.Certificate) *x509.Certificate {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	noErr(t, err)
	return leaf
}
