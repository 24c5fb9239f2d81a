package identity

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Issuer certifies newcomers and members within a Delegation. Its ledger, a
// file, counts serial numbers and uses of invites; what it counts is on disk
// before it takes effect. It is safe for concurrent use; one process at a time
// may use the file.
type Issuer struct {
	path     string
	key      PrivateKey
	verifier *Verifier

	mu  sync.Mutex
	del *Delegation
	led ledger
}

// CreateIssuer starts an Issuer with key, whose ledger is the new file path.
func CreateIssuer(path string, key PrivateKey, delegation []byte, v *Verifier) (*Issuer, error) {
	del, err := v.checkDelegation(delegation)
	if err != nil {
		return nil, err
	}
	i := &Issuer{path: path, key: key, verifier: v, del: del, led: ledger{Delegation: delegation, Next: del.FirstSerial}}
	if err := i.checkKey(); err != nil {
		return nil, err
	}
	if err := createState(path, ledgerName, i.led); err != nil {
		return nil, err
	}
	return i, nil
}

// OpenIssuer goes on with the ledger path, which must exist (fs.ErrNotExist) and
// be whole (ErrState): without it, spent invites could be used again.
func OpenIssuer(path string, key PrivateKey, v *Verifier) (*Issuer, error) {
	i := &Issuer{path: path, key: key, verifier: v}
	if err := readState(path, ledgerName, &i.led); err != nil {
		return nil, err
	}
	del, err := Parse[Delegation](i.led.Delegation)
	if err == nil {
		err = i.led.check(del)
	}
	if err != nil {
		return nil, fmt.Errorf("read the %s %s: %w: %w", ledgerName, path, ErrState, err)
	}
	if del.Network != v.network {
		return nil, wrongNetwork("the "+ledgerName+" "+path, del.Network, v.network)
	}
	i.del = del
	return i, i.checkKey()
}

func (i *Issuer) checkKey() error {
	if i.key.Public() != i.del.Issuer {
		return fmt.Errorf("%w: the delegation is for issuer %s, not for the key at hand", ErrSignature, i.del.Issuer)
	}
	return nil
}

// SetDelegation continues under a new delegation, whose serial numbers must not
// have been used (ErrDelegation).
func (i *Issuer) SetDelegation(delegation []byte) error {
	del, err := i.verifier.checkDelegation(delegation)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if del.Issuer != i.del.Issuer {
		return fmt.Errorf("%w: the delegation is for issuer %s, this is %s", ErrSignature, del.Issuer, i.del.Issuer)
	}
	last := del.FirstSerial + del.Count - 1
	if last < i.led.Next {
		return fmt.Errorf("%w: serial numbers %d to %d are used, the next is %d: give the issuer later ones", ErrDelegation, del.FirstSerial, last, i.led.Next)
	}
	led := i.led
	led.Delegation, led.Next = bytes.Clone(delegation), max(led.Next, del.FirstSerial)
	if err := i.save(led); err != nil {
		return err
	}
	i.del = del
	return nil
}

// Issue grants an encoded request without an invite, with caps: whoever calls it
// has decided that the key's holder may join. It serves for a network's first
// members, for operators, and for the issuer's own TLS certificate.
func (i *Issuer) Issue(request []byte, caps Caps) ([]byte, error) {
	r, err := i.parseRequest(request)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.certify(r, caps, -1)
}

// Certify is Issue without a request: for a person's key, which the caller got
// from a hand that it trusts. caps must name no node role, because a node's mesh
// key comes with its request.
func (i *Issuer) Certify(key PublicKey, name string, caps Caps) ([]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.certify(&Request{Network: i.del.Network, Key: key, Name: name}, caps, -1)
}

// Renew gives the member at the other end of a connection, who must be in good
// standing, a new certificate with the same key and caps; name and mesh key may
// change. A member whose certificate has expired must be invited again.
func (i *Issuer) Renew(peer tls.ConnectionState, request []byte) ([]byte, error) {
	c, err := i.verifier.Authorize(peer, NoAPI)
	if err != nil {
		return nil, err
	}
	r, err := i.parseRequest(request)
	if err != nil {
		return nil, err
	}
	if r.Key != c.Key {
		return nil, fmt.Errorf("renew certificate %d of %s: %w: the request is by another key", c.Serial, c.Name, ErrSignature)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.certify(r, c.Caps, -1)
}

func (i *Issuer) parseRequest(data []byte) (*Request, error) {
	r, err := Parse[Request](data)
	if err != nil {
		return nil, err
	}
	if r.Network != i.verifier.network {
		return nil, wrongNetwork("the request of "+r.Name, r.Network, i.verifier.network)
	}
	return r, nil
}

// certify makes the next certificate, on the invite at the ledger's index at
// unless that is negative. The caller holds i.mu.
func (i *Issuer) certify(r *Request, caps Caps, at int) ([]byte, error) {
	if i.left() == 0 {
		return nil, fmt.Errorf("certify %s: %w: this issuer's %d certificates are used up: get a new delegation", r.Name, ErrDelegation, i.del.Count)
	}
	now := i.verifier.clock.Now().UTC().Truncate(time.Second)
	c := Certificate{
		Network: i.del.Network, Issuer: i.del.Issuer, Serial: i.led.Next, Key: r.Key, Mesh: r.Mesh, Name: r.Name, Caps: caps,
		NotBefore: later(now, i.del.NotBefore), NotAfter: now.Add(i.del.MaxValidity),
	}
	if c.NotAfter.After(i.del.NotAfter) {
		c.NotAfter = i.del.NotAfter
	}
	data, err := Sign(i.key, c)
	if err != nil {
		return nil, fmt.Errorf("certify %s: %w", r.Name, err)
	}
	cred, err := i.verifier.NewCredential(i.led.Delegation, data)
	if err != nil {
		return nil, fmt.Errorf("certify %s: %w", r.Name, err)
	}
	led := i.led
	led.Next++
	if at >= 0 {
		led.Invites = slices.Clone(led.Invites)
		use := &led.Invites[at]
		use.Admitted = append(slices.Clip(use.Admitted), admission{Key: r.Key, Certificate: data})
	}
	if err := i.save(led); err != nil {
		return nil, err // the certificate goes nowhere
	}
	return cred, nil
}

// Revoke takes certificates of this issuer back, by key and by serial number, in
// addition to those taken back before, and returns the new revocation list for
// handing on. It is in force here at once.
func (i *Issuer) Revoke(keys []PublicKey, serials []uint64) ([]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	r := Revocation{
		Network: i.del.Network, Signer: i.del.Issuer, Version: 1,
		Issued: i.verifier.clock.Now().UTC().Truncate(time.Second), Delegation: i.led.Delegation,
	}
	if old := i.verifier.list(i.del.Issuer); old != nil {
		r.Version = old.Version + 1
		keys, serials = append(keys[:len(keys):len(keys)], old.Keys...), append(serials[:len(serials):len(serials)], old.Serials...)
	}
	r.Keys = slices.Compact(slices.SortedFunc(slices.Values(keys), comparePublicKeys))
	r.Serials = slices.Compact(slices.Sorted(slices.Values(serials)))
	data, err := Sign(i.key, r)
	if err != nil {
		return nil, err
	}
	return data, i.verifier.AddRevocation(data)
}

// Delegation returns what the issuer may certify at present.
func (i *Issuer) Delegation() Delegation {
	i.mu.Lock()
	defer i.mu.Unlock()
	return *i.del
}

// Left returns how many certificates the quota still allows.
func (i *Issuer) Left() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.left()
}

// left is Left for a caller that holds i.mu.
func (i *Issuer) left() uint64 {
	return i.del.FirstSerial + i.del.Count - i.led.Next
}

// save writes led, then makes it so.
func (i *Issuer) save(led ledger) error {
	if err := writeState(i.path, ledgerName, led); err != nil {
		return err
	}
	i.led = led
	return nil
}
