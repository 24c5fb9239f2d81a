package identity

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Verifier is the one judge of who belongs to a network. It remembers root
// rotations and revocation lists in a file and never goes back behind them. It
// is safe for concurrent use; one process at a time may use the file.
type Verifier struct {
	path    string
	clock   *Clock
	network NetworkID
	anchor  NetworkID

	mu        sync.Mutex
	rotations []rotation         // from the first root key
	lists     map[PublicKey]list // by listKey

	known parsed
}

// CreateVerifier starts a Verifier for a network in the new file path. anchor is
// Invite.Anchor, or the zero NetworkID when the network was never rotated.
func CreateVerifier(path string, network, anchor NetworkID, clock *Clock) (*Verifier, error) {
	if anchor == (NetworkID{}) {
		anchor = network
	}
	v := &Verifier{path: path, clock: clock, network: network, anchor: anchor, lists: map[PublicKey]list{}}
	if err := createState(path, storeName, storeState{Network: network, Anchor: anchor}); err != nil {
		return nil, err
	}
	return v, nil
}

// OpenVerifier goes on with the file path, which must exist (fs.ErrNotExist) and
// be whole (ErrState).
func OpenVerifier(path string, clock *Clock) (*Verifier, error) {
	var st storeState
	if err := readState(path, storeName, &st); err != nil {
		return nil, err
	}
	v := &Verifier{path: path, clock: clock, lists: map[PublicKey]list{}}
	if err := v.load(st); err != nil {
		return nil, fmt.Errorf("read the %s %s: %w: %w", storeName, path, ErrState, err)
	}
	return v, nil
}

// Detached returns a Verifier that judges as v does and then goes its own way,
// without files: for a program that lets others use v's meanwhile.
func (v *Verifier) Detached() *Verifier {
	v.mu.Lock()
	defer v.mu.Unlock()
	return &Verifier{
		clock: v.clock.detached(), network: v.network, anchor: v.anchor,
		rotations: slices.Clone(v.rotations), lists: maps.Clone(v.lists),
	}
}

// Network returns the network's id.
func (v *Verifier) Network() NetworkID { return v.network }

// NewCredential joins a delegation and a certificate to the credential that the
// certificate's holder shows. It refuses one that does not verify here.
func (v *Verifier) NewCredential(delegation, certificate []byte) ([]byte, error) {
	c := credential{Delegation: delegation, Certificate: certificate}
	v.mu.Lock()
	for _, r := range v.rotations {
		c.Rotations = append(c.Rotations, r.raw)
	}
	v.mu.Unlock()
	data, err := encoding.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode the credential: %w", err)
	}
	if _, err := v.Verify(data); err != nil {
		return nil, err
	}
	return data, nil
}

// Verify returns the certificate of a credential if it is of this network, its
// issuer had the authority to make it, and it is valid now and not revoked.
// Errors: any of ErrMalformed to ErrRevoked, and ErrRollback for a credential
// whose root rotations contradict those known here. Rotations that go beyond
// those known here are remembered.
func (v *Verifier) Verify(credential []byte) (*Certificate, error) {
	cert, standing, err := v.judge(credential)
	if err = errors.Join(err, standing); err != nil {
		return nil, err
	}
	return cert, nil
}

// judge keeps apart whether a credential is authentic (err) and whether its
// holder is in good standing now (standing: expired, not yet valid, revoked).
func (v *Verifier) judge(credential []byte) (cert *Certificate, standing, err error) {
	p, standing, err := v.examine(credential)
	if err != nil {
		return nil, nil, err
	}
	return p.cert, standing, nil
}

// examine is judge with the credential's parts. The signatures of a credential
// that was authentic once are not verified again: members show theirs with every
// call.
func (v *Verifier) examine(credential []byte) (p *parts, standing, err error) {
	id := sha256.Sum256(credential)
	p = v.known.get(id)
	if p == nil {
		if p, err = parseCredential(credential); err != nil {
			return nil, nil, err
		}
	}
	if standing, err = v.judgeParts(p); err != nil {
		return nil, nil, err
	}
	v.known.put(id, p)
	return p, standing, nil
}

// parsed remembers credentials whose signatures are good, by their hash.
type parsed struct {
	mu sync.Mutex
	by map[[sha256.Size]byte]*parts
}

// maxParsed bounds the credentials that are remembered, at some 2 KiB each.
const maxParsed = 512

func (k *parsed) get(id [sha256.Size]byte) *parts {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.by[id]
}

func (k *parsed) put(id [sha256.Size]byte, p *parts) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.by == nil || len(k.by) >= maxParsed && k.by[id] == nil {
		k.by = map[[sha256.Size]byte]*parts{}
	}
	k.by[id] = p
}

// judgeParts is judge for a credential that is parsed.
func (v *Verifier) judgeParts(p *parts) (standing, err error) {
	if p.cert.Network != v.network {
		return nil, wrongNetwork("the credential of "+p.cert.Name, p.cert.Network, v.network)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	chain, err := v.extend(p.rotations)
	if err != nil {
		return nil, err
	}
	if err := p.checkLimits(); err != nil {
		return nil, err
	}
	now := v.timeFor(p.cert.NotBefore)
	if _, err := v.rootIndex(chain, p.del.Root, now); err != nil {
		return nil, err
	}
	if err := v.checkRevoked(p.cert); err != nil {
		return err, nil
	}
	subject := fmt.Sprintf("certificate %d of %s", p.cert.Serial, p.cert.Name)
	if err := checkValidity(subject, p.cert.NotBefore, p.cert.NotAfter, now); err != nil {
		return err, nil
	}
	if len(chain) > len(v.rotations) {
		if err := v.save(chain, v.lists); err != nil {
			return nil, err
		}
	}
	// A full disk must not lock the operator out who could mend it: the floor is
	// raised in memory, and the next signed time tries the disk again.
	_ = v.clock.Observe(p.cert.NotBefore)
	return nil, nil
}

// timeFor returns the time at which to judge a statement that was signed at t.
// A machine without a usable clock takes an authentic statement's word for it;
// the caller has verified, or verifies next, that the statement is authentic.
func (v *Verifier) timeFor(t time.Time) time.Time {
	now, behind := v.clock.read()
	if behind {
		return later(now, t)
	}
	return now
}

func checkValidity(subject string, from, until, now time.Time) error {
	if now.Add(Skew).Before(from) {
		return fmt.Errorf("%w: %s begins at %s, the clock here shows %s: check both machines' clocks", ErrNotYetValid, subject, utc(from), utc(now))
	}
	if !now.Before(until) {
		return fmt.Errorf("%w: %s ended at %s, the clock here shows %s: have it renewed, or check the clock", ErrExpired, subject, utc(until), utc(now))
	}
	return nil
}

// checkDelegation parses a delegation and verifies that a root key of this
// network gave it and that it is valid now.
func (v *Verifier) checkDelegation(data []byte) (*Delegation, error) {
	d, err := Parse[Delegation](data)
	if err != nil {
		return nil, err
	}
	if d.Network != v.network {
		return nil, wrongNetwork("the delegation", d.Network, v.network)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.timeFor(d.NotBefore)
	if _, err := v.rootIndex(v.rotations, d.Root, now); err != nil {
		return nil, err
	}
	return d, checkValidity("the delegation of issuer "+d.Issuer.String(), d.NotBefore, d.NotAfter, now)
}

// AddRotation remembers that the network has a new root key. A statement that
// is known already changes nothing; one that contradicts a known one is refused
// (ErrRollback), as is one that does not follow the last (ErrUntrustedRoot).
func (v *Verifier) AddRotation(statement []byte) error {
	rs, err := parseRotations([][]byte{bytes.Clone(statement)})
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	known := min(len(v.rotations), int(rs[0].Number)-1)
	chain, err := v.extend(append(append([]rotation{}, v.rotations[:known]...), rs[0]))
	if err != nil || len(chain) == len(v.rotations) {
		return err
	}
	return v.save(chain, v.lists)
}

// AddRevocation takes over a revocation list. A list that is known already
// changes nothing; an older one, or another one of the same version, is refused
// (ErrRollback). Connections that are open are not touched: see Authorize.
func (v *Verifier) AddRevocation(statement []byte) error {
	r, err := Parse[Revocation](statement)
	if err != nil {
		return err
	}
	if r.Network != v.network {
		return wrongNetwork("the revocation list", r.Network, v.network)
	}
	if len(r.Delegation) > 0 {
		d, err := v.checkDelegation(r.Delegation)
		if err != nil {
			return fmt.Errorf("revocation list %d: %w", r.Version, err)
		}
		if d.Issuer != r.Signer {
			return fmt.Errorf("revocation list %d: %w: its delegation is for %s, its signer is %s", r.Version, ErrSignature, d.Issuer, r.Signer)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.timeFor(r.Issued)
	if now.Add(Skew).Before(r.Issued) {
		return fmt.Errorf("%w: revocation list %d is of %s, the clock here shows %s: check both machines' clocks", ErrNotYetValid, r.Version, utc(r.Issued), utc(now))
	}
	known, ok := v.lists[listKey(r)]
	if ok && bytes.Equal(known.raw, statement) {
		return nil
	}
	root, knownRoot := 0, 0
	if len(r.Delegation) == 0 {
		if root, err = v.rootIndex(v.rotations, r.Signer, now); err != nil {
			return fmt.Errorf("revocation list %d: %w", r.Version, err)
		}
		if ok { // its authority was verified when it came; only its place is asked for
			knownRoot, _ = v.rootIndex(v.rotations, known.Signer, time.Time{})
		}
	}
	if ok {
		if err := newer(r, root, known, knownRoot); err != nil {
			return err
		}
	} else if len(v.lists) >= maxLists {
		return fmt.Errorf("%w: %d issuers' revocation lists are known, no more are kept: use fewer issuers", ErrDelegation, len(v.lists))
	}
	lists := maps.Clone(v.lists)
	lists[listKey(r)] = list{r, bytes.Clone(statement)}
	if err := v.save(v.rotations, lists); err != nil {
		return err
	}
	return v.clock.Observe(r.Issued)
}

// Statements returns the root rotations and the revocation lists in force,
// encoded, for handing them on to other members.
func (v *Verifier) Statements() (rotations, revocations [][]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.rotations {
		rotations = append(rotations, r.raw)
	}
	for _, l := range v.lists {
		revocations = append(revocations, l.raw)
	}
	return rotations, revocations
}
