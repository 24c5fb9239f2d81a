package networks

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"filippo.io/age"

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
	// Root encrypts the root key: one Passphrase or any other age recipients.
	Root []age.Recipient
	// Quota is how many certificates the issuer may make, DefaultQuota when 0.
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
	if err := identity.WriteKey(filepath.Join(dir, fmt.Sprintf(rootFile, 1)), root, o.Root...); err != nil {
		return err
	}
	local, err := writeLocal(dir)
	if err != nil {
		return err
	}
	err = errors.Join(
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
	delegation, err := delegate(root, id, issuer.Public(), 1, o.Quota, clock.Now())
	if err != nil {
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
	return errors.Join(WriteFile(filepath.Join(dir, credFile), cred), clock.Close())
}

func delegate(root identity.PrivateKey, id identity.NetworkID, issuer identity.PublicKey, first, count uint64, now time.Time) ([]byte, error) {
	if count == 0 {
		count = DefaultQuota
	}
	return identity.Sign(root, identity.Delegation{
		Network: id, Root: root.Public(), Issuer: issuer, Caps: adminCaps, MaxValidity: CertificateValidity,
		FirstSerial: first, Count: count, NotBefore: now.UTC().Truncate(time.Second), NotAfter: now.UTC().Truncate(time.Second).Add(DelegationValidity),
	})
}

// writeLocal makes the age identity that opens the keys which are used without asking.
func writeLocal(dir string) (*age.X25519Identity, error) {
	local, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	text := "# opens issuer.age and operator.age beside it: whoever has this file can use them\n" + local.String() + "\n"
	return local, WriteFile(filepath.Join(dir, localFile), []byte(text))
}
