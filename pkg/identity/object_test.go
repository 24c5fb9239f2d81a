package identity

import (
	"bytes"
	"crypto"
	"flag"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLargestSizes(t *testing.T) {
	n := newNetwork(t, "a")
	late := time.Unix(maxTime-1, 0)
	c := n.certificate(strings.Repeat("n", 63))
	c.Serial, c.NotBefore, c.NotAfter = 1<<63, late.Add(-time.Hour), late
	d := n.delegation()
	d.MaxValidity, d.FirstSerial, d.Count, d.NotBefore, d.NotAfter = 1<<62, 1<<62, 1<<62, late.Add(-time.Hour), late
	i := Invite{
		Network: n.id, Issuer: n.issuer.Public(), ID: 1 << 63, Issued: late.Add(-time.Hour), Expires: late,
		Uses: MaxInviteUses, Caps: Caps{API: Admin, Node: Server}, Anchor: n.id,
	}
	r := n.request(strings.Repeat("n", 63))
	r.Invite = sign(t, n.issuer, i)
	revocation := Revocation{Network: n.id, Signer: n.issuer.Public(), Version: 1 << 63, Issued: late, Delegation: sign(t, n.root, d)}
	for k := range uint64(maxRevoked) {
		revocation.Keys = append(revocation.Keys, PublicKey{byte(k >> 8), byte(k)})
		revocation.Serials = append(revocation.Serials, 1<<63+k)
	}
	rotation := Rotation{
		Network: n.id, Number: maxRotations, Old: n.root.Public(), New: n.issuer.Public(),
		Issued: late.Add(-time.Hour), OverlapUntil: late,
	}
	announcement := Announcement{Network: n.id, Key: testKey("a").Public(), Version: 1 << 63, Issuer: true, Serving: true, OS: strings.Repeat("x", 64)}
	for i := range byte(MaxAddresses) {
		announcement.Addresses = append(announcement.Addresses, netip.AddrFrom16([16]byte{0x20, 1, 15: i}))
	}
	file := n.osFile("dev")
	file.Version, file.Board, file.Size, file.NotAfter = "1.2.3-"+strings.Repeat("r", maxVersion-6), strings.Repeat("b", 63), maxOSFileSize, late
	token, err := newToken(r.Invite)
	noErr(t, err)
	for name, got := range map[string]int{
		"certificate": len(sign(t, n.issuer, c)), "delegation": len(sign(t, n.root, d)), "invite": len(r.Invite),
		"request": len(sign(t, testKey(r.Name), r)), "revocation list": len(sign(t, n.issuer, revocation)),
		"root rotation": len(sign(t, n.root, rotation)), "token's characters": len(token.Reveal()),
		"announcement":      len(sign(t, testKey("a"), announcement)),
		"OS file":           len(sign(t, testKey("dev"), file)),
		"usual certificate": len(sign(t, n.issuer, n.certificate("node-1"))),
	} {
		t.Logf("%-18s %6d", name, got)
	}
	if got := len(sign(t, n.issuer, c)); got > 400 {
		t.Errorf("certificate of %d bytes, want at most 400", got)
	}
}

func TestSignedStatementsRoundTrip(t *testing.T) {
	for k, data := range newNetwork(t, "a").samples() {
		obj, err := parseAs(k, data)
		noErr(t, err)
		again, err := encoding.Marshal(obj)
		noErr(t, err)
		if !bytes.Contains(data, again) {
			t.Errorf("%s: parsed and encoded again it differs", k)
		}
	}
}

// A flipped bit, a byte more or less anywhere in any statement is refused.
func TestEveryFlippedBitIsRefused(t *testing.T) {
	n := newNetwork(t, "a")
	samples := n.samples()
	for k, data := range samples {
		for bit := range len(data) * 8 {
			bad := bytes.Clone(data)
			bad[bit/8] ^= 1 << (bit % 8)
			if _, err := parseAs(k, bad); err == nil {
				t.Errorf("%s: accepted with bit %d flipped", k, bit)
			}
		}
		for end := range len(data) {
			if _, err := parseAs(k, data[:end]); err == nil {
				t.Errorf("%s: accepted when cut at %d", k, end)
			}
		}
		for _, more := range []byte{0, 1, 0xff} {
			_, err := parseAs(k, append(bytes.Clone(data), more))
			wantErr(t, err, ErrMalformed)
		}
	}
	cred := n.join(samples[kindDelegation], samples[kindCertificate])
	if _, err := n.v.Verify(cred); err != nil {
		t.Fatal(err)
	}
	for bit := range len(cred) * 8 {
		bad := bytes.Clone(cred)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := n.v.Verify(bad); err == nil {
			t.Errorf("credential accepted with bit %d flipped", bit)
		}
	}
	token, err := newToken(samples[kindInvite])
	noErr(t, err)
	s := []byte(token.Reveal())
	for bit := range len(s) * 8 {
		bad := bytes.Clone(s)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := ParseToken(string(bad)); err == nil {
			t.Errorf("token accepted with bit %d flipped", bit)
		}
	}
}

// mutate changes data in one to four places of several kinds.
func mutate(r *rand.Rand, data []byte) []byte {
	out := bytes.Clone(data)
	for range 1 + r.IntN(4) {
		at := r.IntN(len(out))
		switch r.IntN(5) {
		case 0:
			out[at] = byte(r.Uint32())
		case 1:
			out = slices.Insert(out, at, byte(r.Uint32()))
		case 2:
			if out = slices.Delete(out, at, at+1); len(out) == 0 {
				return out
			}
		case 3:
			out = slices.Insert(out, at, out[at:min(len(out), at+1+r.IntN(16))]...)
		case 4:
			out[at] ^= 1 << r.IntN(8)
		}
	}
	return out
}

var mutations = flag.Int("mutations", 20_000, "how many changed statements, credentials and tokens each to try")

// Thousands of changed statements, credentials and tokens: no panic, none accepted.
func TestMutationsAreRefused(t *testing.T) {
	n := newNetwork(t, "a")
	samples := n.samples()
	cred := n.join(samples[kindDelegation], samples[kindCertificate])
	token, err := newToken(samples[kindInvite])
	noErr(t, err)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range *mutations {
		k := kindRotation + kind(i%len(samples))
		if bad := mutate(r, samples[k]); !bytes.Equal(bad, samples[k]) {
			if _, err := parseAs(k, bad); err == nil {
				t.Fatalf("round %d: changed %s accepted: %x", i, k, bad)
			}
		}
		if bad := mutate(r, cred); !bytes.Equal(bad, cred) {
			if _, err := n.v.Verify(bad); err == nil {
				t.Fatalf("round %d: changed credential accepted: %x", i, bad)
			}
		}
		if bad := string(mutate(r, []byte(token.Reveal()))); bad != token.Reveal() {
			if _, err := ParseToken(bad); err == nil {
				t.Fatalf("round %d: changed token accepted: %q", i, bad)
			}
		}
	}
}

// A signature for one kind of statement is none for another with the same bytes.
func TestSignaturesAreSeparatedByKind(t *testing.T) {
	n := newNetwork(t, "a")
	for k, data := range n.samples() {
		for other := range kinds {
			if other == k {
				continue
			}
			var e envelope
			noErr(t, decode(data, len(data), &e))
			e.Kind = other
			bad, err := encoding.Marshal(e)
			noErr(t, err)
			if _, err := parseAs(other, bad); err == nil {
				t.Errorf("%s accepted as %s", k, other)
			}
		}
	}
	// the same payload, well-formed in both kinds
	c := n.certificate("node-1")
	payload, err := encoding.Marshal(c)
	noErr(t, err)
	sig, err := n.issuer.ed25519().Sign(nil, payload, kindRequest.options())
	noErr(t, err)
	bad, err := encoding.Marshal(envelope{Kind: kindCertificate, Payload: payload, Signature: [64]byte(sig)})
	noErr(t, err)
	_, err = Parse[Certificate](bad)
	wantErr(t, err, ErrSignature)
	plain, err := n.issuer.ed25519().Sign(nil, payload, crypto.Hash(0))
	noErr(t, err)
	bad, err = encoding.Marshal(envelope{Kind: kindCertificate, Payload: payload, Signature: [64]byte(plain)})
	noErr(t, err)
	_, err = Parse[Certificate](bad)
	wantErr(t, err, ErrSignature)
}

// Encodings of the right contents that are not the canonical one, or say more.
func TestOnlyTheCanonicalEncodingIsRead(t *testing.T) {
	n := newNetwork(t, "a")
	payload, err := encoding.Marshal(n.certificate("node-1"))
	noErr(t, err)
	serial := bytes.Index(payload, []byte{0x18, 100, 0x58})
	at := func(i int, with ...byte) []byte { return slices.Concat(payload[:i], with, payload[i+1:]) }
	for name, bad := range map[string][]byte{
		"a field more":       append(at(0, payload[0]+1), 0),
		"a field less":       append([]byte{payload[0] - 1}, payload[1:len(payload)-5]...),
		"indefinite length":  append(at(0, 0x9f), 0xff),
		"a longer integer":   at(serial, 0x19, 0),
		"a tag":              at(serial, 0xc1, 0x18),
		"null for a field":   slices.Concat(payload[:serial], []byte{0xf6}, payload[serial+2:]),
		"a float for a time": slices.Concat(payload[:len(payload)-5], []byte{0xfa, 0x4e, 0xd5, 0x9f, 0x80}),
		"a shorter key":      bytes.Replace(payload, []byte{0x58, 32}, []byte{0x58, 31}, 1),
		"an empty payload":   {},
	} {
		sig, err := n.issuer.ed25519().Sign(nil, bad, kindCertificate.options())
		noErr(t, err)
		data, err := encoding.Marshal(envelope{Kind: kindCertificate, Payload: bad, Signature: [64]byte(sig)})
		noErr(t, err)
		if _, err := Parse[Certificate](data); err == nil {
			t.Errorf("%s: accepted", name)
		} else {
			wantErr(t, err, ErrMalformed)
		}
	}
}

func TestSignRefusesNonsense(t *testing.T) {
	n := newNetwork(t, "a")
	certificate := func(change func(*Certificate)) func() error {
		return func() error { c := n.certificate("node-1"); change(&c); _, err := Sign(n.issuer, c); return err }
	}
	delegation := func(change func(*Delegation)) func() error {
		return func() error { d := n.delegation(); change(&d); _, err := Sign(n.root, d); return err }
	}
	announcement := func(change func(*Announcement)) func() error {
		return func() error {
			a := n.announcement("node-1")
			change(&a)
			_, err := Sign(testKey("node-1"), a)
			return err
		}
	}
	osFile := func(change func(*OSFile)) func() error {
		return func() error {
			o := n.osFile("dev")
			change(&o)
			_, err := Sign(testKey("dev"), o)
			return err
		}
	}
	for name, c := range map[string]struct {
		try  func() error
		want error
	}{
		"wrong key":              {func() error { _, err := Sign(n.root, n.certificate("x")); return err }, ErrSignature},
		"no key":                 {func() error { _, err := Sign(PrivateKey{}, n.certificate("x")); return err }, ErrSignature},
		"serial 0":               {certificate(func(c *Certificate) { c.Serial = 0 }), ErrMalformed},
		"no mesh key":            {certificate(func(c *Certificate) { c.Mesh = [32]byte{} }), ErrMalformed},
		"no caps":                {certificate(func(c *Certificate) { c.Caps = Caps{} }), ErrMalformed},
		"unknown role":           {certificate(func(c *Certificate) { c.Caps.API = 9 }), ErrMalformed},
		"no subject":             {certificate(func(c *Certificate) { c.Key = PublicKey{} }), ErrMalformed},
		"empty name":             {certificate(func(c *Certificate) { c.Name = "" }), ErrMalformed},
		"name with a line break": {certificate(func(c *Certificate) { c.Name = "a\nb" }), ErrMalformed},
		"name of 64":             {certificate(func(c *Certificate) { c.Name = strings.Repeat("a", 64) }), ErrMalformed},
		"ends first":             {certificate(func(c *Certificate) { c.NotAfter = c.NotBefore }), ErrMalformed},
		"no time":                {certificate(func(c *Certificate) { c.NotBefore = time.Time{} }), ErrMalformed},
		"too far":                {certificate(func(c *Certificate) { c.NotAfter = time.Unix(maxTime, 0) }), ErrMalformed},
		"root as issuer":         {delegation(func(d *Delegation) { d.Issuer = d.Root }), ErrMalformed},
		"no quota":               {delegation(func(d *Delegation) { d.Count = 0 }), ErrMalformed},
		"quota beyond the end":   {delegation(func(d *Delegation) { d.FirstSerial = 1<<64 - 1 }), ErrMalformed},
		"rotation to itself": {func() error {
			_, err := Sign(n.root, Rotation{Network: n.id, Number: 1, Old: n.root.Public(), New: n.root.Public(), Issued: t0, OverlapUntil: t0.Add(day)})
			return err
		}, ErrMalformed},
		"long invite": {func() error {
			_, err := Sign(n.issuer, Invite{Network: n.id, Issuer: n.issuer.Public(), Issued: t0, Expires: t0.Add(8 * day), Uses: 1, Caps: Caps{Node: Agent}})
			return err
		}, ErrMalformed},
		"announcement 0":         {announcement(func(a *Announcement) { a.Version = 0 }), ErrMalformed},
		"addresses out of order": {announcement(func(a *Announcement) { slices.Reverse(a.Addresses) }), ErrMalformed},
		"an address twice":       {announcement(func(a *Announcement) { a.Addresses[1] = a.Addresses[0] }), ErrMalformed},
		"no address":             {announcement(func(a *Announcement) { a.Addresses[0] = netip.Addr{} }), ErrMalformed},
		"loopback":               {announcement(func(a *Announcement) { a.Addresses[0] = netip.MustParseAddr("127.0.0.1") }), ErrMalformed},
		"a zone":                 {announcement(func(a *Announcement) { a.Addresses[1] = a.Addresses[1].WithZone("eth0") }), ErrMalformed},
		"IPv4 as IPv6":           {announcement(func(a *Announcement) { a.Addresses[1] = netip.MustParseAddr("::ffff:10.0.0.1") }), ErrMalformed},
		"an address of the mesh": {announcement(func(a *Announcement) { a.Addresses[0] = MeshAddress(a.Key) }), ErrMalformed},
		"17 addresses":           {announcement(func(a *Announcement) { a.Addresses = make([]netip.Addr, 17) }), ErrMalformed},
		"OS of 65":               {announcement(func(a *Announcement) { a.OS = strings.Repeat("x", 65) }), ErrMalformed},
		"OS with a line break":   {announcement(func(a *Announcement) { a.OS = "a\nb" }), ErrMalformed},
		"OS beyond ASCII":        {announcement(func(a *Announcement) { a.OS = "\u00e9" }), ErrMalformed},
		"another's announcement": {func() error { _, err := Sign(n.root, n.announcement("node-1")); return err }, ErrSignature},
		"file of no network":     {osFile(func(o *OSFile) { o.Network = NetworkID{} }), ErrMalformed},
		"file without digest":    {osFile(func(o *OSFile) { o.Digest = [32]byte{} }), ErrMalformed},
		"empty file":             {osFile(func(o *OSFile) { o.Size = 0 }), ErrMalformed},
		"file of a TiB and more": {osFile(func(o *OSFile) { o.Size = maxOSFileSize + 1 }), ErrMalformed},
		"version with a v":       {osFile(func(o *OSFile) { o.Version = "v1.2.3" }), ErrMalformed},
		"half a version":         {osFile(func(o *OSFile) { o.Version = "1.2" }), ErrMalformed},
		"half, with a build":     {osFile(func(o *OSFile) { o.Version = "1.2+dirty" }), ErrMalformed},
		"version with a zero":    {osFile(func(o *OSFile) { o.Version = "1.02.3" }), ErrMalformed},
		"no version":             {osFile(func(o *OSFile) { o.Version = "" }), ErrMalformed},
		"long version":           {osFile(func(o *OSFile) { o.Version = "1.2.3-" + strings.Repeat("r", maxVersion) }), ErrMalformed},
		"file for no board":      {osFile(func(o *OSFile) { o.Board = "" }), ErrMalformed},
		"file for a path":        {osFile(func(o *OSFile) { o.Board = "a/b" }), ErrMalformed},
		"file without end":       {osFile(func(o *OSFile) { o.NotAfter = time.Time{} }), ErrMalformed},
		"another's file":         {func() error { _, err := Sign(n.root, n.osFile("dev")); return err }, ErrSignature},
		"serials in a root's list": {func() error {
			_, err := Sign(n.root, Revocation{Network: n.id, Signer: n.root.Public(), Version: 1, Issued: t0, Serials: []uint64{1}})
			return err
		}, ErrMalformed},
		"keys out of order": {func() error {
			_, err := Sign(n.root, Revocation{Network: n.id, Signer: n.root.Public(), Version: 1, Issued: t0, Keys: []PublicKey{{2}, {1}}})
			return err
		}, ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) { wantErr(t, c.try(), c.want) })
	}
}
