package identity

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/digital-mycelium/os/pkg/durable"
)

const (
	keyHeader  = "mycelium ed25519 key v1\n"
	maxKeyFile = 64 << 10 // bytes of an encrypted key file
	// scryptWork is age's default: 2^18 rounds, which take about a second and
	// 256 MiB on a present computer. Files that ask for more are refused.
	scryptWork = 18
)

// Passphrase encrypts and decrypts a key file: it is an age.Recipient and an
// age.Identity. It shows as "(secret)".
type Passphrase struct {
	secret
	work int
}

// NewPassphrase returns p as a Passphrase. WriteKey refuses an empty one.
func NewPassphrase(p string) Passphrase { return Passphrase{newSecret(p), scryptWork} }

// Wrap implements age.Recipient.
func (p Passphrase) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	stanzas, _, err := p.WrapWithLabels(fileKey)
	return stanzas, err
}

// WrapWithLabels implements age.RecipientWithLabels: a passphrase cannot be
// combined with other recipients.
func (p Passphrase) WrapWithLabels(fileKey []byte) ([]*age.Stanza, []string, error) {
	r, err := age.NewScryptRecipient(p.reveal())
	if err != nil {
		return nil, nil, err
	}
	r.SetWorkFactor(p.work)
	return r.WrapWithLabels(fileKey)
}

// Unwrap implements age.Identity.
func (p Passphrase) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	id, err := age.NewScryptIdentity(p.reveal())
	if err != nil {
		return nil, err
	}
	id.SetMaxWorkFactor(scryptWork)
	return id.Unwrap(stanzas)
}

// WriteKey encrypts key to the recipients, one Passphrase or any other age
// recipients, and keeps it in the new file path with mode 0600. It never
// replaces a file (fs.ErrExist).
func WriteKey(path string, key PrivateKey, recipients ...age.Recipient) error {
	if key.IsZero() {
		return fmt.Errorf("write key file %s: there is no key to write", path)
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("write key file: %w: choose another name, a key is never overwritten", &os.PathError{Op: "create", Path: path, Err: os.ErrExist})
	}
	var out bytes.Buffer
	if err := encryptKey(&out, key, recipients); err != nil {
		return fmt.Errorf("encrypt key file %s: %w", path, err)
	}
	if err := durable.CreateFile(path, out.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	return nil
}

func encryptKey(out io.Writer, key PrivateKey, recipients []age.Recipient) error {
	text := armor.NewWriter(out)
	plain, err := age.Encrypt(text, recipients...)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(plain, "%s%x\n", keyHeader, key.reveal()); err != nil {
		return err
	}
	return errors.Join(plain.Close(), text.Close())
}

// ReadKey reads what WriteKey wrote. It refuses a file that others than its
// owner can read, one that none of the identities opens (ErrLocked) and one that
// is damaged (ErrMalformed).
func ReadKey(path string, identities ...age.Identity) (PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read key file: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read key file: %w", err)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return PrivateKey{}, fmt.Errorf("read key file %s: others can read it (mode %04o): set mode 0600, and consider the key known to them", path, fi.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read key file: %w", err)
	}
	key, err := decryptKey(data, identities)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read key file %s: %w", path, err)
	}
	return key, nil
}

func decryptKey(data []byte, identities []age.Identity) (PrivateKey, error) {
	if len(data) > maxKeyFile {
		return PrivateKey{}, fmt.Errorf("%w: more than %d bytes", ErrMalformed, maxKeyFile)
	}
	plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(data)), identities...)
	if errors.Is(err, age.ErrIncorrectIdentity) {
		return PrivateKey{}, fmt.Errorf("%w: the passphrase is wrong, or the file is for another identity", ErrLocked)
	}
	if err != nil {
		return PrivateKey{}, fmt.Errorf("%w: %v: restore it from a backup", ErrMalformed, err) //nolint:errorlint // the library's errors are no part of the API
	}
	text, err := io.ReadAll(io.LimitReader(plain, maxKeyFile))
	if err != nil {
		return PrivateKey{}, fmt.Errorf("%w: %v: restore it from a backup", ErrMalformed, err) //nolint:errorlint // as above
	}
	digits, ok := bytes.CutPrefix(text, []byte(keyHeader))
	seed := make([]byte, ed25519.SeedSize)
	if !ok || len(digits) != 2*len(seed)+1 || digits[len(digits)-1] != '\n' {
		return PrivateKey{}, fmt.Errorf("%w: it does not hold a key of this program", ErrMalformed)
	}
	if _, err := hex.Decode(seed, digits[:2*len(seed)]); err != nil {
		return PrivateKey{}, fmt.Errorf("%w: it does not hold a key of this program", ErrMalformed)
	}
	return PrivateKey{newSecret(string(seed))}, nil
}
