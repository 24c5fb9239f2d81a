package networks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/identity"
)

// ErrNoIssuer: this access was handed over, and only its giver can certify.
var ErrNoIssuer = errors.New("no issuer here")

// Network is one of the operator's networks, open. It is not safe for concurrent
// use. The caller must close it; until then no other program can use it.
type Network struct {
	Name     string
	Dir      string
	Verifier *identity.Verifier
	// Issuer is nil for access that another operator has handed over.
	Issuer *identity.Issuer

	lock       *os.File
	clock      *identity.Clock
	operator   identity.PrivateKey
	credential []byte
	delegation *identity.Delegation
	cert       *identity.Certificate
	servers    *identity.Delegation // of the servers' issuer, nil without one
	nodes      []Node
}

// Open takes up the network name (ErrNotFound). It waits for another program
// that uses it.
func (s *Store) Open(ctx context.Context, name string) (*Network, error) {
	dir, err := s.Find(name)
	if err != nil {
		return nil, err
	}
	f, err := lock(ctx, filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) { // deleted meanwhile
		err = fmt.Errorf("%w: %q in %s", ErrNotFound, name, s.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open the network %q: %w", name, err)
	}
	n := &Network{Name: name, Dir: dir, lock: f}
	if err := n.load(s); err != nil {
		return nil, fmt.Errorf("open the network %q: %w", name, errors.Join(err, f.Close()))
	}
	return n, nil
}

// Close lets other programs use the network.
func (n *Network) Close() {
	_ = n.clock.Close() // a floor that cannot be written rises again with the next signed time
	n.lock.Close()
}

func (n *Network) path(file string) string { return filepath.Join(n.Dir, file) }

func (n *Network) load(s *Store) (err error) {
	if n.clock, err = identity.OpenClock(n.path(clockFile), s.Built, s.now); err != nil {
		return err
	}
	if n.Verifier, err = identity.OpenVerifier(n.path(trustFile), n.clock); err != nil {
		return err
	}
	left, err := filepath.Glob(n.path(granting + "*")) // by a power cut
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		return err
	}
	local, err := ReadIdentities(n.path(localFile))
	if err != nil {
		return err
	}
	if n.operator, err = identity.ReadKey(n.path(operatorFile), local...); err != nil {
		return err
	}
	if err := errors.Join(n.loadCredential(), n.loadServers(), n.loadNodes()); err != nil {
		return err
	}
	if _, err := os.Lstat(n.path(issuerFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	issuer, err := identity.ReadKey(n.path(issuerFile), local...)
	if err != nil {
		return err
	}
	if n.Issuer, err = identity.OpenIssuer(n.path(ledgerFile), issuer, n.Verifier); err != nil {
		return err
	}
	return n.finishRotation()
}

// ReadIdentities reads a file of age identities, as age-keygen writes them.
func ReadIdentities(path string) ([]age.Identity, error) {
	data, err := readSmall(path, 64<<10)
	if err != nil {
		return nil, fmt.Errorf("read the age identity: %w", err)
	}
	ids, err := age.ParseIdentities(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read the age identity %s: it is damaged or another file: restore it from a backup", path) // the parser's error quotes the line
	}
	return ids, nil
}

func (n *Network) loadCredential() error {
	data, err := readSmall(n.path(credFile), 64<<10)
	if err != nil {
		return fmt.Errorf("read the operator's credential: %w", err)
	}
	del, cert, err := identity.ParseCredential(data)
	if err != nil {
		return fmt.Errorf("%s: %w: restore it from a backup", n.path(credFile), err)
	}
	if cert.Key != n.operator.Public() {
		return fmt.Errorf("%s: %w: it is for another key than %s: restore both from the same backup", n.path(credFile), identity.ErrSignature, operatorFile)
	}
	n.credential, n.delegation, n.cert = data, del, cert
	return nil
}

// Certificate returns the operator's own certificate, which may have expired.
func (n *Network) Certificate() identity.Certificate { return *n.cert }

// Delegation returns that of the issuer here, else that of the operator's own certificate.
func (n *Network) Delegation() identity.Delegation {
	if n.Issuer != nil {
		return n.Issuer.Delegation()
	}
	return *n.delegation
}

// Renew makes the operator's own certificate anew when a third of its time or
// less is left, or it does not verify any more. Where there is no issuer it only
// says whether the certificate counts. renewed says whether there is a new one.
func (n *Network) Renew() (renewed bool, err error) {
	_, verr := n.Verifier.Verify(n.credential)
	fresh := n.cert.NotAfter.Sub(n.clock.Now()) > n.cert.NotAfter.Sub(n.cert.NotBefore)/3
	switch {
	case verr == nil && (fresh || n.Issuer == nil):
		return false, nil
	case n.Issuer == nil:
		return false, fmt.Errorf("your certificate in %q: %w: ask an admin of the network for a new one (mycelium network certificate)", n.Name, verr)
	case errors.Is(verr, identity.ErrRevoked):
		return false, fmt.Errorf("your certificate in %q: %w", n.Name, verr)
	}
	return true, n.renew()
}

func (n *Network) renew() error {
	cred, err := n.Certify(n.operator.Public(), n.cert.Name, n.cert.Caps.API)
	if err == nil {
		err = durable.WriteFile(n.path(credFile), cred, 0o600)
	}
	if err == nil {
		err = n.loadCredential()
	}
	if err != nil {
		return fmt.Errorf("renew your certificate in %q: %w", n.Name, err)
	}
	return nil
}

// TLS returns the operator's certificate for calling the network's nodes.
func (n *Network) TLS() (tls.Certificate, error) {
	return identity.TLSCertificate(n.operator, n.credential)
}

// Certify makes a certificate for a person's key and returns the credential.
func (n *Network) Certify(key identity.PublicKey, name string, role identity.APIRole) ([]byte, error) {
	if err := n.CanIssue(); err != nil {
		return nil, err
	}
	return n.Issuer.Certify(key, name, identity.Caps{API: role})
}

// Invite makes a token, as identity.Issuer.Invite does.
func (n *Network) Invite(role identity.NodeRole, uses int, valid time.Duration) (identity.Token, error) {
	if err := n.CanIssue(); err != nil {
		return identity.Token{}, err
	}
	return n.Issuer.Invite(identity.Caps{Node: role}, uses, valid)
}

// CanIssue says whether the issuer can certify now: ErrNoIssuer, ErrExpired,
// ErrRetiredRoot, or ErrDelegation when its quota is used up.
func (n *Network) CanIssue() error {
	if n.Issuer == nil {
		return fmt.Errorf("%w: access to %q was handed to you: ask an admin who has its issuer", ErrNoIssuer, n.Name)
	}
	const more = "get a new delegation from the root key: mycelium network delegate --network"
	d, now := n.Issuer.Delegation(), n.clock.Now()
	switch left := n.Issuer.Left(); {
	case !now.Before(d.NotAfter):
		return fmt.Errorf("%w: the delegation of %q ended at %s: %s %s", identity.ErrExpired, n.Name, utc(d.NotAfter), more, n.Name)
	case left == 0:
		return fmt.Errorf("%w: the quota of %q, %d certificates, is used up: %s %s", identity.ErrDelegation, n.Name, d.Count, more, n.Name)
	}
	for _, r := range n.Roots() {
		if r.Key == d.Root && r.Until != nil && !now.Before(*r.Until) {
			return fmt.Errorf("%w: the delegation of %q is by a root key that counted until %s: %s %s", identity.ErrRetiredRoot, n.Name, utc(*r.Until), more, n.Name)
		}
	}
	return nil
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }
