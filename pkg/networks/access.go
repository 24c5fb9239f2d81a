package networks

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/identity"
)

// An access file is a tar of a network directory's files without root key and
// issuer, in text form: encrypted by age when the operator's key is in it, else
// as PEM, because nothing in it is secret then.

const (
	pemType   = "MYCELIUM NETWORK ACCESS"
	nameFile  = "name" // the network's name at its giver's
	selfDir   = ".self"
	granting  = ".grant-"
	maxAccess = 8 << 20 // bytes
)

// ErrAccess: the file is not an access file, or damaged.
var ErrAccess = errors.New("not a whole access file")

// GrantKey certifies the key of another person and returns an access file, which
// holds no secret and is of use on that person's computer alone.
func (n *Network) GrantKey(key identity.PublicKey, name string, role identity.APIRole) ([]byte, error) {
	files, err := n.accessFor(key, name, role)
	if err != nil {
		return nil, err
	}
	data, err := pack(files)
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: data}), err
}

// Grant makes a key for another person, certifies it and returns an access file,
// encrypted to the recipients: one Passphrase or any other age recipients.
func (n *Network) Grant(name string, role identity.APIRole, recipients ...age.Recipient) ([]byte, error) {
	temp, err := os.MkdirTemp(n.Dir, granting)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	key, err := makeOperator(temp)
	if err != nil {
		return nil, err
	}
	files, err := n.accessFor(key, name, role)
	for _, f := range []string{localFile, operatorFile} {
		if err == nil {
			files[f], err = readSmall(filepath.Join(temp, f), maxAccess)
		}
	}
	if err != nil {
		return nil, err
	}
	data, err := pack(files)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, recipients...)
	if err != nil {
		return nil, fmt.Errorf("encrypt the access file: %w", err)
	}
	_, err = w.Write(data)
	if err = errors.Join(err, w.Close(), text.Close()); err != nil {
		return nil, fmt.Errorf("encrypt the access file: %w", err)
	}
	return out.Bytes(), nil
}

// accessFor certifies key and returns what goes with it.
func (n *Network) accessFor(key identity.PublicKey, name string, role identity.APIRole) (map[string][]byte, error) {
	cred, err := n.Certify(key, name, role)
	if err != nil {
		return nil, err
	}
	nodes, err := encodeNodes(n.nodes)
	if err != nil {
		return nil, err
	}
	trust, err := readSmall(n.path(trustFile), maxAccess)
	return map[string][]byte{nameFile: []byte(n.Name), credFile: cred, trustFile: trust, nodesFile: nodes}, err
}

// makeOperator makes an operator's key and its local key in dir.
func makeOperator(dir string) (identity.PublicKey, error) {
	key := identity.GenerateKey()
	local, err := writeLocal(dir)
	if err == nil {
		err = identity.WriteKey(filepath.Join(dir, operatorFile), key, local.Recipient())
	}
	return key.Public(), err
}

// Self returns the public key under which this operator can be given access, and
// makes the key when there is none yet.
func (s *Store) Self(ctx context.Context) (identity.PublicKey, error) {
	dir := filepath.Join(s.Dir, selfDir)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		err := s.place(ctx, selfDir, func(temp string) error {
			_, err := makeOperator(temp)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrExist) { // another program was first
			return identity.PublicKey{}, fmt.Errorf("make this operator's key: %w", err)
		}
	}
	local, err := ReadIdentities(filepath.Join(dir, localFile))
	if err != nil {
		return identity.PublicKey{}, err
	}
	key, err := identity.ReadKey(filepath.Join(dir, operatorFile), local...)
	return key.Public(), err
}

// Encrypted reports whether an access file needs identities to be imported.
func Encrypted(access []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(access), []byte(armor.Header))
}

// Import makes a network of an access file, under name or, when that is empty,
// under its giver's name for it, and returns the name. It refuses a file that is
// not whole (ErrAccess), or whose certificate does not count.
func (s *Store) Import(ctx context.Context, name string, access []byte, identities ...age.Identity) (string, error) {
	files, err := unpackAccess(access, identities)
	if err != nil {
		return "", fmt.Errorf("import access: %w", err)
	}
	name = cmp.Or(name, string(files[nameFile]))
	delete(files, nameFile)
	if _, ok := files[operatorFile]; !ok {
		for _, f := range []string{localFile, operatorFile} {
			if files[f], err = readSmall(filepath.Join(s.Dir, selfDir, f), maxAccess); err != nil {
				return "", fmt.Errorf("import access: it is for an operator's key that is not on this computer: import it where \"mycelium network key\" was run (%w)", err)
			}
		}
	}
	if err := CheckName(name); err != nil {
		return "", fmt.Errorf("import access: %w", err)
	}
	err = s.build(ctx, name, func(dir string) error {
		for f, data := range files {
			if err := durable.WriteFile(filepath.Join(dir, f), data, 0o600); err != nil {
				return err
			}
		}
		n := &Network{Name: name, Dir: dir}
		if err := n.load(s); err != nil {
			return err
		}
		_, err := n.Renew()
		return errors.Join(err, n.clock.Close())
	})
	if err != nil {
		return "", fmt.Errorf("import access as %q: %w", name, err)
	}
	return name, nil
}

func unpackAccess(access []byte, identities []age.Identity) (map[string][]byte, error) {
	if len(access) > maxAccess {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are expected", ErrAccess, len(access), maxAccess)
	}
	if !Encrypted(access) {
		block, rest := pem.Decode(access)
		if block == nil || block.Type != pemType || len(bytes.TrimSpace(rest)) > 0 {
			return nil, fmt.Errorf("%w: get it again from its giver", ErrAccess)
		}
		return unpack(block.Bytes, credFile, trustFile, nameFile, nodesFile)
	}
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(access)), identities...)
	if errors.Is(err, age.ErrIncorrectIdentity) {
		return nil, fmt.Errorf("%w: the passphrase is wrong, or the file is for another identity", identity.ErrLocked)
	}
	var data []byte
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(r, maxAccess))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w: get it again from its giver", ErrAccess, err)
	}
	return unpack(data, credFile, trustFile, nameFile, nodesFile, localFile, operatorFile)
}

func pack(files map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{nameFile, credFile, trustFile, nodesFile, localFile, operatorFile} {
		data, ok := files[name]
		if !ok {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			return nil, err
		}
		if _, err := w.Write(data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// unpack returns the files of a tar that has exactly those names.
func unpack(data []byte, names ...string) (map[string][]byte, error) {
	files := map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(data))
	for _, name := range names {
		files[name] = nil
	}
	for range names {
		h, err := r.Next()
		if err != nil {
			return nil, fmt.Errorf("%w: a file is missing in it: get it again from its giver", ErrAccess)
		}
		if known, ok := files[h.Name]; !ok || known != nil || h.Typeflag != tar.TypeReg {
			return nil, fmt.Errorf("%w: it holds %.40q, which does not belong there", ErrAccess, h.Name)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAccess, err)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more is in it than belongs there", ErrAccess)
	}
	return files, nil
}
