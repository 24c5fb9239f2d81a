package identity

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestBech32mVectors(t *testing.T) {
	// BIP 350, test vectors
	for s, prefix := range map[string]string{"A1LQFN3A": "a", "a1lqfn3a": "a", "?1v759aa": "?"} {
		if b, err := bech32Decode(prefix, s, 90); err != nil || len(b) != 0 {
			t.Errorf("%s: %x, %v", s, b, err)
		}
	}
	b, err := bech32Decode("abcdef", "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx", 90)
	noErr(t, err)
	if got := bech32Encode("abcdef", b); got != "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx" || len(b) != 20 {
		t.Errorf("encoded again: %s (%d bytes)", got, len(b))
	}
	for _, s := range []string{"", "1", "a1", "a1lqfn3", "A1lqfn3a", "a1lqfn3b", "b1lqfn3a", "a1lqfn3\u0131", "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4"} {
		_, err := bech32Decode("a", s, 90)
		wantErr(t, err, ErrMalformed)
	}
	for length := range 70 {
		data := bytes.Repeat([]byte{0xa5}, length)
		got, err := bech32Decode("x", bech32Encode("x", data), 200)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %x, %v", length, got, err)
		}
	}
}

func TestNetworkID(t *testing.T) {
	id := NetworkOf(testKey("root").Public())
	s := id.String()
	t.Log(s, len(s))
	for _, form := range []string{s, strings.ToUpper(s), strings.ReplaceAll(s, "-", ""), strings.ReplaceAll(s, "-", " "), " " + s + "\n"} {
		got, err := ParseNetworkID(form)
		if err != nil || got != id {
			t.Errorf("%q: %v, %v", form, got, err)
		}
	}
	var again struct{ ID NetworkID }
	b, err := json.Marshal(struct{ ID NetworkID }{id})
	noErr(t, err)
	noErr(t, json.Unmarshal(b, &again))
	if again.ID != id {
		t.Errorf("through JSON: %v", again.ID)
	}
	// up to four wrong characters are always noticed
	r := rand.New(rand.NewPCG(3, 4))
	plain := strings.ReplaceAll(s, "-", "")
	for range 20_000 {
		bad := []byte(plain)
		for range 1 + r.IntN(4) {
			bad[5+r.IntN(len(bad)-5)] = bech32Alphabet[r.IntN(32)]
		}
		if string(bad) == plain {
			continue
		}
		if _, err := ParseNetworkID(string(bad)); err == nil {
			t.Fatalf("%s passes for %s", bad, plain)
		}
	}
	_, err = ParseNetworkID(testKey("root").Public().String())
	wantErr(t, err, ErrMalformed)
	_, err = ParseNetworkID(bech32Encode(networkPrefix, make([]byte, 15)))
	wantErr(t, err, ErrMalformed)
}

func TestPublicKeyText(t *testing.T) {
	k := testKey("x").Public()
	got, err := ParsePublicKey(k.String())
	if err != nil || got != k {
		t.Errorf("%s: %v, %v", k, got, err)
	}
	one, other := GenerateKey(), GenerateKey()
	if one.Public() == other.Public() || (PrivateKey{}).Public() != (PublicKey{}) {
		t.Error("keys are not what they should be")
	}
	_, err = ParsePublicKey(k.String()[:40])
	wantErr(t, err, ErrMalformed)
}

func TestRoleNames(t *testing.T) {
	for i, name := range apiRoles {
		var r APIRole
		noErr(t, r.UnmarshalText([]byte(name)))
		if r != APIRole(i) || r.String() != name {
			t.Errorf("%s is %d, %s", name, r, r)
		}
	}
	for i, name := range nodeRoles {
		var r NodeRole
		noErr(t, r.UnmarshalText([]byte(name)))
		if r != NodeRole(i) || r.String() != name {
			t.Errorf("%s is %d, %s", name, r, r)
		}
	}
	var r APIRole
	wantErr(t, r.UnmarshalText([]byte("root")), ErrMalformed)
	if s := APIRole(9).String(); s != "role(9)" {
		t.Error(s)
	}
}

func TestSigner(t *testing.T) {
	key := GenerateKey()
	signer := key.Signer()
	public, ok := signer.Public().(ed25519.PublicKey)
	if !ok || PublicKey(public) != key.Public() {
		t.Errorf("public key %v", signer.Public())
	}
	sig, err := signer.Sign(nil, []byte("message"), crypto.Hash(0))
	if err != nil || !ed25519.Verify(public, []byte("message"), sig) {
		t.Errorf("signature %x, %v", sig, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if shown := fmt.Sprintf(verb, signer); strings.Contains(shown, fmt.Sprintf("%x", key.Reveal())) || strings.Contains(shown, string(key.Reveal())) {
			t.Errorf("%s shows the key", verb)
		}
	}
}
