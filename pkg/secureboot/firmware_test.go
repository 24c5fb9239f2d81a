package secureboot

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/efivar"
)

// firmware is one whose variables have these values, by their files' names.
func firmware(t testing.TB, variables map[string][]byte) Firmware {
	t.Helper()
	dir := t.TempDir()
	for name, value := range variables {
		noErr(t, os.WriteFile(filepath.Join(dir, name), append([]byte{0x27, 0, 0, 0}, value...), 0o600))
	}
	return Firmware(dir)
}

func TestState(t *testing.T) {
	for _, test := range []struct {
		secure, setup []byte // nil: there is none
		want          State
		wrong         bool
	}{
		{nil, nil, Unsupported, false},
		{[]byte{1}, []byte{0}, On, false},
		{[]byte{1}, nil, On, false},
		{[]byte{0}, []byte{0}, Off, false},
		{[]byte{0}, nil, Off, false},
		{[]byte{0}, []byte{1}, Setup, false},
		{[]byte{}, nil, Unsupported, true},
		{[]byte{2}, nil, Unsupported, true},
		{[]byte{0}, []byte{0, 0}, Off, true},
	} {
		variables := map[string][]byte{}
		if test.secure != nil {
			variables["SecureBoot-"+efivar.Global] = test.secure
		}
		if test.setup != nil {
			variables["SetupMode-"+efivar.Global] = test.setup
		}
		if got, err := firmware(t, variables).State(); got != test.want || (err != nil) != test.wrong {
			t.Errorf("SecureBoot %v, SetupMode %v: %q, %v", test.secure, test.setup, got, err)
		}
	}
	if got, err := Firmware("/nowhere").State(); got != Unsupported || err != nil {
		t.Errorf("no variables at all: %q, %v", got, err)
	}
}

// hashList is an EFI_SIGNATURE_LIST of SHA-256 digests.
func hashList(sums ...[32]byte) []byte {
	le := binary.LittleEndian
	b := []byte(certSHA256)
	b = le.AppendUint32(b, uint32(listHeader+len(sums)*48))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, 48)
	for _, sum := range sums {
		b = append(append(b, make([]byte, guidSize)...), sum[:]...)
	}
	return b
}

func certificateList(certificates ...*x509.Certificate) (b []byte) {
	for _, c := range certificates {
		b = append(b, signatureList([guidSize]byte{1}, c)...)
	}
	return b
}

// issued is a signer whose certificate an authority has made.
func issued(t *testing.T, authority *Signer) *Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	noErr(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "issued"}, NotBefore: made, NotAfter: made.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, authority.Certificate, key.Public(), authority.Key)
	noErr(t, err)
	c, err := x509.ParseCertificate(der)
	noErr(t, err)
	return &Signer{c, key}
}

// authority is a signer that may make certificates.
func authority(t *testing.T) *Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	noErr(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(6), Subject: pkix.Name{CommonName: "authority"}, NotBefore: made, NotAfter: made.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	noErr(t, err)
	c, err := x509.ParseCertificate(der)
	noErr(t, err)
	return &Signer{c, key}
}

func TestCheck(t *testing.T) {
	k := testKeys(t)
	db, kek := k.Signer(DB).Certificate, k.Signer(KEK).Certificate
	plain, ours := testProgram(0), signed(t, 0)
	damaged := bytes.Clone(ours)
	damaged[1100] ^= 1
	above := authority(t)
	byAuthority, err := Sign(plain, issued(t, above))
	noErr(t, err)
	sum, err := Digest(bytes.NewReader(plain), int64(len(plain)))
	noErr(t, err)
	for _, test := range []struct {
		name    string
		db, dbx []byte
		program []byte
		want    string // in the refusal; empty: it would be started
	}{
		{"signed", certificateList(db), nil, ours, ""},
		{"signed, among others", certificateList(kek, db), nil, ours, ""},
		{"unsigned", certificateList(db), nil, plain, "not signed"},
		{"signed by another", certificateList(kek), nil, ours, `it is signed by "Test db"`},
		{"damaged", certificateList(db), nil, damaged, "the file is damaged"},
		{"no program", certificateList(db), nil, []byte("text"), "not an EFI program"},
		{"no program, and a digest of nothing", hashList([32]byte{}), nil, []byte("text"), "not an EFI program"},
		{"nobody is trusted", nil, nil, ours, "trusts nobody"},
		{"known by its digest", hashList([32]byte{}, sum), nil, plain, ""},
		{"another's digest", hashList([32]byte{1}), nil, plain, "not signed"},
		{"refused by its digest", certificateList(db), hashList(sum), ours, "its digest is among"},
		{"refused by its signer", certificateList(db), certificateList(db), ours, "whom the firmware refuses"},
		{"another is refused", certificateList(db), append(certificateList(kek), hashList([32]byte{1})...), ours, ""},
		{"by way of an authority", certificateList(above.Certificate), nil, byAuthority, ""},
		{"by way of a refused authority", certificateList(above.Certificate), certificateList(above.Certificate), byAuthority, "whom the firmware refuses"},
		{"by an unknown authority", certificateList(db), nil, byAuthority, `it is signed by "issued"`},
		{"a broken db", []byte("x"), nil, ours, "EFI variable db"},
		{"a broken dbx", certificateList(db), []byte("x"), ours, "EFI variable dbx"},
	} {
		variables := map[string][]byte{"SecureBoot-" + efivar.Global: {1}, "db-" + dbVendor: test.db}
		if test.dbx != nil {
			variables["dbx-"+dbVendor] = test.dbx
		}
		err := firmware(t, variables).Check(bytes.NewReader(test.program), int64(len(test.program)))
		switch {
		case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		case err != nil && !errors.Is(err, ErrUntrusted) && !strings.HasPrefix(test.name, "a broken"):
			t.Errorf("%s: not ErrUntrusted: %v", test.name, err)
		}
	}
	for _, variables := range []map[string][]byte{nil, {"SecureBoot-" + efivar.Global: {0}, "db-" + dbVendor: certificateList(db)}} {
		if err := firmware(t, variables).Check(bytes.NewReader(plain), int64(len(plain))); err != nil {
			t.Errorf("Secure Boot is not on: %v", err)
		}
	}
}

func TestDatabase(t *testing.T) {
	c := testKeys(t).Signer(DB).Certificate
	le := binary.LittleEndian
	other := append([]byte("0123456789abcdef"), 0, 0, 0, 0, 4, 0, 0, 0, 20, 0, 0, 0)
	other = append(other, make([]byte, 4+2*20)...)
	le.PutUint32(other[16:], uint32(len(other)))
	d, err := parseDatabase(bytes.Join([][]byte{other, certificateList(c), hashList([32]byte{1}, [32]byte{2})}, nil))
	if err != nil || len(d.certificates) != 1 || len(d.hashes) != 2 {
		t.Errorf("%+v, %v", d, err)
	}
	for name, change := range map[string]func(b []byte){
		"longer than the value":   func(b []byte) { le.PutUint32(b[16:], uint32(len(b)+1)) },
		"shorter than its header": func(b []byte) { le.PutUint32(b[16:], listHeader-1) },
		"entries without an end":  func(b []byte) { le.PutUint32(b[24:], 0) },
		"entries without a value": func(b []byte) { le.PutUint32(b[24:], guidSize-1) },
		"half an entry":           func(b []byte) { le.PutUint32(b[24:], 47) },
		"a large header":          func(b []byte) { le.PutUint32(b[20:], 1<<31) },
	} {
		b := hashList([32]byte{1})
		change(b)
		if _, err := parseDatabase(b); !errors.Is(err, errDatabase) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDatabase: a variable's content is bounded by its size, whatever it says.
func FuzzDatabase(f *testing.F) {
	_, by := kept(f)
	f.Add(append(certificateList(by), hashList([32]byte{1})...))
	f.Add(hashList([32]byte{1}, [32]byte{2})[:70])
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseDatabase(b)
		if err == nil && len(d.certificates)+len(d.hashes) > len(b)/guidSize {
			t.Errorf("%d certificates and %d digests in %d bytes", len(d.certificates), len(d.hashes), len(b))
		}
	})
}

// FuzzFirmware: a program that is not signed is not started by a firmware with Secure
// Boot on, unless db names it by its digest, and no variable makes Check fail worse.
func FuzzFirmware(f *testing.F) {
	program := testProgram(0)
	sum, err := Digest(bytes.NewReader(program), int64(len(program)))
	noErr(f, err)
	_, by := kept(f)
	f.Add([]byte{1}, certificateList(by), hashList(sum))
	f.Add([]byte{0}, hashList(sum), []byte{})
	f.Fuzz(func(t *testing.T, secure, db, dbx []byte) {
		fw := firmware(t, map[string][]byte{"SecureBoot-" + efivar.Global: secure, "db-" + dbVendor: db, "dbx-" + dbVendor: dbx})
		on := len(secure) == 1 && secure[0] == 1
		if err := fw.Check(bytes.NewReader(program), int64(len(program))); err == nil && on && !bytes.Contains(db, sum[:]) {
			t.Error("it would be started")
		}
	})
}
