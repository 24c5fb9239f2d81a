package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Development certificates are valid in every year that a machine's clock may
// show, because an emulated or battery-less machine begins anywhere and its
// owner must still reach it. They belong to networks on the developer's own
// machine; a real network's certificates are short-lived.
var (
	devNotBefore = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	devNotAfter  = time.Date(2099, 12, 31, 23, 59, 59, 0, time.UTC)
)

// KeyPair is a certificate and its private key in PEM form. String and the
// other formatting verbs do not show the key.
type KeyPair struct {
	Certificate []byte
	Key         []byte
}

// String names the type alone, so that a key cannot reach a log.
func (KeyPair) String() string { return "KeyPair(redacted)" }

// LogValue implements slog.LogValuer.
func (k KeyPair) LogValue() slog.Value { return slog.StringValue(k.String()) }

// GoString does what String does for the verb %#v.
func (k KeyPair) GoString() string { return k.String() }

// Authority is the certificate authority of one development network (ECDSA
// P-256). It is safe for concurrent use.
type Authority struct {
	pair KeyPair
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority for the network name.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of authority %s: %w", name, err)
	}
	tmpl, err := template(name + " machine API")
	if err != nil {
		return nil, err
	}
	tmpl.IsCA = true
	tmpl.BasicConstraintsValid = true
	tmpl.MaxPathLenZero = true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of authority %s: %w", name, err)
	}
	pair, err := encodePair(der, key)
	if err != nil {
		return nil, err
	}
	return ParseAuthority(pair)
}

// ParseAuthority restores an authority from the pair that Pair returned.
func ParseAuthority(pair KeyPair) (*Authority, error) {
	both, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	key, ok := both.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("read the authority: its key is not ECDSA")
	}
	if !both.Leaf.IsCA {
		return nil, fmt.Errorf("read the authority: %s is not an authority's certificate", both.Leaf.Subject)
	}
	return &Authority{pair: pair, cert: both.Leaf, key: key}, nil
}

// Pair returns the authority's own certificate and key.
func (a *Authority) Pair() KeyPair { return a.pair }

// Node makes a server certificate for the node name, which also answers on the
// given addresses besides 127.0.0.1.
func (a *Authority) Node(name string, addresses ...net.IP) (KeyPair, error) {
	tmpl, err := template(name)
	if err != nil {
		return KeyPair{}, err
	}
	tmpl.DNSNames = []string{name}
	tmpl.IPAddresses = append([]net.IP{net.IPv4(127, 0, 0, 1)}, addresses...)
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return a.issue(tmpl)
}

// Operator makes a client certificate for the operator name.
func (a *Authority) Operator(name string) (KeyPair, error) {
	tmpl, err := template(name)
	if err != nil {
		return KeyPair{}, err
	}
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.issue(tmpl)
}

func (a *Authority) issue(tmpl *x509.Certificate) (KeyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return KeyPair{}, fmt.Errorf("make the key of %s: %w", tmpl.Subject.CommonName, err)
	}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		return KeyPair{}, fmt.Errorf("make the certificate of %s: %w", tmpl.Subject.CommonName, err)
	}
	return encodePair(der, key)
}

func template(name string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"Digital Mycelium"}, CommonName: name},
		NotBefore:    devNotBefore,
		NotAfter:     devNotAfter,
	}, nil
}

func encodePair(der []byte, key *ecdsa.PrivateKey) (KeyPair, error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return KeyPair{}, fmt.Errorf("encode the key: %w", err)
	}
	return KeyPair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}, nil
}

// WritePair keeps pair as name.crt and name.key (mode 0600) in dir, which it
// creates with mode 0700.
func WritePair(dir, name string, pair KeyPair) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep certificate %s: %w", name, err)
	}
	for ext, data := range map[string][]byte{".crt": pair.Certificate, ".key": pair.Key} {
		if err := os.WriteFile(filepath.Join(dir, name+ext), data, 0o600); err != nil {
			return fmt.Errorf("keep certificate %s: %w", name, err)
		}
	}
	return nil
}

// ReadPair reads what WritePair kept.
func ReadPair(dir, name string) (KeyPair, error) {
	cert, err := os.ReadFile(filepath.Join(dir, name+".crt"))
	if err != nil {
		return KeyPair{}, fmt.Errorf("read certificate %s: %w", name, err)
	}
	key, err := os.ReadFile(filepath.Join(dir, name+".key"))
	if err != nil {
		return KeyPair{}, fmt.Errorf("read certificate %s: %w", name, err)
	}
	return KeyPair{Certificate: cert, Key: key}, nil
}
