package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/networks"
)

var update = flag.Bool("update", false, "write the golden outputs anew")

// testPause is the time between two looks at a node of a farm.
const testPause = 50 * time.Millisecond

// golden compares text with the file testdata/NAME.txt.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
	}
}

// farm is a network of nodes that run in this process: real servers on
// 127.0.0.1 with nodes behind them that only pretend.
type farm struct {
	*desk
	id     identity.NetworkID
	nodes  []*fakeNode
	events eventList
	// reboots are under way.
	reboots sync.WaitGroup
}

// fakeNode is a machine without a machine.
type fakeNode struct {
	farm    *farm
	key     identity.PrivateKey
	cred    []byte
	dir     string
	address string
	issuer  *identity.Issuer
	stop    func()
	// stubborn nodes do not go down.
	stubborn bool

	mu       sync.Mutex
	status   api.Status
	changed  chan struct{}
	log      *lineLog
	events   []api.Event
	did      []string
	document string
	kube     http.Handler // Kubernetes, nil when there is none
	slots    *fakeSlots   // nil when it cannot be updated
	// steps are what happens at the next looks at its status.
	steps    []func(*api.Status)
	verifier *identity.Verifier
}

// newFarm founds the network "home" with servers named node-1, ...; the first one
// is its issuer.
func newFarm(t *testing.T, size int) *farm {
	t.Helper()
	f := &farm{desk: newDesk(t)}
	t.Cleanup(f.reboots.Wait)
	f.run("network create home --operator ann --recipient " + f.recipient)
	n := f.open("home")
	defer n.Close()
	f.id = n.Verifier.Network()
	for i := range size {
		f.add(n, fmt.Sprintf("node-%d", i+1))
	}
	return f
}

var theTime = time.Date(2026, 11, 21, 15, 0, 0, 0, time.UTC)

func (f *farm) add(n *networks.Network, name string) *fakeNode {
	f.t.Helper()
	i := len(f.nodes) + 1
	node := &fakeNode{farm: f, key: identity.GenerateKey(), dir: f.t.TempDir(), changed: make(chan struct{}), log: &lineLog{more: make(chan struct{})}}
	request, err := identity.Sign(node.key, identity.Request{Network: f.id, Key: node.key.Public(), Mesh: [32]byte{byte(i)}, Name: name})
	if err == nil {
		node.cred, err = n.Issuer.Issue(request, identity.Caps{Node: identity.Server})
	}
	if err != nil {
		f.t.Fatal(err)
	}
	node.open(identity.NetworkID{})
	if i == 1 {
		key, delegation, err := n.ServersIssuer()
		if err != nil {
			f.t.Fatal(err)
		}
		if node.issuer, err = identity.CreateIssuer(filepath.Join(node.dir, "ledger"), key, delegation, node.verifier); err != nil {
			f.t.Fatal(err)
		}
	}
	node.status = api.Status{
		Name: name, Version: "0.2.0", Board: "qemu-amd64", Arch: "amd64", Kernel: "6.12.1", SecureBoot: "on", BootID: "boot-1", Phase: "running",
		Booted: theTime.Add(-time.Hour), Time: api.TimeInfo{Now: theTime, Source: "ntp"}, Load: api.Load{One: 0.25, Five: 0.5, Fifteen: 0.75, Processors: 2},
		Memory:     api.Memory{Total: 2048 << 20, Available: 1500 << 20},
		Kubernetes: api.Kubernetes{Version: "v1.35.1+k3s1", APIUp: true, NodeReady: true, PodsRunning: 5, PodsTotal: 6},
		Interfaces: []api.Interface{{Name: "eth0", MAC: "52:54:00:00:00:01", Up: true, Addresses: []string{"10.0.2.15/24"}}},
		Services:   []api.Service{{Name: "k3s", State: "running", PID: 311, Restarts: 1, Since: theTime.Add(-50 * time.Minute), LastError: "exit status 1"}},
		Volumes:    []api.Volume{{Label: "STATE", Device: "/dev/vda4", Size: 64 << 20, Free: 60 << 20, State: "mounted"}, {Label: "DATA", Device: "/dev/vda5", Size: 15 << 30, Free: 12 << 30, Reserved: 64 << 20, State: "mounted"}},
		Disks:      []api.Disk{{Name: "vda", Model: "virtio", Size: 16 << 30, Boot: true}, {Name: "sr0", Size: 1000, Removable: true, ReadOnly: true}},
		Membership: api.Membership{State: api.Member, Network: f.id.String(), Key: node.key.Public().String(), Role: "server", Address: fmt.Sprintf("100.64.0.%d", i), Issuer: i == 1},
		Problems:   []string{}, Configuration: "the boot partition",
	}
	node.events = []api.Event{
		{Number: 1, Time: theTime, Kind: "phase", Subject: "network", Text: "ok"},
		{Number: 2, Time: theTime.Add(time.Second), Kind: "problem", Text: "a screen\x1b[2J is cleared"},
	}
	node.log.write("first\n", "second\n")
	node.document = "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\nhostname: " + name + "\n"
	node.listen("127.0.0.1:0")
	if err := n.PutNode(networks.Node{Name: name, Key: node.key.Public(), Addresses: []string{node.address}}); err != nil {
		f.t.Fatal(err)
	}
	f.nodes = append(f.nodes, node)
	return node
}

// open begins the node's state, as a new member of the network.
func (n *fakeNode) open(anchor identity.NetworkID) {
	clock, err := identity.OpenClock(filepath.Join(n.dir, "clock"), time.Time{}, nil)
	if err == nil {
		n.verifier, err = identity.CreateVerifier(filepath.Join(n.dir, "trust"), n.farm.id, anchor, clock)
	}
	if err != nil {
		n.farm.t.Fatal(err)
	}
}

// listen serves the member's API until stop is called.
func (n *fakeNode) listen(address string) {
	t := n.farm.t
	cert, err := identity.TLSCertificate(n.key, n.cred)
	if err != nil {
		t.Fatal(err)
	}
	kube, _ := kubernetesCertificate(t)
	n.serve(address, api.NewMemberServer(api.MemberConfig{
		Verifier: n.verifier, Certificate: func() (*tls.Certificate, error) { return &cert, nil },
		Kubernetes: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.kube == nil {
				http.Error(w, "Kubernetes is not up yet", http.StatusServiceUnavailable)
				return
			}
			n.kube.ServeHTTP(w, r)
		}), KubernetesCertificate: kube,
		Node: n, Peers: n, Log: slog.New(slog.DiscardHandler),
	}))
}

func (n *fakeNode) serve(address string, s *api.Server) {
	t := n.farm.t
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	n.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(ctx, l) // its end is the test's
	}()
	n.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(func() { n.stop() })
}

// kubernetesCertificate is an ordinary one for the Kubernetes that a node offers,
// and the authority that vouches for it, in PEM.
var kubernetesCertificate = func() func(t *testing.T) (*tls.Certificate, []byte) {
	var once sync.Once
	var cert tls.Certificate
	return func(t *testing.T) (*tls.Certificate, []byte) {
		once.Do(func() {
			public, key, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			template := &x509.Certificate{
				SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, DNSNames: []string{api.KubernetesServerName},
				NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
			}
			der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
			if err != nil {
				t.Fatal(err)
			}
			cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
		})
		return &cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	}
}()

// change changes the node's status.
func (n *fakeNode) change(f func(*api.Status)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(&n.status)
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *fakeNode) note(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.did = append(n.did, what)
}

// done returns what the node was asked to do since the last time.
func (n *fakeNode) done() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	did := n.did
	n.did = nil
	return did
}

func (n *fakeNode) Status() (api.Status, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.steps) > 0 {
		n.steps[0](&n.status)
		n.steps = n.steps[1:]
	}
	s := n.status
	if s.Update != nil { // who reads it must not see the next change
		u := *s.Update
		u.Slots = slices.Clone(u.Slots)
		s.Update = &u
	}
	return s, n.changed
}

func (n *fakeNode) Events() api.EventLog { return (*fakeEvents)(n) }

func (n *fakeNode) Processes() ([]api.Process, error) {
	return []api.Process{
		{PID: 1, Name: "init", State: "S", Threads: 9, Resident: 20 << 20, CPU: 3.5, Started: theTime, Cgroup: "/"},
		{PID: 311, Parent: 1, Name: "k3s", State: "S", Threads: 22, Resident: 600 << 20, CPU: 61, Started: theTime, Cgroup: "/services/k3s"},
	}, nil
}

func (n *fakeNode) Time() api.TimeStatus {
	return api.TimeStatus{TimeInfo: api.TimeInfo{Now: theTime, Source: "ntp"}, Server: "10.0.2.2", Offset: -0.0123, Synced: theTime, Servers: []string{"10.0.2.2", "pool.ntp.org"}}
}

func (n *fakeNode) LogNames() []string { return []string{"init", "k3s", "kernel"} }

func (n *fakeNode) Log(name string) (api.Log, error) {
	if !slices.Contains(n.LogNames(), name) {
		return nil, fmt.Errorf("log %q: %w", name, api.ErrNotFound)
	}
	return n.log, nil
}

func (n *fakeNode) Metrics() string {
	return "# TYPE node_load1 gauge\nnode_load1 0.25\n# EOF\n"
}

func (n *fakeNode) RestartService(name string) error {
	if name != "k3s" {
		return fmt.Errorf("service %q: %w", name, api.ErrNotFound)
	}
	n.note("restart " + name)
	return nil
}

// Reboot comes back with another boot id.
func (n *fakeNode) Reboot() {
	n.note("reboot")
	if n.stubborn {
		return
	}
	n.change(func(s *api.Status) { s.BootID += "+" })
}

func (n *fakeNode) Shutdown() {
	n.note("shutdown")
	if !n.stubborn {
		go n.stop()
	}
}

func (n *fakeNode) Reset(scope api.ResetScope, shutdown bool) error {
	n.note(fmt.Sprintf("reset %s %v", scope, shutdown))
	return nil
}

// Install installs on sdb alone, and takes sda for a disk of somebody else's.
func (n *fakeNode) Install(_ context.Context, o api.InstallOptions, progress func(api.InstallProgress)) error {
	switch {
	case o.Disk != "sda" && o.Disk != "sdb":
		return fmt.Errorf("%w: there is no such disk", api.ErrNotFound)
	case o.Disk == "sda" && !o.Wipe:
		return fmt.Errorf("%w: sda holds Windows", api.ErrConflict)
	}
	n.note(fmt.Sprintf("install %s %v %s", o.Disk, o.Wipe, o.After))
	progress(api.InstallProgress{Step: "system", Percent: 40, Message: o.Disk + ": writing the system"})
	progress(api.InstallProgress{Step: api.InstallDone, Percent: 100, Message: o.Disk + ": installed"})
	return nil
}

func (n *fakeNode) PutImage(context.Context, string, io.Reader) error { return errors.New("no images") }

func (n *fakeNode) Updates() api.Updates {
	if n.slots == nil {
		return nil
	}
	return n.slots
}

func (n *fakeNode) SupportBundle(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, "the bundle of "+n.status.Name)
	return err
}

func (n *fakeNode) Configuration() (document []byte, source string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c, err := config.Parse([]byte(n.document))
	if err == nil {
		document, err = c.DisplayDocument()
	}
	return document, "the boot partition", err
}

func (n *fakeNode) ApplyConfiguration(_ context.Context, document []byte, dryRun bool) ([]config.Change, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now, err := config.Parse([]byte(n.document))
	if err != nil {
		return nil, err
	}
	next, err := config.ParseUpdate(document, now)
	if err != nil {
		return nil, err
	}
	if document, err = next.Document(); err != nil {
		return nil, err
	}
	if !dryRun {
		n.document = string(document)
		n.did = append(n.did, "apply")
	}
	return config.Compare(now, next), nil
}

func (n *fakeNode) Kubeconfig() ([]byte, error) {
	if n.kube == nil {
		return nil, fmt.Errorf("the kubeconfig: %w", api.ErrNotYet)
	}
	_, authority := kubernetesCertificate(n.farm.t)
	return fmt.Appendf(nil, "apiVersion: v1\nkind: Config\nclusters:\n- name: default\n  cluster:\n    server: https://127.0.0.1:6440/kubernetes\n    certificate-authority-data: %s\n",
		base64.StdEncoding.EncodeToString(authority)), nil
}

func (n *fakeNode) Exchange(context.Context, *identity.Certificate, api.Knowledge) (api.Knowledge, error) {
	return api.Knowledge{}, nil
}

func (n *fakeNode) JoinCluster(context.Context, *identity.Certificate) (api.ClusterJoin, error) {
	return api.ClusterJoin{}, api.ErrNotYet
}

// Members are those that are not revoked, as this node's verifier sees it.
func (n *fakeNode) Members() []api.Peer {
	var out []api.Peer
	for _, o := range n.farm.nodes {
		if _, err := n.verifier.Verify(o.cred); err != nil {
			continue
		}
		s, _ := o.Status()
		out = append(out, api.Peer{Name: s.Name, Key: s.Membership.Key, Role: s.Membership.Role, Address: s.Membership.Address, Endpoint: "127.0.0.1:51820", Issuer: s.Membership.Issuer, Version: s.Version})
	}
	return out
}

func (n *fakeNode) Invite(role identity.NodeRole, uses int, lifetime time.Duration) (identity.Token, error) {
	if n.issuer == nil {
		return identity.Token{}, api.ErrNotIssuer
	}
	return n.issuer.Invite(identity.Caps{Node: role}, uses, lifetime)
}

func (n *fakeNode) Revoke(key identity.PublicKey) error {
	if n.issuer == nil {
		return api.ErrNotIssuer
	}
	n.note("revoke " + key.String())
	list, err := n.issuer.Revoke([]identity.PublicKey{key}, nil)
	if err != nil {
		return err
	}
	return n.AddStatements(api.Statements{Revocations: [][]byte{list}})
}

// AddStatements takes lists over and hands them on.
func (n *fakeNode) AddStatements(s api.Statements) error {
	for _, o := range n.farm.nodes {
		for _, r := range s.Revocations {
			if err := o.verifier.AddRevocation(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// fakeEvents are a node's events; none follow.
type fakeEvents fakeNode

func (e *fakeEvents) Tail(count int) ([]api.Event, uint64, <-chan struct{}) {
	events := e.events
	if count >= 0 {
		events = events[max(0, len(events)-count):]
	}
	return events, uint64(len(e.events)) + 1, make(chan struct{})
}

func (e *fakeEvents) Since(next uint64) ([]api.Event, uint64, <-chan struct{}) {
	return nil, next, make(chan struct{})
}

// lineLog is a log in memory.
type lineLog struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func (l *lineLog) write(lines ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, lines...)
	close(l.more)
	l.more = make(chan struct{})
}

func (l *lineLog) Tail(n int) ([]byte, int64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	if n >= 0 {
		lines = lines[max(0, len(lines)-n):]
	}
	return []byte(strings.Join(lines, "")), int64(len(l.lines)), l.more
}

func (l *lineLog) Since(position int64) ([]byte, int64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return []byte(strings.Join(l.lines[position:], "")), int64(len(l.lines)), l.more
}

// shown replaces what differs from one test to the next: addresses, keys and the
// network's id.
func (f *farm) shown(text string) string {
	for i, n := range f.nodes {
		text = strings.ReplaceAll(text, n.address, fmt.Sprintf("192.0.2.%d:6440", i+1)+strings.Repeat(" ", max(0, len(n.address)-len("192.0.2.1:6440"))))
		text = strings.ReplaceAll(text, n.key.Public().String(), fmt.Sprintf("mycpub1-of-%s", n.status.Name))
	}
	text = strings.ReplaceAll(text, f.id.String(), "myc1-id")
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// typed runs a command with text on standard input and fails the test when the
// command fails.
func (f *farm) typed(text, line string) (out, log string) {
	f.t.Helper()
	out, log, err := f.try(text, line)
	if err != nil {
		f.t.Fatalf("mycelium %s: %v\n%s", line, err, log)
	}
	return out, log
}

// follow runs a command until its output satisfies enough, then interrupts it.
func (f *farm) follow(line string, enough func(output string) bool) string {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	defer cancel()
	out := &watchedBuffer{enough: enough, then: cancel}
	root := newRootCommand()
	root.SetArgs(strings.Fields(line))
	root.SetOut(out)
	root.SetErr(out)
	if err := root.ExecuteContext(withPollPause(ctx, testPause)); err != nil {
		f.t.Errorf("mycelium %s: %v", line, err)
	}
	return out.String()
}

type watchedBuffer struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	enough func(string) bool
	then   func()
}

func (b *watchedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Write(p)
	if b.enough(b.buf.String()) {
		b.then()
	}
	return len(p), nil
}

func (b *watchedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
