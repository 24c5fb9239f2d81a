package secureboot

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/digital-mycelium/os/pkg/durable"
)

// The keys' names, which are those of the firmware's variables.
const (
	PK  = "PK"
	KEK = "KEK"
	DB  = "db"
)

// Names returns the names of the keys in the order in which a firmware in setup mode is
// to learn them: with the last it leaves setup mode.
func Names() []string { return []string{DB, KEK, PK} }

const (
	keyBits  = 2048 // what every firmware can
	validity = 30 * 365 * 24 * time.Hour
)

// Keys are the keys of one owner by their names.
type Keys struct {
	signers map[string]*Signer
	made    time.Time
}

// Generate makes keys. The owner's name, 1 to 40 printable ASCII characters, stands in the
// certificates, which a firmware's menus show; now is when they are made.
func Generate(owner string, now time.Time) (*Keys, error) {
	if len(owner) == 0 || len(owner) > 40 {
		return nil, fmt.Errorf("the owner's name %.60q: use 1 to 40 characters", owner)
	}
	for _, c := range owner {
		if c < ' ' || c > '~' {
			return nil, fmt.Errorf("the owner's name %q: use printable ASCII characters", owner)
		}
	}
	k := &Keys{map[string]*Signer{}, now.UTC().Truncate(time.Second)}
	for _, name := range Names() {
		s, err := generate(owner+" "+name, k.made)
		if err != nil {
			return nil, fmt.Errorf("make the key %s: %w", name, err)
		}
		k.signers[name] = s
	}
	return k, nil
}

// generate makes a key with a certificate that it signs itself.
func generate(name string, now time.Time) (*Signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, err
	}
	serial := make([]byte, 16)
	rand.Read(serial) // never fails: documented since Go 1.24
	serial[0] &= 0x7f
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: now, NotAfter: now.Add(validity),
		KeyUsage: x509.KeyUsageDigitalSignature, SignatureAlgorithm: x509.SHA256WithRSA,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &Signer{certificate, key}, err
}

// Signer returns the signer of one of Names.
func (k *Keys) Signer(name string) *Signer { return k.signers[name] }

// owner identifies whose certificates the firmware's variables hold.
func (k *Keys) owner() (id [16]byte) {
	sum := sha256.Sum256(k.signers[PK].Certificate.Raw)
	copy(id[:], sum[:])
	return id
}

// Updates returns the signed updates that bring the certificates into a firmware's
// variables (EFI_VARIABLE_AUTHENTICATION_2), by their names: PK for itself, KEK by PK, db
// by KEK. A firmware with another PK takes none of them.
func (k *Keys) Updates() (map[string][]byte, error) {
	by := map[string]string{PK: PK, KEK: PK, DB: KEK}
	updates := map[string][]byte{}
	for _, name := range Names() {
		list := signatureList(k.owner(), k.signers[name].Certificate)
		update, err := authenticate(name, list, k.made, k.signers[by[name]])
		if err != nil {
			return nil, fmt.Errorf("update of the variable %s: %w", name, err)
		}
		updates[name] = update
	}
	return updates, nil
}

// The files of a key NAME in a directory: NAME.key (PKCS #8) and NAME.crt are PEM, NAME.auth
// is the variable's update.
const (
	keySuffix         = ".key"
	certificateSuffix = ".crt"
	updateSuffix      = ".auth"
)

// UpdateFile is the name of the file with the update of a variable.
func UpdateFile(name string) string { return name + updateSuffix }

// Save writes the keys into the directory dir, which must not exist. Private keys can be
// read by their owner alone.
func (k *Keys) Save(dir string) error {
	updates, err := k.Updates()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("save the keys: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w: keys are never overwritten, choose another directory", err)
		}
		return fmt.Errorf("save the keys: %w", err)
	}
	for _, name := range Names() {
		der, err := x509.MarshalPKCS8PrivateKey(k.signers[name].Key)
		if err != nil {
			return fmt.Errorf("save the key %s: %w", name, err)
		}
		for _, f := range []struct {
			suffix  string
			content []byte
			mode    fs.FileMode
		}{
			{keySuffix, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600},
			{certificateSuffix, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.signers[name].Certificate.Raw}), 0o644},
			{updateSuffix, updates[name], 0o644},
		} {
			if err := durable.CreateFile(filepath.Join(dir, name+f.suffix), f.content, f.mode); err != nil {
				return fmt.Errorf("save the key %s: %w", name, err)
			}
		}
	}
	return nil
}

// LoadSigner reads one of Names from a directory of Save. To sign programs, DB is enough:
// the private keys of the others can be kept elsewhere.
func LoadSigner(dir, name string) (*Signer, error) {
	s, err := loadSigner(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("read the key %s: %w", name, err)
	}
	return s, nil
}

func loadSigner(path string) (*Signer, error) {
	der, err := readPEM(path+certificateSuffix, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path+certificateSuffix, err)
	}
	if der, err = readPEM(path+keySuffix, "PRIVATE KEY"); err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path+keySuffix, err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, fmt.Errorf("%s is not the RSA key of the certificate beside it", path+keySuffix)
	}
	return &Signer{certificate, key}, nil
}

func readPEM(path, kind string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s is no PEM file of a %s", path, kind)
	}
	return block.Bytes, nil
}

// LoadUpdates reads the updates of a directory of Save, by the variables' names.
func LoadUpdates(dir string) (map[string][]byte, error) {
	updates := map[string][]byte{}
	for _, name := range Names() {
		data, err := os.ReadFile(filepath.Join(dir, UpdateFile(name)))
		if err != nil {
			return nil, fmt.Errorf("read the update of the variable %s: %w", name, err)
		}
		if _, err := parseUpdate(data); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, UpdateFile(name)), err)
		}
		updates[name] = data
	}
	return updates, nil
}
