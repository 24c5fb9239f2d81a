package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
	"github.com/digital-mycelium/os/pkg/identity"
)

// fakeEnrolment is a node without a network.
type fakeEnrolment struct {
	fakeNode
	got Grant
}

func (e *fakeEnrolment) Describe(network identity.NetworkID) (Description, error) {
	e.called("describe " + network.String())
	return Description{Request: []byte("request"), Name: "node-1", Version: "1", Board: "b"}, e.err
}

func (e *fakeEnrolment) Enrol(_ context.Context, g Grant) error {
	e.called("enrol")
	if e.err == nil {
		e.got = g
	}
	return e.err
}

func expect(key identity.PublicKey) func(identity.PublicKey) error {
	return func(got identity.PublicKey) error {
		if got != key {
			return fmt.Errorf("%w: %s answers", identity.ErrWrongPeer, got)
		}
		return nil
	}
}

func TestEnrolment(t *testing.T) {
	key := identity.GenerateKey()
	node := &fakeEnrolment{}
	var log logBuffer
	s, err := NewEnrolmentServer(key, node, log.logger())
	noErr(t, err)
	address := serve(t, s)
	ctx := t.Context()
	network := identity.NetworkID{1, 2, 3}

	wrong := NewEnrolmentClient(address, expect(identity.GenerateKey().Public()))
	defer wrong.Close()
	wantErr(t, second(wrong.Describe(ctx, network)), identity.ErrWrongPeer)
	if did := node.took(); did != "" {
		t.Errorf("the node that was not meant did %q", did)
	}

	c := NewEnrolmentClient(address, expect(key.Public()))
	defer c.Close()
	d, err := c.Describe(ctx, network)
	if err != nil || !reflect.DeepEqual(d, Description{Request: []byte("request"), Name: "node-1", Version: "1", Board: "b"}) {
		t.Errorf("%+v, %v", d, err)
	}
	grant := Grant{
		Network: network, Anchor: identity.NetworkID{4}, Credential: []byte("c"),
		Statements: Statements{Rotations: [][]byte{[]byte("r")}, Revocations: [][]byte{[]byte("v"), []byte("w")}},
		Issuer:     &IssuerGrant{Key: identity.GenerateKey().Reveal(), Delegation: []byte("d")}, Found: true, Peers: []string{"10.0.0.1:6440"},
	}
	node.err = fmt.Errorf("the credential: %w", identity.ErrWrongNetwork)
	wantErr(t, c.Enrol(ctx, grant), identity.ErrWrongNetwork) // and may try again
	node.err = nil
	noErr(t, c.Enrol(ctx, grant))
	if !reflect.DeepEqual(node.got, grant) {
		t.Error("another grant arrived")
	}
	node.took()
	wantErr(t, c.Enrol(ctx, grant), ErrConflict)
	wantErr(t, second(c.Describe(ctx, network)), ErrConflict)
	if did := node.took(); did != "" {
		t.Errorf("an enrolled node did %q", did)
	}
	if secret := fmt.Sprintf("%x", grant.Issuer.Key); strings.Contains(log.String(), secret) || strings.Contains(log.String(), fmt.Sprintf("%d", grant.Issuer.Key)) {
		t.Error("the log has the issuer's key")
	}
}

func TestEnrolmentServerOffersNothingElse(t *testing.T) {
	key := identity.GenerateKey()
	node := &fakeEnrolment{}
	s, err := NewEnrolmentServer(key, node, discard)
	noErr(t, err)
	address := serve(t, s)
	h, base := dialer(address, Port, &tls.Config{InsecureSkipVerify: true}, false)
	defer h.CloseIdleConnections()
	for path, m := range procedures() {
		if m.Parent().Name() == "EnrolmentService" {
			continue
		}
		err := callEmpty(t.Context(), h, base, path, m)
		if !errors.Is(err, identity.ErrNotMember) || !strings.Contains(err.Error(), "can only be enrolled") {
			t.Errorf("%s: %v", path, err)
		}
	}
	c := NewEnrolmentClient(address, expect(key.Public()))
	defer c.Close()
	for _, bad := range []*machinev1.EnrolRequest{{}, {Network: make([]byte, 15), Anchor: make([]byte, 16)}, {Network: make([]byte, 16), Anchor: make([]byte, 17)}} {
		_, err := ask(t.Context(), c.service.Enrol, bad)
		wantErr(t, err, ErrInvalid)
	}
	err = c.Enrol(t.Context(), Grant{Credential: bytes.Repeat([]byte("x"), 600<<10)})
	var call *CallError
	if !errors.As(err, &call) || call.Code != "resource_exhausted" {
		t.Errorf("a grant of 600 KiB: %v", err)
	}
	if did := node.took(); did != "" {
		t.Errorf("the node did %q", did)
	}
}

// Who enrols a node that is a member hears that it is one, whether the alert or
// the request comes first.
func TestEnrolmentOfAMember(t *testing.T) {
	w := newWorld(t)
	s, _, _ := w.memberServer(discard)
	c := NewEnrolmentClient(serve(t, s), func(identity.PublicKey) error { return nil })
	defer c.Close()
	for range 50 {
		wantErr(t, second(c.Describe(t.Context(), w.id)), ErrConflict)
		wantErr(t, c.Enrol(t.Context(), Grant{}), ErrConflict)
	}
}

// A member that calls a node without a network hears that it is none.
func TestMemberCallsAnUnconfiguredNode(t *testing.T) {
	w := newWorld(t)
	s, err := NewEnrolmentServer(identity.GenerateKey(), &fakeEnrolment{}, discard)
	noErr(t, err)
	err = second(w.member("ann", admin).client(serve(t, s)).Status(t.Context()))
	if err == nil || !strings.Contains(err.Error(), "the peer is no part of any network") {
		t.Error(err)
	}
}

// fakeAdmission admits with a real issuer.
type fakeAdmission struct {
	issuer *identity.Issuer
	know   Knowledge
}

func (a *fakeAdmission) Admit(_ context.Context, request []byte) ([]byte, Knowledge, error) {
	c, err := a.issuer.Admit(request)
	return c, a.know, err
}

func (a *fakeAdmission) Renew(peer tls.ConnectionState, request []byte) ([]byte, error) {
	return a.issuer.Renew(peer, request)
}

func TestAdmission(t *testing.T) {
	w := newWorld(t)
	issuer, err := identity.CreateIssuer(w.dir+"/ledger", w.issuer, w.delegation, w.verifier)
	noErr(t, err)
	self := w.certify(w.issuer, "issuer", identity.Caps{Node: identity.Server}, t0.Add(-time.Hour), t0.Add(30*day))
	admission := &fakeAdmission{issuer, Knowledge{Members: []MemberRecord{{Credential: []byte("c")}}}}
	var log logBuffer
	address := serve(t, NewAdmissionServer(AdmissionConfig{
		Verifier: w.verifier, Certificate: self.show, Admissible: issuer.Admissible, Admission: admission, Log: log.logger(),
	}))
	token, err := issuer.Invite(identity.Caps{Node: identity.Agent}, 1, time.Hour)
	noErr(t, err)
	newcomer := func(name string) (*AdmissionClient, identity.PrivateKey) {
		key := identity.GenerateKey()
		request, err := token.Request(key, [32]byte{1}, name)
		noErr(t, err)
		cert, err := identity.TLSCertificate(key, request)
		noErr(t, err)
		m := &member{world: w, cert: cert}
		c := NewAdmissionClient(address, w.newVerifier(name, w.now).ClientTLS(identity.TLSOptions{Certificate: m.show, Peer: token.Invite().Issuer}))
		t.Cleanup(c.Close)
		return c, key
	}
	one, key := newcomer("one")
	_, err = one.Renew(t.Context(), nil)
	wantErr(t, err, identity.ErrNotMember)
	credential, know, err := one.Admit(t.Context())
	noErr(t, err)
	if cert, err := w.verifier.Verify(credential); err != nil || cert.Key != key.Public() || !reflect.DeepEqual(know, admission.know) {
		t.Errorf("%+v, %v, %v", cert, know, err)
	}
	two, _ := newcomer("two")
	_, _, err = two.Admit(t.Context())
	wantErr(t, err, identity.ErrInvite)
	if err == nil || !strings.Contains(err.Error(), "get a new one") {
		t.Error(err)
	}
	eventually(t, func() bool { return strings.Contains(log.String(), "has admitted 1 of 1 members") })

	cert, err := identity.TLSCertificate(key, credential)
	noErr(t, err)
	m := &member{world: w, cert: cert}
	c := NewAdmissionClient(address, w.newVerifier("member", w.now).ClientTLS(identity.TLSOptions{Certificate: m.show}))
	defer c.Close()
	_, _, err = c.Admit(t.Context())
	wantErr(t, err, identity.ErrInvite) // a certificate is no invite
	request, err := identity.Sign(key, identity.Request{Network: w.id, Key: key.Public(), Mesh: [32]byte{2}, Name: "renamed"})
	noErr(t, err)
	renewed, err := c.Renew(t.Context(), request)
	noErr(t, err)
	if cert, err := w.verifier.Verify(renewed); err != nil || cert.Name != "renamed" {
		t.Errorf("%+v, %v", cert, err)
	}
	// No other service is here, not even for an admin.
	ann := w.member("ann", identity.Caps{API: identity.Admin, Node: identity.Server})
	h, base := dialer(address, AdmissionPort, w.newVerifier("ann", w.now).ClientTLS(identity.TLSOptions{Certificate: ann.show}), false)
	defer h.CloseIdleConnections()
	for path, m := range procedures() {
		if m.Parent().Name() == "AdmissionService" {
			continue
		}
		if err := callEmpty(t.Context(), h, base, path, m); err == nil || !strings.Contains(err.Error(), "nothing that this node serves") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// FuzzEnrolRequest: whatever bytes come as a grant, what is accepted comes back the same.
func FuzzEnrolRequest(f *testing.F) {
	seed, err := proto.Marshal(grantToWire(Grant{Credential: []byte("c"), Issuer: &IssuerGrant{Key: []byte("k")}, Peers: []string{"x"}, Found: true}))
	noErr(f, err)
	f.Add(seed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m machinev1.EnrolRequest
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		g, err := grantFromWire(&m)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Error(err)
			}
			return
		}
		again, err := grantFromWire(grantToWire(g))
		if err != nil || !reflect.DeepEqual(again, g) {
			t.Errorf("%v comes back as %v, %v", g, again, err)
		}
	})
}

// FuzzRecipients: nothing but an age recipient is one.
func FuzzRecipients(f *testing.F) {
	f.Add("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p")
	f.Add("AGE-SECRET-KEY-1")
	f.Add("#\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRecipients([]string{text})
		if err == nil && (len(r) != 1 || !strings.HasPrefix(text, "age1")) || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	})
}
