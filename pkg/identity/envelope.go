package identity

import (
	"bytes"
	"crypto/ed25519"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Object is a statement that a key of a network signs.
type Object interface {
	Rotation | Delegation | Certificate | Revocation | Invite | Request | Announcement | OSFile
}

// body is what each Object does, on its pointer.
type body interface {
	kind() kind
	signer() PublicKey // the key that must have signed
	check() error      // whether the fields make sense by themselves
}

// kind is the type of a signed statement, on the wire and in its signature.
type kind uint8

const (
	kindRotation kind = iota + 1
	kindDelegation
	kindCertificate
	kindRevocation
	kindInvite
	kindRequest
	kindAnnouncement
	kindOSFile
)

// The largest encodings, in bytes. Longer input is refused unread.
const (
	maxCertificate  = 400
	maxInvite       = 256
	maxDelegation   = 320
	maxCredential   = 8 << 10
	maxAnnouncement = 512
	maxOSFile       = 384
)

// kinds gives each kind its name and the size of its largest encoding in bytes.
var kinds = map[kind]struct {
	name string
	max  int
}{
	kindRotation:     {"root rotation", 256},
	kindDelegation:   {"delegation", maxDelegation},
	kindCertificate:  {"certificate", maxCertificate},
	kindRevocation:   {"revocation list", 192 << 10},
	kindInvite:       {"invite", maxInvite},
	kindRequest:      {"request", 640},
	kindAnnouncement: {"announcement", maxAnnouncement},
	kindOSFile:       {"OS file", maxOSFile},
}

func (k kind) String() string { return kinds[k].name }

// options separates the signatures of one kind from those of every other, and
// from those of TLS: Ed25519ctx with the kind's name as context (RFC 8032, 5.1).
func (k kind) options() *ed25519.Options {
	return &ed25519.Options{Context: "digital-mycelium identity v1 " + k.String()}
}

// envelope is how every signed statement is encoded.
type envelope struct {
	_         struct{} `cbor:",toarray"`
	Kind      kind
	Payload   []byte // the Object, encoded
	Signature [ed25519.SignatureSize]byte
}

// The one canonical encoding: CBOR, core deterministic (RFC 8949, 4.2), times
// in seconds since 1970, structures as arrays without room for unknown fields.
var (
	encoding = must(func() (cbor.EncMode, error) {
		o := cbor.CoreDetEncOptions()
		o.Time = cbor.TimeUnix
		o.NilContainers = cbor.NilContainerAsEmpty
		o.TagsMd = cbor.TagsForbidden
		return o.EncMode()
	}())
	decoding = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   8,
		MaxArrayElements:  8192,
		MaxMapPairs:       16,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // constant options: cannot fail in a build that passed its tests
	}
	return v
}

// decode reads data, which must be exactly what encoding gives for the result.
func decode(data []byte, maxBytes int, into any) error {
	if len(data) > maxBytes {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrMalformed, len(data), maxBytes)
	}
	if err := decoding.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %v", ErrMalformed, err) //nolint:errorlint // the codec's errors are no part of the API
	}
	again, err := encoding.Marshal(into)
	if err != nil || !bytes.Equal(data, again) {
		return fmt.Errorf("%w: not in canonical encoding", ErrMalformed)
	}
	return nil
}

// Sign returns obj, encoded and signed by key, which must be the one that obj
// names as its signer. Times are cut to seconds. It refuses what Parse would
// refuse (ErrMalformed, ErrSignature).
func Sign[T Object](key PrivateKey, obj T) ([]byte, error) {
	b := any(&obj).(body)
	k := b.kind()
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("sign the %s: %w: %w", k, ErrMalformed, err)
	}
	if key.IsZero() || key.Public() != b.signer() {
		return nil, fmt.Errorf("sign the %s: %w: it must be signed by %s, not by the key at hand", k, ErrSignature, b.signer())
	}
	payload, err := encoding.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode the %s: %w", k, err)
	}
	sig, err := key.ed25519().Sign(nil, payload, k.options())
	if err != nil {
		return nil, fmt.Errorf("sign the %s: %w", k, err)
	}
	data, err := encoding.Marshal(envelope{Kind: k, Payload: payload, Signature: [ed25519.SignatureSize]byte(sig)})
	if err != nil {
		return nil, fmt.Errorf("encode the %s: %w", k, err)
	}
	if len(data) > kinds[k].max {
		return nil, fmt.Errorf("sign the %s: %w: %d bytes, at most %d are allowed: shorten it", k, ErrMalformed, len(data), kinds[k].max)
	}
	return data, nil
}

// Parse reads a statement of type T and verifies that the key which it names
// as its signer has signed it (ErrMalformed, ErrSignature). Whether that key had
// the authority to is for Verifier, Store and Issuer to say.
func Parse[T Object](data []byte) (*T, error) {
	obj := new(T)
	b := any(obj).(body)
	k := b.kind()
	var e envelope
	if err := decode(data, kinds[k].max, &e); err != nil {
		return nil, fmt.Errorf("read the %s: %w", k, err)
	}
	if e.Kind != k {
		return nil, fmt.Errorf("read the %s: %w: it is of kind %d (%s)", k, ErrMalformed, uint8(e.Kind), e.Kind)
	}
	if err := decode(e.Payload, len(data), b); err != nil {
		return nil, fmt.Errorf("read the %s: %w", k, err)
	}
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("read the %s: %w: %w", k, ErrMalformed, err)
	}
	signer := b.signer()
	if ed25519.VerifyWithOptions(signer[:], e.Payload, e.Signature[:], k.options()) != nil {
		return nil, fmt.Errorf("read the %s: %w: %s has not signed these bytes: get it again from its source", k, ErrSignature, signer)
	}
	return obj, nil
}
