package networks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"filippo.io/age"

	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/identity"
)

const (
	rootFile     = "root-%d.age" // by number: 1 for the first root key
	newRootFile  = "root-%d.new.age"
	issuerFile   = "issuer.age"
	operatorFile = "operator.age"
	localFile    = "local.key"
	credFile     = "operator.cred"
	ledgerFile   = "ledger"
	trustFile    = "trust"
	clockFile    = "clock"
	lockFile     = "lock"
)

const (
	// CertificateValidity is how long every certificate is valid.
	CertificateValidity = 30 * 24 * time.Hour
	// DelegationValidity is how long an issuer certifies before the root key is needed again.
	DelegationValidity = 365 * 24 * time.Hour
	// DefaultQuota is how many certificates an issuer may make in that time.
	DefaultQuota = 1000
)

// adminCaps is the most that an issuer here may grant.
var adminCaps = identity.Caps{API: identity.Admin, Node: identity.Server}

// CreateOptions says how a network is founded.
type CreateOptions struct {
	// Root encrypts the root key: one Passphrase or any other age recipients. A
	// network without any is one to throw away: local.key opens its root key, too.
	Root []age.Recipient
	// Quota is how many certificates the issuer may make, and that of the servers
	// as many again; DefaultQuota when 0.
	Quota uint64
	// Operator is the operator's name in its own certificate.
	Operator string
}

// Create founds the network name. It takes no name twice (fs.ErrExist).
func (s *Store) Create(ctx context.Context, name string, o CreateOptions) error {
	err := s.Vacant(name)
	if err == nil {
		err = CheckName(o.Operator)
	}
	if err == nil {
		err = s.build(ctx, name, func(dir string) error { return s.found(dir, o) })
	}
	if err != nil {
		return fmt.Errorf("create the network %q: %w", name, err)
	}
	return nil
}

// found makes a new network's files in dir.
func (s *Store) found(dir string, o CreateOptions) error {
	root, issuer, operator := identity.GenerateKey(), identity.GenerateKey(), identity.GenerateKey()
	local, err := writeLocal(dir)
	if err != nil {
		return err
	}
	if len(o.Root) == 0 {
		o.Root = []age.Recipient{local.Recipient()}
	}
	err = errors.Join(
		identity.WriteKey(filepath.Join(dir, fmt.Sprintf(rootFile, 1)), root, o.Root...),
		identity.WriteKey(filepath.Join(dir, issuerFile), issuer, local.Recipient()),
		identity.WriteKey(filepath.Join(dir, operatorFile), operator, local.Recipient()),
	)
	if err != nil {
		return err
	}
	id := identity.NetworkOf(root.Public())
	clock, err := identity.OpenClock(filepath.Join(dir, clockFile), s.Built, s.now)
	if err != nil {
		return err
	}
	verifier, err := identity.CreateVerifier(filepath.Join(dir, trustFile), id, identity.NetworkID{}, clock)
	if err != nil {
		return err
	}
	quota := cmp.Or(o.Quota, DefaultQuota)
	delegation, err := grant{1, quota, clock.Now()}.delegate(root, id, issuer.Public(), adminCaps)
	if err != nil {
		return err
	}
	if err := makeServers(dir, root, id, grant{1 + quota, quota, clock.Now()}, local.Recipient()); err != nil {
		return err
	}
	i, err := identity.CreateIssuer(filepath.Join(dir, ledgerFile), issuer, delegation, verifier)
	if err != nil {
		return err
	}
	cred, err := i.Certify(operator.Public(), o.Operator, identity.Caps{API: identity.Admin})
	if err != nil {
		return err
	}
	return errors.Join(durable.WriteFile(filepath.Join(dir, credFile), cred, 0o600), clock.Close())
}

// grant is what a delegation gives: count serial numbers from first
// (DefaultQuota when 0), from now on.
type grant struct {
	first, count uint64
	now          time.Time
}

// delegate returns the root key's delegation of the grant to an issuer.
func (g grant) delegate(root identity.PrivateKey, id identity.NetworkID, issuer identity.PublicKey, caps identity.Caps) ([]byte, error) {
	from := g.now.UTC().Truncate(time.Second)
	return identity.Sign(root, identity.Delegation{
		Network: id, Root: root.Public(), Issuer: issuer, Caps: caps, MaxValidity: CertificateValidity,
		FirstSerial: g.first, Count: cmp.Or(g.count, DefaultQuota), NotBefore: from, NotAfter: from.Add(DelegationValidity),
	})
}

// writeLocal makes the age identity that opens the keys which are used without asking.
func writeLocal(dir string) (*age.X25519Identity, error) {
	local, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	text := "# opens issuer.age, servers.age and operator.age beside it: whoever has this file can use them\n" + local.String() + "\n"
	return local, durable.WriteFile(filepath.Join(dir, localFile), []byte(text), 0o600)
}
