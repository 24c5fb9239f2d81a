// Package tpmseal keeps a small secret such that only one machine's TPM 2.0 gives it
// back: who copies or steals the disk has nothing.
//
// The secret is sealed below the storage root key that the TPM derives from its own
// seed (TCG TPM v2.0 Provisioning Guidance, ECC P-256), with no password and bound to
// no measurement: it survives updates of firmware and operating system, and is
// lost when somebody clears the TPM. What goes over the wires to a discrete TPM is
// encrypted.
package tpmseal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Device is the kernel's TPM with its resource manager.
const Device = "/dev/tpmrm0"

// MaxSecret is the length in bytes that TPMs seal at most.
const MaxSecret = 128

// ErrOther says that a secret was sealed by another TPM, or by this one before it
// was cleared.
var ErrOther = errors.New("this machine's TPM has not sealed it")

// ErrDamaged says that what is to be unsealed is not what Seal returned.
var ErrDamaged = errors.New("the sealed secret is damaged")

// Chip is the TPM behind a device file, which is open only while it is used.
type Chip string

// Seal is the function Seal with this TPM; fs.ErrNotExist when there is none.
func (c Chip) Seal(secret []byte) ([]byte, error) {
	return c.with(func(t transport.TPM) ([]byte, error) { return Seal(t, secret) })
}

// Unseal is the function Unseal with this TPM; fs.ErrNotExist when there is none.
func (c Chip) Unseal(sealed []byte) ([]byte, error) {
	return c.with(func(t transport.TPM) ([]byte, error) { return Unseal(t, sealed) })
}

func (c Chip) with(do func(transport.TPM) ([]byte, error)) (b []byte, err error) {
	f, err := os.OpenFile(string(c), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	t := transport.FromReadWriteCloser(f)
	defer func() { err = errors.Join(err, t.Close()) }()
	return do(t)
}

// header begins every sealed secret.
const header = "mycelium tpm 1\n"

// Seal returns the secret in a form that only t unseals, a few hundred bytes.
func Seal(t transport.TPM, secret []byte) (sealed []byte, err error) {
	if len(secret) == 0 || len(secret) > MaxSecret {
		return nil, fmt.Errorf("a TPM seals 1 to %d bytes, not %d", MaxSecret, len(secret))
	}
	root, err := loadRoot(t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.flush(t)) }()
	created, err := tpm2.Create{
		ParentHandle: tpm2.AuthHandle{Handle: root.handle, Name: root.name, Auth: root.session(tpm2.AESEncryption(128, tpm2.EncryptIn))},
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: secret}),
		}},
		InPublic: tpm2.New2B(tpm2.TPMTPublic{
			Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256,
			ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, UserWithAuth: true, NoDA: true},
		}),
	}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("the TPM does not seal: %w", err)
	}
	return append(append([]byte(header), tpm2.Marshal(created.OutPublic)...), tpm2.Marshal(created.OutPrivate)...), nil
}

// Unseal returns the secret that Seal was given.
func Unseal(t transport.TPM, sealed []byte) (secret []byte, err error) {
	public, private, err := parse(sealed)
	if err != nil {
		return nil, err
	}
	root, err := loadRoot(t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.flush(t)) }()
	loaded, err := tpm2.Load{
		ParentHandle: tpm2.AuthHandle{Handle: root.handle, Name: root.name, Auth: tpm2.PasswordAuth(nil)},
		InPrivate:    *private, InPublic: *public,
	}.Execute(t)
	if errors.Is(err, tpm2.TPMRCIntegrity) {
		return nil, fmt.Errorf("%w, or it was cleared since: %w", ErrOther, err)
	}
	if err != nil {
		return nil, fmt.Errorf("the TPM does not load what is sealed: %w", err)
	}
	defer func() { err = errors.Join(err, flush(t, loaded.ObjectHandle)) }()
	unsealed, err := tpm2.Unseal{
		ItemHandle: tpm2.AuthHandle{Handle: loaded.ObjectHandle, Name: loaded.Name, Auth: root.session(tpm2.AESEncryption(128, tpm2.EncryptOut))},
	}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("the TPM does not unseal: %w", err)
	}
	return unsealed.OutData.Buffer, nil
}

// parse takes a sealed secret apart: header, TPM2B_PUBLIC, TPM2B_PRIVATE.
func parse(b []byte) (*tpm2.TPM2BPublic, *tpm2.TPM2BPrivate, error) {
	rest, ok := bytes.CutPrefix(b, []byte(header))
	if !ok {
		return nil, nil, fmt.Errorf("%w: it does not begin as one", ErrDamaged)
	}
	if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
		return nil, nil, fmt.Errorf("%w: it is cut short", ErrDamaged)
	}
	n := 2 + int(binary.BigEndian.Uint16(rest))
	public, err := tpm2.Unmarshal[tpm2.TPM2BPublic](rest[:n])
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if rest = rest[n:]; len(rest) < 2 || len(rest) != 2+int(binary.BigEndian.Uint16(rest)) {
		return nil, nil, fmt.Errorf("%w: it is cut short, or too long", ErrDamaged)
	}
	private, err := tpm2.Unmarshal[tpm2.TPM2BPrivate](rest)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return public, private, nil
}

// root is the storage root key while it is loaded.
type root struct {
	handle tpm2.TPMHandle
	name   tpm2.TPM2BName
	public tpm2.TPMTPublic
}

func loadRoot(t transport.TPM) (*root, error) {
	primary, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		InPublic:      tpm2.New2B(tpm2.ECCSRKTemplate),
	}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("the TPM makes no storage root key (somebody may have set an owner password: clear the TPM in the firmware's settings): %w", err)
	}
	public, err := primary.OutPublic.Contents()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the TPM's storage root key: %w", err), flush(t, primary.ObjectHandle))
	}
	return &root{handle: primary.ObjectHandle, name: primary.Name, public: *public}, nil
}

// session encrypts what goes to or comes from the TPM for who does not have its
// storage root key.
func (r *root) session(encryption tpm2.AuthOption) tpm2.Session {
	return tpm2.HMAC(tpm2.TPMAlgSHA256, 16, tpm2.Salted(r.handle, r.public), encryption)
}

func (r *root) flush(t transport.TPM) error { return flush(t, r.handle) }

func flush(t transport.TPM, handle tpm2.TPMHandle) error {
	if _, err := (tpm2.FlushContext{FlushHandle: handle}).Execute(t); err != nil {
		return fmt.Errorf("the TPM keeps an object loaded: %w", err)
	}
	return nil
}
