package membership

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/members"
)

// Files of a network.
const (
	trustFile      = "trust"
	credentialFile = "credential"
	membersFile    = "members"
	foundFile      = "founder" // exists on the node that began the cluster
	issuerFile     = "issuer.age"
	issuerCredFile = "issuer.cred" // the issuer's own, for its TLS
	ledgerFile     = "ledger"
	clusterFile    = "cluster.json" // the last answer to how to join the cluster
)

// belonging is the network that the node is a member of.
type belonging struct {
	dir        string
	verifier   *identity.Verifier
	credential []byte
	cert       *identity.Certificate
	shown      *tls.Certificate // credential in TLS; nil: to be made
	members    *members.Directory
	found      bool
	issuer     *identity.Issuer // nil on most nodes
	issuerKey  identity.PrivateKey
	issuerCred []byte
	issuerPair *tls.Certificate // issuerCred in TLS
}

// openBelonging opens the network's folder; nil when there is none. What it
// opens is whole: settle renames it into its place. notes are things that the
// owner should know.
func (s *store) openBelonging() (b *belonging, notes []error, err error) {
	if err := os.RemoveAll(s.path(newDir)); err != nil {
		return nil, nil, err
	}
	b = &belonging{dir: s.path(networkDir)}
	if _, err := os.Stat(b.dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if b.verifier, err = identity.OpenVerifier(filepath.Join(b.dir, trustFile), s.clock); err != nil {
		return nil, nil, err
	}
	if b.credential, err = os.ReadFile(filepath.Join(b.dir, credentialFile)); err != nil {
		return nil, nil, err
	}
	if _, b.cert, err = identity.ParseCredential(b.credential); err != nil {
		return nil, nil, err
	}
	if b.cert.Key != s.key.Public() {
		return nil, nil, fmt.Errorf("the certificate in %s is for the key %s, not for this node's", b.dir, b.cert.Key)
	}
	if _, err := os.Stat(filepath.Join(b.dir, foundFile)); err == nil {
		b.found = true
	}
	if b.members, err = members.Open(filepath.Join(b.dir, membersFile), b.verifier); err != nil {
		notes = append(notes, err)
	}
	if err := s.openIssuer(b); err != nil {
		notes = append(notes, fmt.Errorf("this node admits nobody: %w", err))
	}
	return b, notes, nil
}

func (s *store) openIssuer(b *belonging) error {
	key, err := identity.ReadKey(filepath.Join(b.dir, issuerFile), s.local)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	issuer, err := identity.OpenIssuer(filepath.Join(b.dir, ledgerFile), key, b.verifier)
	if err != nil {
		return err
	}
	b.issuer, b.issuerKey = issuer, key
	return nil
}

// settle makes the node a member: all of it is on the disk before any of it counts.
func (s *store) settle(g api.Grant) (*belonging, error) {
	dir := s.path(newDir)
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	verifier, err := identity.CreateVerifier(filepath.Join(dir, trustFile), g.Network, g.Anchor, s.clock)
	if err != nil {
		return nil, err
	}
	if err := addStatements(verifier, g.Statements); err != nil {
		return nil, err
	}
	cert, err := verifier.Verify(g.Credential)
	if err != nil {
		return nil, err
	}
	if err := s.checkOwn(cert); err != nil {
		return nil, err
	}
	if err := durable.WriteFile(filepath.Join(dir, credentialFile), g.Credential, 0o600); err != nil {
		return nil, err
	}
	if g.Found {
		if cert.Caps.Node != identity.Server {
			return nil, fmt.Errorf("%w: the node is to begin a cluster, and its certificate makes it a %s: certify it as server", api.ErrInvalid, cert.Caps.Node)
		}
		if err := durable.WriteFile(filepath.Join(dir, foundFile), nil, 0o600); err != nil {
			return nil, err
		}
	}
	if g.Issuer != nil {
		if err := s.writeIssuer(dir, verifier, g.Issuer); err != nil {
			return nil, fmt.Errorf("become an issuer: %w", err)
		}
	}
	if err := os.Rename(dir, s.path(networkDir)); err != nil {
		return nil, err
	}
	if err := durable.SyncDir(s.dir); err != nil {
		return nil, err
	}
	b, notes, err := s.openBelonging()
	return b, errors.Join(append(notes, err)...)
}

func (s *store) writeIssuer(dir string, v *identity.Verifier, g *api.IssuerGrant) error {
	key, err := identity.KeyFromSeed(g.Key)
	if err != nil {
		return fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	if _, err := identity.CreateIssuer(filepath.Join(dir, ledgerFile), key, g.Delegation, v); err != nil {
		return err
	}
	return identity.WriteKey(filepath.Join(dir, issuerFile), key, s.local.Recipient())
}

// checkOwn says whether a certificate is for this node.
func (s *store) checkOwn(cert *identity.Certificate) error {
	switch {
	case cert.Key != s.key.Public():
		return fmt.Errorf("%w: the certificate is for the key %s, this node's is %s: certify what Describe returned", api.ErrInvalid, cert.Key, s.key.Public())
	case cert.Mesh != meshPublic(s.key):
		return fmt.Errorf("%w: the certificate names another mesh key than this node's: certify what Describe returned", api.ErrInvalid)
	case cert.Caps.Node == identity.NoNode:
		return fmt.Errorf("%w: the certificate makes its holder no node: certify it as agent or server", api.ErrInvalid)
	}
	return nil
}

func addStatements(v *identity.Verifier, s api.Statements) error {
	for _, r := range s.Rotations {
		if err := v.AddRotation(r); err != nil {
			return err
		}
	}
	for _, r := range s.Revocations {
		if err := v.AddRevocation(r); err != nil {
			return err
		}
	}
	return nil
}

// renew keeps a new credential of the node's.
func (s *store) renew(b *belonging, credential []byte) error {
	cert, err := b.verifier.Verify(credential)
	if err == nil {
		err = s.checkOwn(cert)
	}
	if err == nil {
		err = durable.WriteFile(filepath.Join(b.dir, credentialFile), credential, 0o600)
	}
	if err != nil {
		return fmt.Errorf("take over a renewed certificate: %w", err)
	}
	b.credential, b.cert, b.shown = credential, cert, nil
	return nil
}

// issuerCertificate returns what the issuer shows in TLS: a credential that it
// has given itself, made anew when a third of its time is left.
func (s *store) issuerCertificate(b *belonging, name string) (*tls.Certificate, error) {
	if b.issuerCred == nil {
		b.issuerCred, _ = os.ReadFile(filepath.Join(b.dir, issuerCredFile)) // made below otherwise
	}
	cert, err := b.verifier.Verify(b.issuerCred)
	if err == nil && b.issuerPair != nil && cert.NotAfter.Sub(s.clock.Now()) >= cert.NotAfter.Sub(cert.NotBefore)/3 {
		return b.issuerPair, nil
	}
	if err != nil || cert.NotAfter.Sub(s.clock.Now()) < cert.NotAfter.Sub(cert.NotBefore)/3 {
		request, err := identity.Sign(b.issuerKey, identity.Request{Network: b.verifier.Network(), Key: b.issuerKey.Public(), Mesh: meshPublic(b.issuerKey), Name: name})
		if err != nil {
			return nil, err
		}
		if b.issuerCred, err = b.issuer.Issue(request, identity.Caps{Node: identity.Client}); err != nil {
			return nil, fmt.Errorf("certify the issuer itself: %w", err)
		}
		if err := durable.WriteFile(filepath.Join(b.dir, issuerCredFile), b.issuerCred, 0o600); err != nil {
			return nil, err
		}
	}
	pair, err := identity.TLSCertificate(b.issuerKey, b.issuerCred)
	b.issuerPair = &pair
	return &pair, err
}
