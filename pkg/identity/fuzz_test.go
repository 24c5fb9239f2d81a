package identity

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"filippo.io/age"
)

// The targets know no private key but the tests' own, so that whatever they
// find accepted, other than the seeds, is a forgery.

func FuzzParse(f *testing.F) {
	n := newNetwork(f, "a")
	samples := n.samples()
	for k, data := range samples {
		f.Add(uint8(k-1), data)
	}
	f.Fuzz(func(t *testing.T, k uint8, data []byte) {
		kind := kind(k%uint8(len(kinds))) + 1
		if _, err := parseAs(kind, data); err == nil && !bytes.Equal(data, samples[kind]) {
			t.Errorf("forged %s: %x", kind, data)
		}
	})
}

// FuzzPayload signs what it is given, so that the fuzzer comes past the
// signature: what is accepted must have one encoding and must stand judgement
// without a panic.
func FuzzPayload(f *testing.F) {
	n := newNetwork(f, "a")
	for k, data := range n.samples() {
		var e envelope
		noErr(f, decode(data, len(data), &e))
		f.Add(uint8(k-1), e.Payload)
	}
	keys := []PrivateKey{n.root, n.issuer, testKey("node-1"), testKey("dev")}
	f.Fuzz(func(t *testing.T, k uint8, payload []byte) {
		n.t = t
		kind := kind(k%uint8(len(kinds))) + 1
		for _, key := range keys {
			sig, err := key.ed25519().Sign(nil, payload, kind.options())
			noErr(t, err)
			data, err := encoding.Marshal(envelope{Kind: kind, Payload: payload, Signature: [64]byte(sig)})
			noErr(t, err)
			obj, err := parseAs(kind, data)
			if err != nil {
				continue
			}
			again, err := encoding.Marshal(obj)
			if err != nil || !bytes.Equal(again, payload) {
				t.Fatalf("%s has a second encoding: %x and %x (%v)", kind, payload, again, err)
			}
			if c, ok := obj.(*Certificate); ok {
				d := n.delegation()
				got, err := n.v.Verify(n.join(sign(t, n.root, d), data))
				if err == nil && (!got.Caps.Within(d.Caps) || got.Serial < 100 || got.Serial > 149 || got.NotAfter.After(d.NotAfter) || c.Network != n.id) {
					t.Fatalf("beyond the delegation: %+v", got)
				}
			}
		}
	})
}

func FuzzCredential(f *testing.F) {
	n := newNetwork(f, "a")
	rotation := n.rotate(1, n.root, testKey("next"), day)
	d := n.delegation()
	cert := sign(f, n.issuer, n.certificate("node-1"))
	seeds := [][]byte{n.join(sign(f, n.root, d), cert), n.join(sign(f, n.root, d), cert, rotation)}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := n.v.Verify(data); err == nil && !bytes.Equal(data, seeds[0]) && !bytes.Equal(data, seeds[1]) {
			t.Errorf("forged credential: %x", data)
		}
	})
}

func FuzzToken(f *testing.F) {
	n := newNetwork(f, "a")
	token, err := newToken(n.samples()[kindInvite])
	noErr(f, err)
	whole := token.Reveal()
	f.Add(whole)
	f.Add(n.id.String())
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := ParseToken(s); err == nil && got.Reveal() != whole {
			t.Errorf("forged token: %q", s)
		}
	})
}

func FuzzNetworkID(f *testing.F) {
	f.Add(NetworkOf(testKey("a").Public()).String())
	f.Add(testKey("a").Public().String())
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseNetworkID(s); err == nil {
			if again, err := ParseNetworkID(id.String()); err != nil || again != id {
				t.Errorf("%q is %s is %s (%v)", s, id, again, err)
			}
		}
		if k, err := ParsePublicKey(s); err == nil {
			if again, err := ParsePublicKey(k.String()); err != nil || again != k {
				t.Errorf("%q is %s is %s (%v)", s, k, again, err)
			}
		}
	})
}

// FuzzState mends the checksum, so that the fuzzer comes past it.
func FuzzState(f *testing.F) {
	n := newNetwork(f, "a")
	i := n.newIssuer()
	for _, v := range []any{clockState{Floor: t0}, storeState{Network: n.id, Anchor: n.id, Rotations: [][]byte{{1}}}, i.led} {
		body, err := encoding.Marshal(v)
		noErr(f, err)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for name, into := range map[string]any{clockName: &clockState{}, storeName: &storeState{}, ledgerName: &ledger{}} {
			data := append(stateHeader(name), body...)
			sum := sha256.Sum256(data)
			if err := decodeState(append(data, sum[:]...), name, into); err == nil {
				if again, err := encoding.Marshal(into); err != nil || !bytes.Equal(again, body) {
					t.Errorf("%s has a second encoding: %x and %x (%v)", name, body, again, err)
				}
			}
			if decodeState(body, name, into) == nil {
				t.Errorf("%s without its checksum: %x", name, body)
			}
			if st, ok := into.(*storeState); ok {
				v := &Verifier{clock: n.clock, lists: map[PublicKey]list{}}
				_ = v.load(*st)
			}
		}
	})
}

func FuzzKeyFile(f *testing.F) {
	id, err := age.ParseX25519Identity("AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33")
	noErr(f, err)
	var file bytes.Buffer
	noErr(f, encryptKey(&file, testKey("root"), []age.Recipient{id.Recipient()}))
	f.Add(file.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		if key, err := decryptKey(data, []age.Identity{id}); err == nil && key.Public() != testKey("root").Public() {
			t.Errorf("another key: %x", data)
		}
	})
}
