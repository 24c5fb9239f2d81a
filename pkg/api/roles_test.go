package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
	"github.com/digital-mycelium/os/pkg/identity"
)

// procedures returns all methods of the protocol by their path.
func procedures() map[string]protoreflect.MethodDescriptor {
	all := map[string]protoreflect.MethodDescriptor{}
	services := machinev1.File_machine_proto.Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			m := methods.Get(j)
			all["/"+string(m.Parent().FullName())+"/"+string(m.Name())] = m
		}
	}
	return all
}

func TestEveryProcedureHasANeed(t *testing.T) {
	all := procedures()
	for path := range all {
		if _, ok := needs[path]; !ok {
			t.Errorf("%s has no entry in needs", path)
		}
	}
	for path := range needs {
		if all[path] == nil && path != metricsPath && path != kubernetesPath && path != OSFilePath {
			t.Errorf("needs has an entry for %s, which does not exist", path)
		}
	}
}

// callEmpty calls a procedure with an empty message and returns the first answer's error.
func callEmpty(ctx context.Context, h connect.HTTPClient, base, path string, m protoreflect.MethodDescriptor) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := connect.NewClient[emptypb.Empty, emptypb.Empty](h, base+path)
	switch {
	case m.IsStreamingServer():
		stream, err := c.CallServerStream(ctx, connect.NewRequest(&emptypb.Empty{}))
		if err != nil {
			return fromWire(err)
		}
		stream.Receive()
		return fromWire(stream.Err())
	case m.IsStreamingClient():
		_, err := c.CallClientStream(ctx).CloseAndReceive()
		return fromWire(err)
	}
	_, err := c.CallUnary(ctx, connect.NewRequest(&emptypb.Empty{}))
	return fromWire(err)
}

// answers of a node to an empty message, where it is not success.
var answers = map[string]error{
	"LoadImage": ErrInvalid, "GetSupportBundle": ErrInvalid, "Reset": ErrInvalid, "Install": ErrInvalid, "PushUpdate": ErrInvalid, "Invite": ErrInvalid, "Revoke": ErrInvalid,
	"RestartService": ErrNotFound, "ReadLog": ErrNotFound,
}

// Every procedure, and what is no procedure, as every kind of caller. The server's
// clock is at t0 + 10 days.
func TestEveryCallAsEveryCaller(t *testing.T) {
	w := newWorld(t)
	var log logBuffer
	s, node, peers := w.memberServer(log.logger())
	minute := t0
	s.refused.now = func() time.Time { minute = minute.Add(time.Minute); return minute } // the bound on lines has a test of its own
	address := serve(t, s)
	full := identity.Caps{API: identity.Admin, Node: identity.Server}
	revoked := w.member("revoked", full)
	callers := []struct {
		who  *member
		caps identity.Caps
		// standing is why nothing at all is allowed, advice what to do about it.
		standing error
		advice   string
	}{
		{w.member("client-1", identity.Caps{Node: identity.Client}), identity.Caps{Node: identity.Client}, nil, ""},
		{w.member("agent-1", identity.Caps{Node: identity.Agent}), identity.Caps{Node: identity.Agent}, nil, ""},
		{w.member("server-1", identity.Caps{Node: identity.Server}), identity.Caps{Node: identity.Server}, nil, ""},
		{w.member("reader", reader), reader, nil, ""},
		{w.member("operator", operator), operator, nil, ""},
		{w.member("admin", admin), admin, nil, ""},
		{w.member("both", full), full, nil, ""},
		{w.memberAt("expired", full, t0, t0.Add(day)), full, identity.ErrExpired, "people ask who has the issuer"},
		{w.memberAt("early", full, t0.Add(20*day), t0.Add(30*day)), full, identity.ErrNotYetValid, "check both machines' clocks"},
		{revoked, full, identity.ErrRevoked, "ask for a certificate for a new one"},
	}
	w.set(t0.Add(10 * day))
	w.revoke(1, revoked.serial)

	all := procedures()
	paths := append(slices.Sorted(maps.Keys(all)), "/mycelium.machine.v1.MachineService/Nothing")
	refusals := map[string]map[string]string{} // call -> text -> who
	for _, c := range callers {
		own := w.newVerifier("own-"+c.who.key.Public().String(), w.now)
		h, base := dialer(address, Port, own.ClientTLS(identity.TLSOptions{Certificate: c.who.show}), true)
		defer h.CloseIdleConnections()
		for _, path := range paths {
			m := all[path]
			if m == nil {
				m = all["/mycelium.machine.v1.MachineService/Reboot"]
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err := callEmpty(ctx, h, base, path, m)
			cancel()
			did := node.took() + peers.took()
			n, known := needs[path]
			if m := all[path]; m != nil && m.Parent().Name() != "MachineService" && m.Parent().Name() != "NetworkService" {
				n, known = need{}, false // another server's
			}
			var call *CallError
			_ = errors.As(err, &call)
			var want error
			wantCode, advice := "", ""
			switch {
			case c.standing != nil:
				want, wantCode, advice = c.standing, "unauthenticated", c.advice
			case !known:
				wantCode, advice = "unimplemented", "see whether it is of the same version"
			case c.caps.API < n.API:
				want, wantCode, advice = identity.ErrRole, "permission_denied", "ask who has the issuer for a certificate with that role"
			case c.caps.Node < n.Node:
				want, wantCode, advice = identity.ErrRole, "permission_denied", "invite the node with that role"
			default:
				if want := answers[string(m.Name())]; want == nil && err != nil || !errors.Is(err, want) {
					t.Errorf("%s as %v: %v, want %v", path, c.caps, err, want)
				}
				if did == "" && answers[string(m.Name())] == nil {
					t.Errorf("%s as %v did nothing", path, c.caps)
				}
				continue
			}
			if call == nil || call.Code != wantCode || want != nil && !errors.Is(err, want) || !strings.Contains(call.Message, advice) {
				t.Errorf("%s as %v %v: %v, want %s, %v, %q", path, c.caps, c.standing, err, wantCode, want, advice)
			}
			if did != "" {
				t.Errorf("%s as %v %v: refused, and yet the node did %q", path, c.caps, c.standing, did)
			}
			if want != nil && call != nil {
				if refusals[path] == nil {
					refusals[path] = map[string]string{}
				}
				who := fmt.Sprint(c.caps, c.standing)
				if other, taken := refusals[path][call.Message]; taken {
					t.Errorf("%s: %s and %s read %q", path, other, who, call.Message)
				}
				refusals[path][call.Message] = who
			}
		}
	}
	if len(refusals) < len(all)-4 {
		t.Errorf("only %d calls were refused", len(refusals))
	}
	// A role, and three kinds of bad standing. The memory of what was logged is
	// bounded: now and then it forgets one, which is logged once more.
	for _, reason := range []string{"role not sufficient", "expired", "not yet valid", "revoked"} {
		lines := regexp.MustCompile(`call=GetStatus .* reason="`+reason).FindAllString(log.String(), -1)
		if len(lines) == 0 || len(lines) > 3 {
			t.Errorf("%d lines of the log say that GetStatus was refused: %s:\n%s", len(lines), reason, log.String())
		}
	}
}

// Who is no member does not get past the handshake, and is told what can be told.
func TestStrangersAreKeptOut(t *testing.T) {
	w, foreign := newWorld(t), newWorld(t)
	var log logBuffer
	s, node, peers := w.memberServer(log.logger())
	address := serve(t, s)
	stranger := foreign.member("stranger", admin)
	plain, err := identity.PlainCertificate(identity.GenerateKey())
	noErr(t, err)
	issuer, err := identity.CreateIssuer(w.dir+"/ledger", w.issuer, w.delegation, w.verifier)
	noErr(t, err)
	token, err := issuer.Invite(identity.Caps{Node: identity.Agent}, 1, time.Hour)
	noErr(t, err)
	key := identity.GenerateKey()
	request, err := token.Request(key, [32]byte{1}, "newcomer")
	noErr(t, err)
	invited, err := identity.TLSCertificate(key, request)
	noErr(t, err)
	lenient := func(certs ...tls.Certificate) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, Certificates: certs}
	}
	old := lenient(stranger.cert)
	old.MaxVersion = tls.VersionTLS12
	for _, tt := range []struct {
		name    string
		config  *tls.Config
		client  string // what the caller reads
		logged  string
		logged2 string
	}{
		{"no certificate", lenient(), "talks to its members alone", "didn't provide a certificate", "call with a certificate of the network"},
		{"another network", lenient(stranger.cert), "see whether both are of the same network", "wrong network", "it belongs to another network"},
		{"no credential", lenient(plain), "see whether both are of the same network", "no proof of membership", "enrol it"},
		{"only invited", lenient(invited), "see whether both are of the same network", "is only invited", "on port 6441"},
		{"TLS 1.2", old, "protocol version not supported", "unsupported versions", "use a newer program"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(log.String())
			for range 3 {
				h, base := dialer(address, Port, tt.config, true)
				defer h.CloseIdleConnections()
				for path, m := range procedures() {
					err := callEmpty(t.Context(), h, base, path, m)
					// HTTP/2 loses the text of the alert now and then.
					if err == nil || !strings.Contains(err.Error(), tt.client) && !strings.Contains(err.Error(), "client conn could not be established: the node does not accept who calls") {
						t.Fatalf("%s: %v, want %q", path, err, tt.client)
					}
					break // the handshake does not know the path
				}
				for _, path := range []string{"/metrics", "/kubernetes/api", "/os/" + digestOf("x")} {
					req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
					noErr(t, err)
					if resp, err := h.Do(req); err == nil {
						_ = resp.Body.Close()
						t.Errorf("%s answers %d", path, resp.StatusCode)
					}
				}
			}
			eventually(t, func() bool { return len(log.String()) > before })
			line := log.String()[before:]
			if strings.Count(line, "\n") != 1 || !strings.Contains(line, tt.logged) || !strings.Contains(line, tt.logged2) || !strings.Contains(line, "level=INFO") {
				t.Errorf("the log has %q", line)
			}
		})
	}
	if did := node.took() + peers.took(); did != "" {
		t.Errorf("the node did %q", did)
	}
	// A caller looks who answers, before it says anything.
	c, err := NewClient(ClientConfig{Address: address, TLS: foreign.verifier.ClientTLS(identity.TLSOptions{Certificate: stranger.show})})
	noErr(t, err)
	defer c.Close()
	_, err = c.Status(t.Context())
	wantErr(t, err, identity.ErrWrongNetwork)
}

// eventually waits for what another goroutine does.
func eventually(t testing.TB, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen within a minute")
		}
	}
}

func TestPathsThatAreNoProcedures(t *testing.T) {
	w := newWorld(t)
	s, node, peers := w.memberServer(discard)
	address := serve(t, s)
	gone := w.member("gone", reader)
	w.revoke(1, gone.serial)
	for i, tt := range []struct {
		who  *member
		path string
		code int
		text string
	}{
		{w.member("ann", reader), "/metrics", 200, "# EOF"},
		{w.member("node", identity.Caps{Node: identity.Server}), "/metrics", 403, "/metrics needs reader"},
		{gone, "/metrics", 401, "revoked"},
		{w.member("ann", reader), "/kubernetes/api", 503, "ask one with the role server"},
		{w.member("node", identity.Caps{Node: identity.Server}), "/kubernetes/api", 403, `"kind":"Status"`},
		{gone, "/kubernetes/api", 403, "revoked"},
		{w.member("ann", admin), "/os/" + digestOf("x"), 403, "/os/ is for nodes with the role client"},
		{w.member("node", identity.Caps{Node: identity.Client}), "/os/" + digestOf("x"), 404, "does not have the file"},
		{gone, "/os/" + digestOf("x"), 401, "revoked"},
		{w.member("node", identity.Caps{Node: identity.Client}), "/os", 501, "nothing that this node serves"},
		{w.member("ann", admin), "/", 501, "nothing that this node serves"},
		{w.member("ann", admin), "/kubernetes", 501, "nothing that this node serves"},
		{w.member("ann", admin), "/metrics/", 501, "nothing that this node serves"},
		{w.member("node", identity.Caps{Node: identity.Server}), "/kubernetes/../metrics", 403, "needs reader"},
		{w.member("node", identity.Caps{Node: identity.Server}), "//metrics", 501, "nothing that this node serves"},
	} {
		own := w.newVerifier(fmt.Sprintf("own-%d", i), w.now)
		h, base := dialer(address, Port, own.ClientTLS(identity.TLSOptions{Certificate: tt.who.show}), true)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+tt.path, nil)
		noErr(t, err)
		resp, err := h.Do(req)
		noErr(t, err)
		b, err := io.ReadAll(resp.Body)
		noErr(t, err)
		_ = resp.Body.Close()
		if resp.StatusCode != tt.code || !strings.Contains(string(b), tt.text) {
			t.Errorf("%s: %d %s, want %d with %q", tt.path, resp.StatusCode, b, tt.code, tt.text)
		}
		if did := node.took() + peers.took(); tt.code != 200 && tt.code != 404 && did != "" {
			t.Errorf("%s: the node did %q", tt.path, did)
		}
		h.CloseIdleConnections()
	}
}

// FuzzPath: no path but those in the table is open to an admin, and none to a
// caller without a role.
func FuzzPath(f *testing.F) {
	w := newWorld(f)
	server, _, _ := w.memberServer(discard)
	guard := server.guard
	state := func(m *member) tls.ConnectionState {
		cs := tls.ConnectionState{}
		leaf := parse(f, m.cert)
		cs.PeerCertificates = append(cs.PeerCertificates, leaf)
		return cs
	}
	boss, nobody := state(w.member("boss", admin)), state(w.member("nobody", identity.Caps{Node: identity.Client}))
	for path := range needs {
		f.Add(path)
	}
	f.Add("/kubernetes/../metrics")
	f.Fuzz(func(t *testing.T, path string) {
		_, err := guard.judge(path, boss)
		_, known := needs[path]
		if err == nil && !known && !strings.HasPrefix(path, kubernetesPath) {
			t.Errorf("an admin may call %q", path)
		}
		if _, err := guard.judge(path, nobody); err == nil && needs[path].API > identity.NoAPI {
			t.Errorf("a node may call %q", path)
		}
	})
}
