package identity

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	maxRotations = 32      // statements from the first root key to the present one
	maxRevoked   = 4096    // keys, and again serial numbers, in one revocation list
	maxTime      = 1 << 33 // seconds since 1970: the year 2242

	// MaxInviteLifetime bounds the time for which an invite can be used.
	MaxInviteLifetime = 7 * 24 * time.Hour
	// MaxInviteUses bounds the members that one invite can bring.
	MaxInviteUses = 1000
)

// Rotation is the old root key's statement that a new one succeeds it. The
// network keeps its id. Both keys may sign until OverlapUntil, then the new one
// alone.
type Rotation struct {
	_            struct{} `cbor:",toarray"`
	Network      NetworkID
	Number       uint64 // 1 for the first rotation of a network, then one more each time
	Old, New     PublicKey
	Issued       time.Time
	OverlapUntil time.Time
}

// Delegation is a root key's statement of what an online issuer may certify.
type Delegation struct {
	_       struct{} `cbor:",toarray"`
	Network NetworkID
	Root    PublicKey // signs
	Issuer  PublicKey
	Caps    Caps // the most that a certificate may allow
	// MaxValidity is the longest time from a certificate's NotBefore to its NotAfter.
	MaxValidity time.Duration
	// FirstSerial and Count are the quota: the serial numbers of the issuer's
	// certificates are FirstSerial to FirstSerial+Count-1, one for each certificate.
	FirstSerial, Count  uint64
	NotBefore, NotAfter time.Time // certificates lie within, too
}

// Certificate binds a node's or an operator's keys to what it may do.
type Certificate struct {
	_       struct{} `cbor:",toarray"`
	Network NetworkID
	Issuer  PublicKey // signs
	Serial  uint64
	Key     PublicKey
	Mesh    [32]byte // Curve25519 public key for WireGuard; zero for operators
	// Name is for people: 1 to 63 of a-z, 0-9 and "-". It is chosen by the
	// applicant and no authority rests on it; Key says who a member is.
	Name                string
	Caps                Caps
	NotBefore, NotAfter time.Time
}

// Revocation is a list of what its signer takes back. A root key's list names
// keys of issuers and members; an issuer's list is about its own certificates,
// by key or by serial number. A list replaces the signer's earlier ones whole.
type Revocation struct {
	_       struct{} `cbor:",toarray"`
	Network NetworkID
	Signer  PublicKey
	Version uint64 // from 1; only a higher one replaces a list
	Issued  time.Time
	Keys    []PublicKey // in ascending order
	Serials []uint64    // in ascending order; none in a root key's list
	// Delegation is the signer's encoded Delegation, empty when it is a root key.
	Delegation []byte
}

// Invite is what a Token says. It entitles its holder to show the issuer a
// Request; the issuer's ledger counts its uses.
type Invite struct {
	_       struct{} `cbor:",toarray"`
	Network NetworkID
	Issuer  PublicKey // signs, and is the key that the issuer's TLS server shows
	ID      uint64    // random
	Issued  time.Time
	Expires time.Time
	Uses    uint16
	Caps    Caps // what the newcomer will be allowed
	// Anchor is NetworkOf the root key at the time of issue. A newcomer accepts no
	// chain of rotations without it, so that a root key which was stolen and
	// replaced cannot lead newcomers astray.
	Anchor NetworkID
}

// Request asks an issuer for a certificate for Key, which signs it.
type Request struct {
	_       struct{} `cbor:",toarray"`
	Network NetworkID
	Key     PublicKey
	Mesh    [32]byte // as in Certificate
	Name    string   // as in Certificate
	// Invite is the encoded Invite of a newcomer, empty for a member's renewal.
	Invite bearer
}

// bearer is an encoded invite: whoever has it can use it, so it does not show.
type bearer []byte

func (bearer) String() string               { return redacted }
func (bearer) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redacted)) }
func (bearer) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (bearer) MarshalYAML() (any, error)    { return redacted, nil }
func (bearer) LogValue() slog.Value         { return slog.StringValue(redacted) }

func (*Rotation) kind() kind             { return kindRotation }
func (*Delegation) kind() kind           { return kindDelegation }
func (*Certificate) kind() kind          { return kindCertificate }
func (*Revocation) kind() kind           { return kindRevocation }
func (*Invite) kind() kind               { return kindInvite }
func (*Request) kind() kind              { return kindRequest }
func (r *Rotation) signer() PublicKey    { return r.Old }
func (d *Delegation) signer() PublicKey  { return d.Root }
func (c *Certificate) signer() PublicKey { return c.Issuer }
func (r *Revocation) signer() PublicKey  { return r.Signer }
func (i *Invite) signer() PublicKey      { return i.Issuer }
func (r *Request) signer() PublicKey     { return r.Key }

func (r *Rotation) check() error {
	switch {
	case r.Number < 1 || r.Number > maxRotations:
		return fmt.Errorf("rotation %d, want 1 to %d: found a new network instead", r.Number, maxRotations)
	case r.New == PublicKey{} || r.New == r.Old:
		return errors.New("the new root key is missing or the old one")
	}
	return checkPeriod(r.Issued, r.OverlapUntil)
}

func (d *Delegation) check() error {
	switch {
	case d.Issuer == PublicKey{}, d.Issuer == d.Root:
		return errors.New("the issuer's key is missing or the root key: the root key stays offline, give the issuer its own")
	case d.MaxValidity < time.Second:
		return fmt.Errorf("maximum validity %v, want at least 1s", d.MaxValidity)
	case d.FirstSerial < 1 || d.Count < 1 || d.FirstSerial+d.Count < d.FirstSerial:
		return fmt.Errorf("serial numbers from %d, %d of them", d.FirstSerial, d.Count)
	}
	return errors.Join(d.Caps.check(), checkPeriod(d.NotBefore, d.NotAfter))
}

func (c *Certificate) check() error {
	switch {
	case c.Serial < 1:
		return errors.New("serial number 0")
	case c.Key == PublicKey{}:
		return errors.New("the key is missing")
	case c.Caps.Node != NoNode && c.Mesh == [32]byte{}:
		return errors.New("a node's mesh key is missing")
	}
	return errors.Join(c.Caps.check(), checkName(c.Name), checkPeriod(c.NotBefore, c.NotAfter))
}

func (r *Revocation) check() error {
	switch {
	case r.Version < 1:
		return errors.New("version 0")
	case len(r.Keys) > maxRevoked || len(r.Serials) > maxRevoked:
		return fmt.Errorf("%d keys and %d serial numbers, at most %d of each: drop those that have expired", len(r.Keys), len(r.Serials), maxRevoked)
	case len(r.Serials) > 0 && len(r.Delegation) == 0:
		return errors.New("a root key revokes by key: only an issuer's list has serial numbers")
	case len(r.Delegation) > maxDelegation:
		return fmt.Errorf("delegation of %d bytes, at most %d are allowed", len(r.Delegation), maxDelegation)
	case !ascending(r.Keys, comparePublicKeys) || !ascending(r.Serials, cmp.Compare[uint64]):
		return errors.New("keys or serial numbers are not in ascending order")
	}
	return checkTime(r.Issued)
}

func (i *Invite) check() error {
	switch {
	case i.Uses < 1 || i.Uses > MaxInviteUses:
		return fmt.Errorf("%d uses, want 1 to %d", i.Uses, MaxInviteUses)
	case i.Expires.Sub(i.Issued) > MaxInviteLifetime:
		return fmt.Errorf("usable for %v, at most %v are allowed", i.Expires.Sub(i.Issued), MaxInviteLifetime)
	}
	return errors.Join(i.Caps.check(), checkPeriod(i.Issued, i.Expires))
}

func (r *Request) check() error {
	if len(r.Invite) > maxInvite {
		return fmt.Errorf("invite of %d bytes, at most %d are allowed", len(r.Invite), maxInvite)
	}
	return checkName(r.Name)
}

func checkTime(t time.Time) error {
	if s := t.Unix(); s < 1 || s >= maxTime {
		return fmt.Errorf("time %s, want one between 1970 and 2242", t.UTC().Format(time.RFC3339))
	}
	return nil
}

func checkPeriod(from, until time.Time) error {
	if err := errors.Join(checkTime(from), checkTime(until)); err != nil {
		return err
	}
	if until.Unix() <= from.Unix() {
		return fmt.Errorf("it ends at %s, before it begins", until.UTC().Format(time.RFC3339))
	}
	return nil
}

func checkName(s string) error {
	if len(s) < 1 || len(s) > 63 {
		return fmt.Errorf("name of %d characters, want 1 to 63", len(s))
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("name %q: only a-z, 0-9 and \"-\" are allowed", s)
		}
	}
	return nil
}

func comparePublicKeys(a, b PublicKey) int { return bytes.Compare(a[:], b[:]) }

func ascending[T any](s []T, compare func(a, b T) int) bool {
	for i := 1; i < len(s); i++ {
		if compare(s[i-1], s[i]) >= 0 {
			return false
		}
	}
	return true
}
