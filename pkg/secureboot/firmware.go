package secureboot

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/digital-mycelium/os/pkg/efivar"
)

// State is what a firmware does about signatures.
type State string

// The states of Secure Boot.
const (
	// On: nothing is started that is not signed.
	On State = "on"
	// Off: the firmware has keys, or could have, and does not look at signatures.
	Off State = "off"
	// Setup: the firmware has no owner and takes the keys of whoever comes.
	Setup State = "setup mode"
	// Unsupported: the firmware knows nothing of it, or is none of UEFI.
	Unsupported State = "unsupported"
)

// ErrUntrusted says that the firmware would not start a program.
var ErrUntrusted = errors.New("untrusted")

// Firmware is a running machine's, by the directory where Linux shows its variables
// (efivarfs: a file NAME-VENDOR of four bytes of attributes and the value).
type Firmware string

// dbVendor is EFI_IMAGE_SECURITY_DATABASE_GUID.
const dbVendor = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"

// State reads what the firmware does.
func (f Firmware) State() (State, error) {
	on, err := f.flag("SecureBoot")
	if errors.Is(err, fs.ErrNotExist) {
		return Unsupported, nil
	}
	if err != nil {
		return Unsupported, err
	}
	if on {
		return On, nil
	}
	setup, err := f.flag("SetupMode")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Off, err
	}
	if setup {
		return Setup, nil
	}
	return Off, nil
}

// flag reads a variable of one byte, 0 or 1.
func (f Firmware) flag(name string) (bool, error) {
	b, err := efivar.Read(string(f), name, efivar.Global, maxSignatures)
	if err != nil {
		return false, err
	}
	if len(b) != 1 || b[0] > 1 {
		return false, fmt.Errorf("read the EFI variable %s: %x, want 0 or 1", name, b)
	}
	return b[0] == 1, nil
}

// Check says whether the firmware would start the EFI program of size bytes: nil when it
// would, or when Secure Boot is not on; an error that wraps ErrUntrusted when not. It
// looks for a signature that leads to a certificate in db and to none in dbx, and for the
// program's own digest in the two, as EDK II does.
func (f Firmware) Check(program io.ReaderAt, size int64) error {
	state, err := f.State()
	if err != nil || state != On {
		return err
	}
	allowed, err := f.database(DB)
	if err != nil {
		return err
	}
	denied, err := f.database("dbx")
	if errors.Is(err, fs.ErrNotExist) {
		denied, err = &database{}, nil
	}
	if err != nil {
		return err
	}
	if err := check(program, size, allowed, denied); err != nil {
		return fmt.Errorf("%w: Secure Boot is on, and the firmware trusts %s: %w: build it with the keys of this machine, or turn Secure Boot off", ErrUntrusted, allowed.names(), err)
	}
	return nil
}

func (f Firmware) database(name string) (*database, error) {
	b, err := efivar.Read(string(f), name, dbVendor, maxSignatures)
	if err != nil {
		return nil, err
	}
	d, err := parseDatabase(b)
	if err != nil {
		return nil, fmt.Errorf("read the EFI variable %s: %w", name, err)
	}
	return d, nil
}

// names are whose certificates a database holds.
func (d *database) names() string {
	var names []string
	for _, c := range d.certificates {
		names = append(names, fmt.Sprintf("%q", c.Subject.CommonName))
	}
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

// check says what speaks against a program; nil for nothing.
func check(r io.ReaderAt, size int64, allowed, denied *database) error {
	sum, list, err := inspect(r, size, allowed.certificates...)
	if err != nil && !errors.Is(err, ErrUnsigned) {
		return err // there is no digest
	}
	switch {
	case denied.hashes[sum]:
		return errors.New("its digest is among those that the firmware refuses (dbx)")
	case allowed.hashes[sum]:
		return nil
	case err != nil:
		return err
	}
	var by []string
	for _, s := range list {
		if s.leadsTo(denied.certificates) {
			return fmt.Errorf("it is signed by %q, whom the firmware refuses (dbx)", s.signer.Subject.CommonName)
		}
		by = append(by, fmt.Sprintf("%q", s.signer.Subject.CommonName))
	}
	if slices.ContainsFunc(list, func(s *signature) bool { return s.leadsTo(allowed.certificates) }) {
		return nil
	}
	return fmt.Errorf("it is signed by %s", strings.Join(by, ", "))
}

// leadsTo reports whether the signer is one of the certificates, or certified by one,
// directly or through certificates that came with the signature.
func (s *signature) leadsTo(anchors []*x509.Certificate) bool {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range anchors {
		if bytes.Equal(c.Raw, s.signer.Raw) {
			return true
		}
		roots.AddCert(c)
	}
	for _, c := range s.others {
		between.AddCert(c)
	}
	_, err := s.signer.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		CurrentTime: s.signer.NotBefore, // firmwares do not look at times
	})
	return err == nil
}
