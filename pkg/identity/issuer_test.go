package identity

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func (n *network) newIssuer() *Issuer {
	n.t.Helper()
	i, err := CreateIssuer(filepath.Join(n.dir, "ledger"), n.issuer, sign(n.t, n.root, n.delegation()), n.v)
	noErr(n.t, err)
	return i
}

func (n *network) request1(token Token, name string) []byte {
	n.t.Helper()
	data, err := token.Request(testKey(name), [32]byte{1}, name)
	noErr(n.t, err)
	return data
}

// asPeer is a connection to the member name.
func asPeer(t *testing.T, name string, credential []byte) tls.ConnectionState {
	t.Helper()
	cert, err := TLSCertificate(testKey(name), credential)
	noErr(t, err)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	noErr(t, err)
	return tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
}

func TestInviteAdmitRenew(t *testing.T) {
	n := newNetwork(t, "a")
	i := n.newIssuer()
	token, err := i.Invite(Caps{API: Reader, Node: Agent}, 2, time.Hour)
	noErr(t, err)
	t.Logf("token of %d characters", len(token.Reveal()))
	token, err = ParseToken(token.Reveal())
	noErr(t, err)
	if inv := token.Invite(); inv.Network != n.id || inv.Uses != 2 || !inv.Expires.Equal(t0.Add(time.Hour)) || inv.Anchor != n.id {
		t.Errorf("the token says %+v", inv)
	}

	one, err := i.Admit(n.request1(token, "one"))
	noErr(t, err)
	c, err := n.v.Verify(one)
	noErr(t, err)
	if c.Serial != 100 || c.Key != testKey("one").Public() || c.Caps != (Caps{API: Reader, Node: Agent}) || !c.NotAfter.Equal(t0.Add(7*day)) {
		t.Errorf("certified %+v", c)
	}
	again, err := i.Admit(n.request1(token, "one")) // its answer was lost
	noErr(t, err)
	if !bytes.Equal(one, again) {
		t.Error("the same request gave two certificates")
	}
	i, err = OpenIssuer(i.path, n.issuer, n.v) // a restart forgets nothing
	noErr(t, err)
	_, err = i.Admit(n.request1(token, "two"))
	noErr(t, err)
	_, err = i.Admit(n.request1(token, "three"))
	wantErr(t, err, ErrInvite)
	if i.led.Next != 102 {
		t.Errorf("next serial number %d, want 102", i.led.Next)
	}

	n.now = t0.Add(6 * day)
	renewed, err := i.Renew(asPeer(t, "one", one), sign(t, testKey("one"), n.request("one")))
	noErr(t, err)
	if c, err = n.v.Verify(renewed); err != nil || c.Serial != 102 || !c.NotAfter.Equal(t0.Add(13*day)) {
		t.Errorf("renewed as %+v, %v", c, err)
	}
	_, err = i.Renew(asPeer(t, "one", one), sign(t, testKey("two"), n.request("two")))
	wantErr(t, err, ErrSignature)
	n.now = t0.Add(8 * day)
	_, err = i.Renew(asPeer(t, "one", one), sign(t, testKey("one"), n.request("one")))
	wantErr(t, err, ErrExpired)
}

func TestAdmitRefusals(t *testing.T) {
	n, other := newNetwork(t, "a"), newNetwork(t, "b")
	i, foreign := n.newIssuer(), other.newIssuer()
	token, err := i.Invite(Caps{Node: Agent}, 1, time.Hour)
	noErr(t, err)
	theirs, err := foreign.Invite(Caps{Node: Agent}, 1, time.Hour)
	noErr(t, err)
	rival := Invite{
		Network: n.id, Issuer: testKey("rival").Public(), ID: 1, Issued: t0, Expires: t0.Add(day), Uses: 1,
		Caps: Caps{Node: Agent}, Anchor: n.id,
	}
	rivals, err := newToken(sign(t, testKey("rival"), rival))
	noErr(t, err)
	rival.Issuer = n.issuer.Public()
	unknown, err := newToken(sign(t, n.issuer, rival))
	noErr(t, err)
	mixed := n.request("mixed")
	mixed.Invite = bearer(theirs.reveal())
	for name, c := range map[string]struct {
		request []byte
		at      time.Time
		want    error
	}{
		"no invite":              {sign(t, testKey("x"), n.request("x")), t0, ErrInvite},
		"another network":        {n.request1(theirs, "x"), t0, ErrWrongNetwork},
		"another network's":      {sign(t, testKey("mixed"), mixed), t0, ErrWrongNetwork},
		"another issuer":         {n.request1(rivals, "x"), t0, ErrInvite},
		"not in the ledger":      {n.request1(unknown, "x"), t0, ErrInvite},
		"expired":                {n.request1(token, "x"), t0.Add(time.Hour), ErrExpired},
		"clock behind the issue": {n.request1(token, "x"), t0.Add(-time.Hour), nil}, // the floor is the time of issue
		"no request":             {nil, t0, ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			n.now = c.at
			_, err := i.Admit(c.request)
			wantErr(t, err, c.want)
			if r, perr := Parse[Request](c.request); perr == nil && r.Network == n.id {
				wantErr(t, i.Admissible(r), c.want)
			}
		})
	}
	n.now = t0
	changed, err := token.Request(testKey("x"), [32]byte{2}, "x")
	noErr(t, err)
	_, err = i.Admit(changed)
	wantErr(t, err, ErrInvite)
}

func TestIssuerStaysWithinItsDelegation(t *testing.T) {
	n := newNetwork(t, "a")
	i := n.newIssuer()
	_, err := i.Invite(Caps{API: Admin, Node: Agent}, 1, time.Hour)
	wantErr(t, err, ErrDelegation)
	_, err = i.Invite(Caps{Node: Agent}, 51, time.Hour)
	wantErr(t, err, ErrDelegation)
	_, err = i.Invite(Caps{Node: Agent}, 0, time.Hour)
	wantErr(t, err, ErrMalformed)
	_, err = i.Invite(Caps{Node: Agent}, 1, MaxInviteLifetime+time.Second)
	wantErr(t, err, ErrMalformed)
	_, err = i.Issue(sign(t, testKey("boss"), n.request("boss")), Caps{API: Admin})
	wantErr(t, err, ErrDelegation)
	for range 50 {
		_, err := i.Issue(sign(t, testKey("one"), n.request("one")), Caps{API: Operator})
		noErr(t, err)
	}
	_, err = i.Issue(sign(t, testKey("one"), n.request("one")), Caps{API: Operator})
	wantErr(t, err, ErrDelegation)

	d := n.delegation()
	wantErr(t, i.SetDelegation(sign(t, n.root, d)), ErrDelegation)
	d.FirstSerial = 1000
	noErr(t, i.SetDelegation(sign(t, n.root, d)))
	i, err = OpenIssuer(i.path, n.issuer, n.v)
	noErr(t, err)
	cred, err := i.Issue(sign(t, testKey("one"), n.request("one")), Caps{API: Operator})
	noErr(t, err)
	if c, err := n.v.Verify(cred); err != nil || c.Serial != 1000 {
		t.Errorf("certified %+v, %v", c, err)
	}
	n.now = t0.Add(90*day - time.Hour)
	cred, err = i.Issue(sign(t, testKey("one"), n.request("one")), Caps{API: Operator})
	noErr(t, err)
	if c, err := n.v.Verify(cred); err != nil || !c.NotAfter.Equal(d.NotAfter) {
		t.Errorf("certified %+v, %v", c, err)
	}
	n.now = t0.Add(91 * day)
	_, err = i.Issue(sign(t, testKey("one"), n.request("one")), Caps{API: Operator})
	if err == nil {
		t.Error("certified after the delegation's end")
	}

	d.Issuer = testKey("rival").Public()
	n.now = t0
	wantErr(t, i.SetDelegation(sign(t, n.root, d)), ErrSignature)
	_, err = CreateIssuer(filepath.Join(n.dir, "new"), n.issuer, sign(t, n.root, d), n.v)
	wantErr(t, err, ErrSignature)
	_, err = OpenIssuer(i.path, testKey("rival"), n.v)
	wantErr(t, err, ErrSignature)
	other := newNetwork(t, "b")
	_, err = OpenIssuer(i.path, n.issuer, other.v)
	wantErr(t, err, ErrWrongNetwork)
}

func TestIssuerRevokes(t *testing.T) {
	n := newNetwork(t, "a")
	i := n.newIssuer()
	token, err := i.Invite(Caps{Node: Agent}, 9, time.Hour)
	noErr(t, err)
	creds := map[string][]byte{}
	for _, name := range []string{"one", "two", "three"} {
		creds[name], err = i.Admit(n.request1(token, name))
		noErr(t, err)
	}
	_, err = i.Revoke([]PublicKey{testKey("one").Public()}, nil)
	noErr(t, err)
	list, err := i.Revoke(nil, []uint64{101, 101})
	noErr(t, err)
	member := newNetwork(t, "a") // another machine of the same network
	noErr(t, member.v.AddRevocation(list))
	for _, v := range []*Verifier{n.v, member.v} {
		for name, want := range map[string]error{"one": ErrRevoked, "two": ErrRevoked, "three": nil} {
			_, err := v.Verify(creds[name])
			wantErr(t, err, want)
		}
	}
	_, err = i.Renew(asPeer(t, "one", creds["one"]), sign(t, testKey("one"), n.request("one")))
	wantErr(t, err, ErrRevoked)
	_, err = i.Admit(n.request1(token, "one"))
	wantErr(t, err, ErrRevoked)
}

func TestLedgerForgetsExpiredInvites(t *testing.T) {
	n := newNetwork(t, "a")
	i := n.newIssuer()
	token, err := i.Invite(Caps{Node: Agent}, 1, time.Hour)
	noErr(t, err)
	n.now = t0.Add(2 * time.Hour)
	_, err = i.Invite(Caps{Node: Agent}, 1, time.Hour)
	noErr(t, err)
	if len(i.led.Invites) != 1 {
		t.Errorf("%d invites in the ledger, want 1", len(i.led.Invites))
	}
	n.now = t0.Add(time.Minute) // the clock is set back
	_, err = i.Admit(n.request1(token, "one"))
	wantErr(t, err, ErrExpired) // by the floor
	n.clock.floor = time.Time{}
	_, err = i.Admit(n.request1(token, "one"))
	wantErr(t, err, ErrInvite) // and even without it
}

func TestWithdraw(t *testing.T) {
	n := newNetwork(t, "a")
	i := n.newIssuer()
	token, err := i.Invite(Caps{Node: Agent}, 2, time.Hour)
	noErr(t, err)
	one, err := i.Admit(n.request1(token, "one"))
	noErr(t, err)
	noErr(t, i.Withdraw(token.Invite().ID))
	noErr(t, i.Withdraw(token.Invite().ID))
	_, err = i.Admit(n.request1(token, "two"))
	wantErr(t, err, ErrInvite)
	_, err = n.v.Verify(one)
	noErr(t, err)
}

// Whoever asks at the same time, an invite brings no more members than it may,
// and no serial number is given twice.
func TestConcurrentAdmissions(t *testing.T) {
	n := newNetwork(t, "a")
	i := n.newIssuer()
	token, err := i.Invite(Caps{Node: Agent}, 5, time.Hour)
	noErr(t, err)
	var wait sync.WaitGroup
	var admitted atomic.Int32
	var serials sync.Map
	for k := range 16 {
		wait.Go(func() {
			name := fmt.Sprintf("node-%d", k)
			req, err := token.Request(testKey(name), [32]byte{1}, name)
			if err != nil {
				t.Error(err)
				return
			}
			cred, err := i.Admit(req)
			if err != nil {
				wantErr(t, err, ErrInvite)
				return
			}
			admitted.Add(1)
			c, err := n.v.Verify(cred)
			if err != nil {
				t.Error(err)
			} else if other, twice := serials.LoadOrStore(c.Serial, name); twice {
				t.Errorf("%s and %v share serial number %d", name, other, c.Serial)
			}
		})
	}
	wait.Wait()
	if admitted.Load() != 5 {
		t.Errorf("%d admitted, want 5", admitted.Load())
	}
}

// A person's key is certified without a request, a node's is not.
func TestCertify(t *testing.T) {
	n := newNetwork(t, "a")
	i := n.newIssuer()
	left := i.Left()
	cred, err := i.Certify(testKey("ann").Public(), "ann", Caps{API: Operator})
	noErr(t, err)
	c, err := n.v.Verify(cred)
	noErr(t, err)
	d, same, err := ParseCredential(cred)
	noErr(t, err)
	if c.Key != testKey("ann").Public() || *same != *c || *d != i.Delegation() || i.Left() != left-1 {
		t.Errorf("certified %+v by %+v, %d left", c, d, i.Left())
	}
	if _, err := i.Certify(testKey("pi").Public(), "pi", Caps{Node: Agent}); err == nil || i.Left() != left-1 {
		t.Errorf("a node without a mesh key: %v, %d left", err, i.Left())
	}
	_, _, err = ParseCredential(cred[1:])
	wantErr(t, err, ErrMalformed)
}
