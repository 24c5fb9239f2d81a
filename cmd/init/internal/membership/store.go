package membership

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/mesh"
)

// Files below the store's directory. What belongs to one network is in its own
// folder, which comes into being as a whole and goes as a whole.
const (
	localFile  = "local.key" // age identity that opens the keys beside it
	sealedFile = "local.tpm" // the same, sealed by the machine's TPM, instead
	keyFile    = "node.age"  // the node's key
	clockFile  = "clock"     // the clock's floor
	networkDir = "network"
	newDir     = "network.new"
)

// Sealer keeps a secret such that this machine alone gives it back (package
// tpmseal).
type Sealer interface {
	Seal(secret []byte) (sealed []byte, err error)
	Unseal(sealed []byte) (secret []byte, err error)
}

// store is what the node keeps of its identity.
type store struct {
	dir    string
	sealer Sealer // nil for none
	log    *slog.Logger
	local  *age.X25519Identity
	key    identity.PrivateKey
	clock  *identity.Clock
}

// openStore reads the node's key in dir, or makes it.
func openStore(dir string, sealer Sealer, build time.Time, system func() time.Time, log *slog.Logger) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep the node's identity: %w", err)
	}
	s := &store{dir: dir, sealer: sealer, log: log}
	if err := s.openKey(); err != nil {
		return nil, fmt.Errorf("the node's key in %s: %w", dir, err)
	}
	clock, err := identity.OpenClock(s.path(clockFile), build, system)
	if errors.Is(err, identity.ErrState) {
		// Its worth is a bound that certificates will raise again.
		err = os.Remove(s.path(clockFile))
		if err == nil {
			clock, err = identity.OpenClock(s.path(clockFile), build, system)
		}
	}
	if err != nil {
		return nil, err
	}
	s.clock = clock
	return s, nil
}

func (s *store) path(name ...string) string {
	return filepath.Join(append([]string{s.dir}, name...)...)
}

// openKey opens the key, or makes it when there is none. The local key comes
// first, so that a power cut in between leaves nothing that cannot be opened.
func (s *store) openKey() error {
	name, text, err := s.readLocal()
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(s.path(keyFile)); err == nil {
			return fmt.Errorf("%s is gone, which opens %s: reset the node (scope all) and enrol it again", localFile, keyFile)
		}
		return s.makeKey()
	}
	if err != nil {
		return err
	}
	if s.local, err = age.ParseX25519Identity(strings.TrimSpace(string(text))); err != nil {
		return fmt.Errorf("%s is damaged: reset the node (scope all) and enrol it again", name)
	}
	s.key, err = identity.ReadKey(s.path(keyFile), s.local)
	if errors.Is(err, fs.ErrNotExist) {
		return s.writeKey()
	}
	return err
}

// readLocal reads the local key from the one of its two files that is there.
func (s *store) readLocal() (name string, text []byte, err error) {
	sealed, err := os.ReadFile(s.path(sealedFile))
	if errors.Is(err, fs.ErrNotExist) {
		text, err := os.ReadFile(s.path(localFile))
		return localFile, text, err
	}
	if err != nil {
		return sealedFile, nil, err
	}
	if s.sealer == nil {
		return sealedFile, nil, fmt.Errorf("%s was sealed by a TPM, and this machine shows none: enable it in the firmware's settings or move the disk back, else reset the node (scope all) and enrol it again", sealedFile)
	}
	if text, err = s.sealer.Unseal(sealed); err != nil {
		// %v: what it wraps is not about a file of the store's.
		return sealedFile, nil, fmt.Errorf("%s cannot be unsealed: %v: move the disk back to its machine, else reset the node (scope all) and enrol it again", sealedFile, err) //nolint:errorlint // see above
	}
	return sealedFile, text, nil
}

func (s *store) makeKey() (err error) {
	if s.local, err = age.GenerateX25519Identity(); err != nil {
		return err
	}
	name, content := localFile, []byte(s.local.String()+"\n")
	if s.sealer != nil {
		sealed, err := s.sealer.Seal(content)
		if err == nil {
			name, content = sealedFile, sealed
			s.log.Info("the node's key is sealed by the TPM")
		} else {
			s.log.Warn("the node's key lies in a file: the TPM cannot seal it", "error", err)
		}
	}
	if err := durable.WriteFile(s.path(name), content, 0o600); err != nil {
		return err
	}
	return s.writeKey()
}

func (s *store) writeKey() error {
	s.key = identity.GenerateKey()
	return identity.WriteKey(s.path(keyFile), s.key, s.local.Recipient())
}

// replaceKey makes another key, for a node that belongs to nobody.
func (s *store) replaceKey() error {
	if err := os.Remove(s.path(keyFile)); err != nil {
		return err
	}
	return s.writeKey()
}

// meshKey returns the private key (Curve25519) of key's end of the mesh.
func meshKey(key identity.PrivateKey) [32]byte { return key.Derive("mycelium mesh") }

// meshPublic returns the public half of meshKey.
func meshPublic(key identity.PrivateKey) [32]byte { return mesh.PublicKey(meshKey(key)) }

// newcomerTLS is how a node without a network talks to the issuer that invited
// it. What it learns there about the network lasts no longer than the attempt.
func (s *store) newcomerTLS(invite identity.Invite, own *tls.Certificate) (*tls.Config, error) {
	path := s.path("newcomer")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	v, err := identity.CreateVerifier(path, invite.Network, invite.Anchor, s.clock)
	if err != nil {
		return nil, err
	}
	return v.ClientTLS(identity.TLSOptions{
		Certificate: func() (*tls.Certificate, error) { return own, nil }, Peer: invite.Issuer,
	}), nil
}
