package identity

import (
	"crypto/tls"
	"path/filepath"
	"testing"
	"time"
)

// A newcomer whose clock shows 1970 joins with nothing but a token.
func TestJoin(t *testing.T) {
	n := newNetwork(t, "a")
	i := n.newIssuer()
	self, err := i.Issue(sign(t, n.issuer, Request{Network: n.id, Key: n.issuer.Public(), Mesh: [32]byte{9}, Name: "issuer"}), Caps{Node: Server})
	noErr(t, err)
	selfTLS, err := TLSCertificate(n.issuer, self)
	noErr(t, err)
	token, err := i.Invite(Caps{Node: Agent}, 1, time.Hour)
	noErr(t, err)

	m := newNetwork(t, "a") // the newcomer's machine: it knows what the token says
	m.now = time.Unix(0, 0)
	key := testKey("newcomer")
	req, err := token.Request(key, [32]byte{3}, "newcomer")
	noErr(t, err)
	cert, err := TLSCertificate(key, req)
	noErr(t, err)
	server := n.v.ServerTLS(TLSOptions{Certificate: static(selfTLS), Admit: i.Admissible})
	client := m.v.ClientTLS(TLSOptions{Certificate: static(cert), Peer: token.Invite().Issuer})
	srv, _, _, serr, cerr := connect(t, server, client)
	if serr != nil || cerr != nil {
		t.Fatalf("server %v, client %v", serr, cerr)
	}
	_, err = n.v.Authorize(srv, NoAPI)
	wantErr(t, err, ErrNotMember)
	got, err := PeerRequest(srv)
	noErr(t, err)
	cred, err := i.Admit(got)
	noErr(t, err)
	c, err := m.v.Verify(cred)
	noErr(t, err)
	if c.Key != key.Public() || m.clock.Now().Before(t0) {
		t.Errorf("joined as %+v at %s", c, utc(m.clock.Now()))
	}
	// now as a member
	cert, err = TLSCertificate(key, cred)
	noErr(t, err)
	srv, _, _, serr, cerr = connect(t, server, m.v.ClientTLS(TLSOptions{Certificate: static(cert)}))
	if serr != nil || cerr != nil {
		t.Fatalf("server %v, client %v", serr, cerr)
	}
	if c, err := n.v.Authorize(srv, NoAPI); err != nil || c.Name != "newcomer" {
		t.Errorf("the server sees %+v, %v", c, err)
	}
	// the token is spent, and does not serve in another network
	req, err = token.Request(testKey("second"), [32]byte{3}, "second")
	noErr(t, err)
	cert, err = TLSCertificate(testKey("second"), req)
	noErr(t, err)
	_, _, read, serr, _ := connect(t, server, m.v.ClientTLS(TLSOptions{Certificate: static(cert)}))
	wantErr(t, serr, ErrInvite)
	other := newNetwork(t, "b")
	foreign := other.v.ServerTLS(TLSOptions{Certificate: other.tlsCert(other.certificate("x")), Admit: other.newIssuer().Admissible})
	lenient := &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }}
	_, _, read2, serr, _ := connect(t, foreign, lenient)
	wantErr(t, serr, ErrWrongNetwork)
	if read+read2 != 0 {
		t.Error("payload was read")
	}
}

// After a rotation a newcomer accepts the network by its id and the invite's anchor.
func TestJoinAfterRotation(t *testing.T) {
	n := newNetwork(t, "a")
	i := n.newIssuer()
	next := testKey("next")
	noErr(t, n.v.AddRotation(n.rotate(1, n.root, next, 30*day)))
	d := n.delegation()
	d.Root, d.FirstSerial = next.Public(), 200
	noErr(t, i.SetDelegation(sign(t, next, d)))
	token, err := i.Invite(Caps{Node: Agent}, 1, time.Hour)
	noErr(t, err)
	inv := token.Invite()
	if inv.Network != n.id || inv.Anchor != NetworkOf(next.Public()) {
		t.Errorf("the token says %+v", inv)
	}
	v, err := CreateVerifier(filepath.Join(n.dir, "newcomer"), inv.Network, inv.Anchor, n.clock)
	noErr(t, err)
	cred, err := i.Admit(n.request1(token, "one"))
	noErr(t, err)
	n.now = t0.Add(6 * day)
	_, err = v.Verify(cred)
	noErr(t, err)
	if v.Network() != n.id {
		t.Errorf("network %s", v.Network())
	}
}
