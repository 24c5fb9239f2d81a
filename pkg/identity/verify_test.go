package identity

import (
	"path/filepath"
	"testing"
	"time"
)

func TestVerifyRefusals(t *testing.T) {
	n, other := newNetwork(t, "a"), newNetwork(t, "b")
	for name, c := range map[string]struct {
		cert func(*Certificate)
		del  func(*Delegation)
		cred func() []byte
		want error
	}{
		"valid":                  {},
		"begins within the skew": {cert: func(c *Certificate) { c.NotBefore = t0.Add(Skew - time.Second) }},
		"not yet valid":          {cert: func(c *Certificate) { c.NotBefore = t0.Add(Skew + time.Minute) }, want: ErrNotYetValid},
		"expired":                {cert: func(c *Certificate) { c.NotAfter = t0 }, want: ErrExpired},
		"api role too high":      {cert: func(c *Certificate) { c.Caps.API = Admin }, want: ErrDelegation},
		"node role too high":     {del: func(d *Delegation) { d.Caps.Node = Client }, want: ErrDelegation},
		"valid for too long":     {cert: func(c *Certificate) { c.NotAfter = c.NotBefore.Add(8 * day) }, want: ErrDelegation},
		"first serial":           {cert: func(c *Certificate) { c.Serial = 100 }},
		"last serial":            {cert: func(c *Certificate) { c.Serial = 149 }},
		"serial below quota":     {cert: func(c *Certificate) { c.Serial = 99 }, want: ErrDelegation},
		"serial above quota":     {cert: func(c *Certificate) { c.Serial = 150 }, want: ErrDelegation},
		"before its delegation":  {del: func(d *Delegation) { d.NotBefore = t0 }, want: ErrDelegation},
		"beyond its delegation":  {del: func(d *Delegation) { d.NotAfter = t0.Add(time.Hour) }, want: ErrDelegation},
		"other network": {cred: func() []byte {
			return other.credential(other.delegation(), other.certificate("node-1"))
		}, want: ErrWrongNetwork},
		"other network's delegation": {cred: func() []byte {
			d := other.delegation()
			d.Issuer = n.issuer.Public()
			return n.join(sign(t, other.root, d), sign(t, n.issuer, n.certificate("node-1")))
		}, want: ErrSignature},
		"delegation by a stranger": {cred: func() []byte {
			d := n.delegation()
			d.Root = other.root.Public()
			return n.join(sign(t, other.root, d), sign(t, n.issuer, n.certificate("node-1")))
		}, want: ErrUntrustedRoot},
		"delegation by an issuer": {cred: func() []byte {
			d := n.delegation()
			d.Root, d.Issuer = n.issuer.Public(), testKey("sub").Public()
			c := n.certificate("node-1")
			c.Issuer = d.Issuer
			return n.join(sign(t, n.issuer, d), sign(t, testKey("sub"), c))
		}, want: ErrUntrustedRoot},
		"certificate by the root key": {cred: func() []byte {
			c := n.certificate("node-1")
			c.Issuer = n.root.Public()
			return n.join(sign(t, n.root, n.delegation()), sign(t, n.root, c))
		}, want: ErrSignature},
		"certificate by itself": {cred: func() []byte {
			c := n.certificate("node-1")
			c.Issuer = c.Key
			return n.join(sign(t, n.root, n.delegation()), sign(t, testKey("node-1"), c))
		}, want: ErrSignature},
		"parts exchanged": {cred: func() []byte {
			return n.join(sign(t, n.issuer, n.certificate("node-1")), sign(t, n.root, n.delegation()))
		}, want: ErrMalformed},
		"nothing":  {cred: func() []byte { return nil }, want: ErrMalformed},
		"too long": {cred: func() []byte { return make([]byte, maxCredential+1) }, want: ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			cert, del := n.certificate("node-1"), n.delegation()
			if c.cert != nil {
				c.cert(&cert)
			}
			if c.del != nil {
				c.del(&del)
			}
			var cred []byte
			if c.cred != nil {
				cred = c.cred()
			} else {
				cred = n.credential(del, cert)
			}
			got, err := n.v.Verify(cred)
			wantErr(t, err, c.want)
			if (err == nil) != (got != nil) || got != nil && got.Key != cert.Key {
				t.Errorf("certificate %v with error %v", got, err)
			}
			if err != nil {
				t.Log(err)
			}
		})
	}
}

// rotate signs the network's next rotation with the present root key old.
func (n *network) rotate(number uint64, old, next PrivateKey, overlap time.Duration) []byte {
	return sign(n.t, old, Rotation{
		Network: n.id, Number: number, Old: old.Public(), New: next.Public(), Issued: t0, OverlapUntil: t0.Add(overlap),
	})
}

func TestRotation(t *testing.T) {
	n := newNetwork(t, "a")
	first, second, third := n.root, testKey("second root"), testKey("third root")
	one, two := n.rotate(1, first, second, 30*day), n.rotate(2, second, third, 30*day)
	old := n.credential(n.delegation(), n.certificate("old"))
	d := n.delegation()
	d.Root = second.Public()
	cert := sign(t, n.issuer, n.certificate("new"))
	byNew := n.join(sign(t, second, d), cert, one)

	_, err := n.v.Verify(n.join(sign(t, second, d), cert)) // the rotation is not shown and not known
	wantErr(t, err, ErrUntrustedRoot)
	wantErr(t, n.v.AddRotation(two), ErrUntrustedRoot) // does not follow
	_, err = n.v.Verify(byNew)
	noErr(t, err)
	if rs, _ := n.v.Statements(); len(rs) != 1 {
		t.Errorf("%d rotations known, want the one that was shown", len(rs))
	}
	noErr(t, n.v.AddRotation(one))
	_, err = n.v.Verify(old) // both count during the overlap
	noErr(t, err)

	wantErr(t, n.v.AddRotation(n.rotate(1, first, testKey("thief"), 30*day)), ErrRollback)
	d.Root = testKey("thief").Public()
	_, err = n.v.Verify(n.join(sign(t, testKey("thief"), d), cert, n.rotate(1, first, testKey("thief"), 30*day)))
	wantErr(t, err, ErrRollback)

	noErr(t, n.v.AddRotation(two))
	v, err := OpenVerifier(n.v.path, n.clock) // a restart forgets nothing
	noErr(t, err)
	n.v = v
	n.now = t0.Add(31 * day)
	c := n.certificate("node-1")
	c.NotBefore, c.NotAfter = n.now.Add(-time.Hour), n.now.Add(day)
	_, err = n.v.Verify(n.credential(n.delegation(), c))
	wantErr(t, err, ErrRetiredRoot)
	d.Root = third.Public()
	_, err = n.v.Verify(n.join(sign(t, third, d), sign(t, n.issuer, c)))
	noErr(t, err)
	_, err = n.v.Verify(n.join(sign(t, third, d), sign(t, n.issuer, c), two)) // the first is left out
	wantErr(t, err, ErrRollback)
}

// A root key that was stolen and replaced cannot lead a newcomer astray.
func TestAnchor(t *testing.T) {
	n := newNetwork(t, "a")
	next, thief := testKey("next"), testKey("thief")
	v, err := CreateVerifier(filepath.Join(n.dir, "newcomer"), n.id, NetworkOf(next.Public()), n.clock)
	noErr(t, err)
	cert := sign(t, n.issuer, n.certificate("node-1"))
	d := n.delegation()
	_, err = v.Verify(n.join(sign(t, n.root, d), cert))
	wantErr(t, err, ErrUntrustedRoot)
	d.Root = thief.Public()
	_, err = v.Verify(n.join(sign(t, thief, d), cert, n.rotate(1, n.root, thief, day)))
	wantErr(t, err, ErrUntrustedRoot)
	d.Root = next.Public()
	_, err = v.Verify(n.join(sign(t, next, d), cert, n.rotate(1, n.root, next, day)))
	noErr(t, err)
}

func TestRevocation(t *testing.T) {
	n := newNetwork(t, "a")
	one, two := n.certificate("one"), n.certificate("two")
	two.Serial = 101
	check := func(one1, two1 error) {
		t.Helper()
		_, err := n.v.Verify(n.credential(n.delegation(), one))
		wantErr(t, err, one1)
		_, err = n.v.Verify(n.credential(n.delegation(), two))
		wantErr(t, err, two1)
	}
	root := func(version uint64, keys ...PublicKey) []byte {
		return sign(t, n.root, Revocation{Network: n.id, Signer: n.root.Public(), Version: version, Issued: t0, Keys: keys})
	}
	issuer := Revocation{Network: n.id, Signer: n.issuer.Public(), Version: 1, Issued: t0, Delegation: sign(t, n.root, n.delegation())}
	check(nil, nil)

	issuer.Serials = []uint64{101}
	noErr(t, n.v.AddRevocation(sign(t, n.issuer, issuer)))
	check(nil, ErrRevoked)
	issuer.Version, issuer.Serials, issuer.Keys = 2, nil, []PublicKey{one.Key}
	noErr(t, n.v.AddRevocation(sign(t, n.issuer, issuer)))
	check(ErrRevoked, nil)
	issuer.Version, issuer.Keys = 3, nil
	noErr(t, n.v.AddRevocation(sign(t, n.issuer, issuer)))
	check(nil, nil)

	noErr(t, n.v.AddRevocation(root(5, two.Key)))
	noErr(t, n.v.AddRevocation(root(5, two.Key))) // known already
	check(nil, ErrRevoked)
	for _, stale := range [][]byte{root(4), root(5), root(1, two.Key)} {
		wantErr(t, n.v.AddRevocation(stale), ErrRollback)
	}
	v, err := OpenVerifier(n.v.path, n.clock)
	noErr(t, err)
	n.v = v
	wantErr(t, n.v.AddRevocation(root(4)), ErrRollback)
	check(nil, ErrRevoked)
	noErr(t, n.v.AddRevocation(root(6, n.issuer.Public())))
	check(ErrRevoked, ErrRevoked)

	// lists without authority
	stranger := issuer
	stranger.Signer = testKey("stranger").Public()
	wantErr(t, n.v.AddRevocation(sign(t, testKey("stranger"), stranger)), ErrSignature)
	stranger.Delegation = nil
	stranger.Version = 9
	wantErr(t, n.v.AddRevocation(sign(t, testKey("stranger"), stranger)), ErrUntrustedRoot)
	other := newNetwork(t, "b")
	foreign := Revocation{Network: other.id, Signer: other.root.Public(), Version: 9, Issued: t0}
	wantErr(t, n.v.AddRevocation(sign(t, other.root, foreign)), ErrWrongNetwork)
	future := Revocation{Network: n.id, Signer: n.root.Public(), Version: 9, Issued: t0.Add(time.Hour)}
	wantErr(t, n.v.AddRevocation(sign(t, n.root, future)), ErrNotYetValid)
}

// The list of a later root key beats any version of an earlier one, and an
// issuer cannot revoke what another issuer certified.
func TestRevocationReach(t *testing.T) {
	n := newNetwork(t, "a")
	next := testKey("next")
	list := func(root PrivateKey, version uint64) []byte {
		return sign(t, root, Revocation{Network: n.id, Signer: root.Public(), Version: version, Issued: t0})
	}
	noErr(t, n.v.AddRevocation(list(n.root, 1<<64-1)))
	noErr(t, n.v.AddRotation(n.rotate(1, n.root, next, 30*day)))
	noErr(t, n.v.AddRevocation(list(next, 1)))
	wantErr(t, n.v.AddRevocation(list(n.root, 1<<64-1)), ErrRollback)

	rival := testKey("rival")
	d := n.delegation()
	d.Issuer = rival.Public()
	c := n.certificate("node-1")
	noErr(t, n.v.AddRevocation(sign(t, rival, Revocation{
		Network: n.id, Signer: rival.Public(), Version: 1, Issued: t0,
		Keys: []PublicKey{c.Key}, Serials: []uint64{c.Serial}, Delegation: sign(t, n.root, d),
	})))
	_, err := n.v.Verify(n.credential(n.delegation(), c))
	noErr(t, err)
}
