package identity

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
)

const (
	networkPrefix = "myc"
	keyPrefix     = "mycpub"
)

// NetworkID names a network: the first 16 bytes of the SHA-256 of its first
// root key. Finding another key with the same id takes 2^128 attempts, as does
// breaking the key itself.
type NetworkID [16]byte

// NetworkOf returns the id of the network whose first root key is root.
func NetworkOf(root PublicKey) NetworkID {
	h := sha256.New()
	h.Write([]byte("digital-mycelium network v1\x00"))
	h.Write(root[:])
	return NetworkID(h.Sum(nil)[:len(NetworkID{})])
}

// ParseNetworkID reads what String wrote. Hyphens and blanks do not count; a
// mistyped character is an error (ErrMalformed).
func ParseNetworkID(s string) (NetworkID, error) {
	b, err := bech32Decode(networkPrefix, strings.NewReplacer("-", "", " ", "").Replace(strings.TrimSpace(s)), 36)
	if err == nil && len(b) != len(NetworkID{}) {
		err = fmt.Errorf("%w: %d bytes, want %d", ErrMalformed, len(b), len(NetworkID{}))
	}
	if err != nil {
		return NetworkID{}, fmt.Errorf("network id %.60q: %w", s, err)
	}
	return NetworkID(b), nil
}

// String returns the id with a checksum in groups of four characters, 44 in
// all, for reading aloud and comparing: myc1-xxxx-...
func (n NetworkID) String() string {
	s := bech32Encode(networkPrefix, n[:])
	var groups []string
	for ; len(s) > 4; s = s[4:] {
		groups = append(groups, s[:4])
	}
	return strings.Join(append(groups, s), "-")
}

// MarshalText implements encoding.TextMarshaler with String.
func (n NetworkID) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with ParseNetworkID.
func (n *NetworkID) UnmarshalText(text []byte) (err error) {
	*n, err = ParseNetworkID(string(text))
	return err
}

// PublicKey is an Ed25519 public key (RFC 8032). It is also the name by which a
// root, an issuer, a node or an operator is known.
type PublicKey [ed25519.PublicKeySize]byte

// ParsePublicKey reads what String wrote.
func ParsePublicKey(s string) (PublicKey, error) {
	b, err := bech32Decode(keyPrefix, s, 65)
	if err == nil && len(b) != len(PublicKey{}) {
		err = fmt.Errorf("%w: %d bytes, want %d", ErrMalformed, len(b), len(PublicKey{}))
	}
	if err != nil {
		return PublicKey{}, fmt.Errorf("public key %.80q: %w", s, err)
	}
	return PublicKey(b), nil
}

// String returns the key with a checksum, 65 characters: mycpub1...
func (k PublicKey) String() string { return bech32Encode(keyPrefix, k[:]) }

// MarshalText implements encoding.TextMarshaler with String.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with ParsePublicKey.
func (k *PublicKey) UnmarshalText(text []byte) (err error) {
	*k, err = ParsePublicKey(string(text))
	return err
}

// PrivateKey is an Ed25519 private key. It shows as "(secret)"; WriteKey is the
// way to keep it. The zero value is no key.
type PrivateKey struct{ secret }

// GenerateKey makes a new key.
func GenerateKey() PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails: documented since Go 1.24
	return PrivateKey{newSecret(string(seed))}
}

// KeyFromSeed returns the key of a seed that Reveal gave (ErrMalformed).
func KeyFromSeed(seed []byte) (PrivateKey, error) {
	if len(seed) != ed25519.SeedSize {
		return PrivateKey{}, fmt.Errorf("private key: %w: a seed of %d bytes, want %d", ErrMalformed, len(seed), ed25519.SeedSize)
	}
	return PrivateKey{newSecret(string(seed))}, nil
}

// Reveal returns the key's seed (RFC 8032, 5.1.5), nil for a zero key. It serves
// to hand an issuer's key over to the machine that is to be the issuer, inside
// an authenticated connection, and for nothing else: these bytes show when they
// are formatted.
func (k PrivateKey) Reveal() []byte {
	if k.IsZero() {
		return nil
	}
	return []byte(k.reveal())
}

// Public returns the public key, the zero PublicKey of a zero key.
func (k PrivateKey) Public() PublicKey {
	if k.IsZero() {
		return PublicKey{}
	}
	return PublicKey(k.ed25519().Public().(ed25519.PublicKey))
}

func (k PrivateKey) ed25519() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(k.reveal()))
}

// Signer returns the key for formats that this package does not define, such as
// TUF metadata. Nobody who only holds it can get at the key's bytes by
// formatting it. It must not be used on a zero key.
func (k PrivateKey) Signer() crypto.Signer { return signer{k} }

type signer struct{ key PrivateKey }

// Public implements crypto.Signer with an ed25519.PublicKey.
func (s signer) Public() crypto.PublicKey { return s.key.ed25519().Public() }

// Sign implements crypto.Signer: Ed25519 signs the message itself.
func (s signer) Sign(rand io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key.ed25519().Sign(rand, message, opts)
}
