package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
)

var (
	reader   = identity.Caps{API: identity.Reader}
	operator = identity.Caps{API: identity.Operator}
	admin    = identity.Caps{API: identity.Admin}
)

func TestClientOfANode(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	c := w.member("ann", admin).client(serve(t, s))
	ctx := t.Context()
	node.append("one\n")
	node.append("two\n")

	if s, err := c.Status(ctx); err != nil || s.Name != "n1" {
		t.Errorf("status %+v, %v", s, err)
	}
	if p, err := c.Processes(ctx); err != nil || len(p) != 1 || p[0].PID != 1 {
		t.Errorf("processes %+v, %v", p, err)
	}
	if ts, err := c.Time(ctx); err != nil || ts.Server != "ntp" {
		t.Errorf("time %+v, %v", ts, err)
	}
	if names, err := c.Logs(ctx); err != nil || strings.Join(names, " ") != "init kernel" {
		t.Errorf("logs %v, %v", names, err)
	}
	if m, err := c.Metrics(ctx); err != nil || m != "# EOF\n" {
		t.Errorf("metrics %q, %v", m, err)
	}
	if b, err := c.Kubeconfig(ctx); err != nil || string(b) != "kind: Config\n" {
		t.Errorf("kubeconfig %q, %v", b, err)
	}
	if b, source, err := c.Configuration(ctx); err != nil || string(b) != "kind: NodeConfig\n" || source != "the boot partition" {
		t.Errorf("configuration %q, %q, %v", b, source, err)
	}
	node.took()
	for want, call := range map[string]func() error{
		"restart k3s":           func() error { return c.RestartService(ctx, "k3s") },
		"reboot":                func() error { return c.Reboot(ctx) },
		"shutdown":              func() error { return c.Shutdown(ctx) },
		"reset data false":      func() error { return c.Reset(ctx, ResetData, false) },
		"reset all true":        func() error { return c.Reset(ctx, ResetAll, true) },
		"install sda true stay": func() error { return install(ctx, c, InstallOptions{Disk: "sda", Wipe: true, After: InstallStay}) },
		`apply "a: b\n" true`:   func() error { return apply(ctx, c, "a: b\n", true) },
		"check":                 func() error { return second(c.CheckUpdate(ctx)) },
		`stage "1.2.3" true`:    func() error { return second(c.StageUpdate(ctx, "1.2.3", true)) },
		`push "signed" 8`:       func() error { return second(c.PushUpdate(ctx, []byte("signed"), strings.NewReader("the file"))) },
		"try":                   func() error { return c.TryUpdate(ctx) },
		"rollback it is slow":   func() error { return c.RollBackUpdate(ctx, "it is slow") },
		"hold true fair":        func() error { return c.HoldUpdate(ctx, true, "fair") },
		"forgive 1.2.3":         func() error { return c.ForgiveUpdate(ctx, "1.2.3") },
		"image hello_1.tar.zst": func() error { return c.LoadImage(ctx, "hello_1.tar.zst", strings.NewReader("archive")) },
	} {
		if err := call(); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		if got := node.took(); got != want {
			t.Errorf("the node did %q, want %q", got, want)
		}
	}
	if node.images["hello_1.tar.zst"] != "archive" {
		t.Errorf("stored %v", node.images)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // many messages
	noErr(t, c.LoadImage(ctx, "big.tar", bytes.NewReader(big)))
	if node.images["big.tar"] != string(big) {
		t.Errorf("stored %d bytes of %d", len(node.images["big.tar"]), len(big))
	}
}

func install(ctx context.Context, c *Client, o InstallOptions) error {
	var got []InstallProgress
	err := c.Install(ctx, o, func(p InstallProgress) { got = append(got, p) })
	if want := []InstallProgress{{"system", 40, "writing the system"}, {"done", 100, ""}}; err == nil && !slices.Equal(got, want) {
		err = fmt.Errorf("progress %+v", got)
	}
	return err
}

// TestInstallRefused: what is wrong with an order is known before, and the node's own
// words come across in the middle of it.
func TestInstallRefused(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	c := w.member("ann", admin).client(serve(t, s))
	for _, o := range []InstallOptions{{Disk: "", After: InstallReboot}, {Disk: "/dev/sda", After: InstallReboot}, {Disk: "sda"}, {Disk: "sda", After: "never"}} {
		wantErr(t, install(t.Context(), c, o), ErrInvalid)
	}
	if got := node.took(); got != "" {
		t.Errorf("the node did %q", got)
	}
	node.err = fmt.Errorf("%w: sda holds Windows", ErrConflict)
	err := install(t.Context(), c, InstallOptions{Disk: "sda", After: InstallReboot})
	wantErr(t, err, ErrConflict)
	if !strings.Contains(err.Error(), "sda holds Windows") {
		t.Errorf("error %v", err)
	}
}

func apply(ctx context.Context, c *Client, document string, dryRun bool) error {
	changes, err := c.ApplyConfiguration(ctx, []byte(document), dryRun)
	if err == nil && (len(changes) != 1 || changes[0] != config.Change{Field: "hostname", Reboot: true}) {
		err = fmt.Errorf("changes %+v", changes)
	}
	return err
}

func TestClientOfTheNetwork(t *testing.T) {
	w := newWorld(t)
	s, _, peers := w.memberServer(discard)
	address := serve(t, s)
	ctx := t.Context()
	ann := w.member("ann", admin).client(address)
	agent := w.member("agent-7", identity.Caps{Node: identity.Agent}).client(address)
	issuer, err := identity.CreateIssuer(w.dir+"/ledger", w.issuer, w.delegation, w.verifier)
	noErr(t, err)
	peers.token, err = issuer.Invite(identity.Caps{Node: identity.Agent}, 1, time.Hour)
	noErr(t, err)

	in := Knowledge{
		Members:    []MemberRecord{{Credential: []byte("c1"), Announcement: []byte("a1")}, {Credential: []byte("c2")}},
		Statements: Statements{Rotations: [][]byte{[]byte("r")}, Revocations: [][]byte{[]byte("v")}},
	}
	peers.out = Knowledge{Members: []MemberRecord{{Credential: []byte("c3"), Announcement: []byte("a3")}}, Statements: Statements{Revocations: [][]byte{[]byte("w")}}}
	out, err := agent.Exchange(ctx, in)
	if err != nil || fmt.Sprint(out) != fmt.Sprint(peers.out) || fmt.Sprint(peers.in) != fmt.Sprint(in) {
		t.Errorf("gave %v, the node got %v and answered %v, %v", in, peers.in, out, err)
	}
	join, err := agent.JoinCluster(ctx)
	if err != nil || join.Server != "https://100.64.0.1:6443" || join.Token != "tok" {
		t.Errorf("join %s %q, %v", join.Server, join.Token, err)
	}
	if m, err := ann.Members(ctx); err != nil || len(m) != 1 || m[0].Name != "node-1" {
		t.Errorf("members %+v, %v", m, err)
	}
	token, err := ann.Invite(ctx, identity.Agent, 3, 90*time.Minute)
	if err != nil || token.Reveal() != peers.token.Reveal() {
		t.Errorf("another token came back, %v", err)
	}
	key := identity.GenerateKey().Public()
	noErr(t, ann.Revoke(ctx, key))
	noErr(t, ann.AddStatements(ctx, in.Statements))
	if fmt.Sprint(peers.added) != fmt.Sprint(in.Statements) {
		t.Errorf("added %v", peers.added)
	}
	want := "exchange agent-7 join agent-7 members invite agent 3 1h30m0s revoke " + key.String() + " statements"
	if got := peers.took(); got != want {
		t.Errorf("the node did %q, want %q", got, want)
	}
	for _, bad := range []error{
		second(ann.Invite(ctx, identity.NoNode, 1, time.Hour)),
		second(ann.Invite(ctx, identity.Agent, 0, time.Hour)),
		second(ann.Invite(ctx, identity.Agent, identity.MaxInviteUses+1, time.Hour)),
		second(ann.Invite(ctx, identity.Agent, 1, 8*day)),
		ann.Reset(ctx, "everything", false),
	} {
		wantErr(t, bad, ErrInvalid)
	}
	if got := peers.took(); got != "" {
		t.Errorf("the node did %q", got)
	}
}

func second[T any](_ T, err error) error { return err }

func TestWatchStatus(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	c := w.member("ann", reader).client(serve(t, s))
	var names []string
	stop := errors.New("enough")
	err := c.WatchStatus(t.Context(), func(s *Status) error {
		names = append(names, s.Name)
		if len(names) == 2 {
			return stop
		}
		node.rename("n2")
		return nil
	})
	if !errors.Is(err, stop) || strings.Join(names, " ") != "n1 n2" {
		t.Errorf("saw %v, %v", names, err)
	}
}

func TestEvents(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	c := w.member("ann", reader).client(serve(t, s))
	for _, text := range []string{"a", "b", "c"} {
		node.append(text)
	}
	for _, tt := range []struct {
		opts EventOptions
		want string
	}{{EventOptions{}, "1a 2b 3c"}, {EventOptions{Tail: 2}, "2b 3c"}, {EventOptions{Tail: 9}, "1a 2b 3c"}} {
		var got []string
		err := c.Events(t.Context(), tt.opts, func(e Event) error {
			got = append(got, fmt.Sprint(e.Number)+e.Text)
			return nil
		})
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%+v: %v, %v", tt.opts, got, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var got []string
	err := c.Events(ctx, EventOptions{Follow: true, Tail: 1}, func(e Event) error {
		if got = append(got, e.Text); len(got) == 3 {
			cancel()
			return nil
		}
		node.append("x")
		return nil
	})
	if !errors.Is(err, context.Canceled) || strings.Join(got, "") != "cxx" {
		t.Errorf("followed %v, %v", got, err)
	}
}

func TestLog(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	c := w.member("ann", reader).client(serve(t, s))
	_, err := c.Log(t.Context(), "x", LogOptions{})
	wantErr(t, err, ErrNotFound)
	empty, err := c.Log(t.Context(), "init", LogOptions{Follow: true}) // opens although nothing is there
	noErr(t, err)
	long := strings.Repeat("x", 3*chunk/2) + "\n"
	node.append("one\n")
	line := make([]byte, 4)
	if _, err := io.ReadFull(empty, line); err != nil || string(line) != "one\n" {
		t.Errorf("followed %q, %v", line, err)
	}
	noErr(t, empty.Close())
	if _, err := empty.Read(line); err == nil {
		t.Error("a closed log can be read")
	}
	node.append(long)
	for _, tt := range []struct {
		opts LogOptions
		want string
	}{{LogOptions{}, "one\n" + long}, {LogOptions{Tail: 1}, long}} {
		log, err := c.Log(t.Context(), "init", tt.opts)
		noErr(t, err)
		if b, err := io.ReadAll(log); err != nil || string(b) != tt.want {
			t.Errorf("%+v: %d bytes, %v", tt.opts, len(b), err)
		}
		noErr(t, log.Close())
	}
}

func TestSupportBundle(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	c := w.member("ann", operator).client(serve(t, s))
	id, err := age.GenerateX25519Identity()
	noErr(t, err)
	bundle, err := c.SupportBundle(t.Context(), []string{id.Recipient().String()})
	noErr(t, err)
	plain, err := age.Decrypt(bundle, id)
	noErr(t, err)
	if b, err := io.ReadAll(plain); err != nil || string(b) != strings.Repeat("bundle", 100_000) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	noErr(t, bundle.Close())
	node.took()
	for _, bad := range [][]string{nil, {""}, {"age1x"}, {id.Recipient().String(), "x"}, {id.Recipient().String() + "\n" + id.Recipient().String()}, {id.String()}, make([]string, maxRecipients+1)} {
		_, err := c.SupportBundle(t.Context(), bad)
		wantErr(t, err, ErrInvalid)
		if strings.Contains(fmt.Sprint(err), "AGE-SECRET-KEY") {
			t.Error("an identity that was given by mistake is shown, and logged")
		}
	}
	if got := node.took(); got != "" {
		t.Errorf("the node did %q", got)
	}
	node.err = errors.New("broken halfway")
	bundle, err = c.SupportBundle(t.Context(), []string{id.Recipient().String()})
	noErr(t, err)
	if _, err = io.Copy(io.Discard, bundle); err == nil || !strings.Contains(err.Error(), "broken halfway") {
		t.Errorf("a bundle that was cut short ends with %v", err)
	}
}

func TestLoadImageRefusals(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	c := w.member("ann", operator).client(serve(t, s))
	wantErr(t, c.LoadImage(t.Context(), "../x.tar", strings.NewReader("x")), ErrInvalid)
	node.err = fmt.Errorf("DATA: %w", ErrFull)
	wantErr(t, c.LoadImage(t.Context(), "x.tar", strings.NewReader("x")), ErrFull)
	node.err, node.images = nil, map[string]string{}
	// An upload that breaks off is not a whole one.
	broken := errors.New("stick pulled out")
	err := c.LoadImage(t.Context(), "x.tar", io.MultiReader(bytes.NewReader(make([]byte, chunk)), errorReader{broken}))
	wantErr(t, err, broken)
	if len(node.images) != 0 {
		t.Error("half an image was stored")
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

func TestErrorsComeAcross(t *testing.T) {
	w := newWorld(t)
	s, node, peers := w.memberServer(discard)
	c := w.member("ann", admin).client(serve(t, s))
	for _, r := range reasons {
		text := "thing: " + r.err.Error() + ": try harder"
		node.err = fmt.Errorf("thing: %w: try harder", r.err)
		peers.err = node.err
		for _, err := range []error{c.RestartService(t.Context(), "k3s"), c.Revoke(t.Context(), identity.PublicKey{1})} {
			var call *CallError
			if !errors.As(err, &call) || !errors.Is(err, r.err) || call.Message != text || call.Code != r.code.String() {
				t.Errorf("%s came back as %#v", r.name, err)
			}
		}
	}
	node.err = errors.New("odd")
	err := c.RestartService(t.Context(), "k3s")
	var call *CallError
	if !errors.As(err, &call) || call.Code != "internal" || errors.Unwrap(call) != nil || err.Error() != "the node answered: odd" {
		t.Errorf("%#v", err)
	}
	node.err = config.Errors{{Line: 3, Column: 4, Field: "hostname", Message: "too long", Hint: "shorten it"}}
	_, err = c.ApplyConfiguration(t.Context(), []byte("x"), false)
	wantErr(t, err, ErrInvalid)
	if !strings.Contains(err.Error(), "line 3, column 4") || !strings.Contains(err.Error(), "shorten it") {
		t.Error(err)
	}
	_, err = c.ApplyConfiguration(t.Context(), make([]byte, config.MaxSize+1), false)
	wantErr(t, err, ErrInvalid)
	_, err = c.ApplyConfiguration(t.Context(), make([]byte, 2*config.MaxSize), false)
	if !errors.As(err, &call) || call.Code != "resource_exhausted" {
		t.Errorf("a message of 2 MiB: %v", err)
	}
}

func TestClientEndsWithContext(t *testing.T) {
	w := newWorld(t)
	s, _, _ := w.memberServer(discard)
	address := serve(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	err := w.member("ann", reader).client(address).WatchStatus(ctx, func(*Status) error { cancel(); return nil })
	wantErr(t, err, context.Canceled)
}

func TestNewClientRefusals(t *testing.T) {
	if _, err := NewClient(ClientConfig{Address: "x"}); err == nil {
		t.Error("no error without TLS")
	}
	w := newWorld(t)
	if _, err := NewClient(ClientConfig{TLS: w.verifier.ClientTLS(identity.TLSOptions{})}); err == nil {
		t.Error("no error without an address")
	}
}

func TestWithPort(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1": "10.0.0.1:6440", "10.0.0.1:7": "10.0.0.1:7", "::1": "[::1]:6440", "[::1]": "[::1]:6440", "[::1]:7": "[::1]:7", "node-1": "node-1:6440",
	} {
		if got := withPort(in, Port); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

// A server that ends says so to those who follow something.
func TestServerEnds(t *testing.T) {
	w := newWorld(t)
	s, _, _ := w.memberServer(discard)
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	c := w.member("ann", reader).client(l.Addr().String())
	err := c.WatchStatus(t.Context(), func(*Status) error { cancel(); return nil })
	if err == nil || !strings.Contains(err.Error(), "the node ends its machine API") {
		t.Errorf("the stream ended with %v", err)
	}
	noErr(t, <-done)
	if _, err := c.Status(t.Context()); err == nil {
		t.Error("a server that has ended answers")
	}
}

// What is not HTTP/2 can also be called: curl, for example.
func TestHTTP1(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	address := serve(t, s)
	ann := w.member("ann", reader)
	h, base := dialer(address, Port, w.verifier.ClientTLS(identity.TLSOptions{Certificate: ann.show}), false)
	defer h.CloseIdleConnections()
	get := func(method, path, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		noErr(t, err)
		req.Header.Set("Content-Type", "application/json")
		resp, err := h.Do(req)
		noErr(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		noErr(t, err)
		return resp.StatusCode, string(b)
	}
	code, body := get("POST", "/mycelium.machine.v1.MachineService/ListLogs", "{}")
	// protojson puts spaces where each build likes them.
	if body = strings.ReplaceAll(body, " ", ""); code != 200 || body != `{"names":["init","kernel"]}` {
		t.Errorf("%d %s", code, body)
	}
	if code, body := get("GET", "/metrics", ""); code != 200 || body != node.Metrics() {
		t.Errorf("%d %s", code, body)
	}
	if code, body := get("GET", "/kubernetes/api", ""); code != 503 || !strings.Contains(body, `"kind":"Status"`) {
		t.Errorf("%d %s", code, body)
	}
	if code, body := get("POST", "/mycelium.machine.v1.MachineService/Nothing", "{}"); code != 501 || !strings.Contains(body, "nothing that this node serves") {
		t.Errorf("%d %s", code, body)
	}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noErr(t, err)
	return l
}

func TestClientAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.1": "https://10.0.0.1:6440", "10.0.0.1:7": "https://10.0.0.1:7", "fe80::1%eth1": "https://[fe80::1%25eth1]:6440",
		"[fe80::1%eth1]:6441": "https://[fe80::1%25eth1]:6441", "kitchen.lan": "https://kitchen.lan:6440",
	} {
		_, base := dialer(address, Port, &tls.Config{MinVersion: tls.VersionTLS13}, true)
		if _, err := url.Parse(base); err != nil || base != want {
			t.Errorf("%s: %s, %v, want %s", address, base, err, want)
		}
	}
}
