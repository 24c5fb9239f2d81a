package secureboot

import (
	"bytes"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSave(t *testing.T) {
	dir := saved(t)
	entries, err := os.ReadDir(dir)
	noErr(t, err)
	if len(entries) != 9 {
		t.Errorf("%d files, want three for each key", len(entries))
	}
	for _, e := range entries {
		st, err := e.Info()
		noErr(t, err)
		want := fs.FileMode(0o644)
		if strings.HasSuffix(e.Name(), ".key") {
			want = 0o600
		}
		if st.Mode().Perm() != want {
			t.Errorf("%s has the mode %o, want %o", e.Name(), st.Mode().Perm(), want)
		}
	}
	before, err := os.ReadFile(filepath.Join(dir, "db.key"))
	noErr(t, err)
	if err := testKeys(t).Save(dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("saved over other keys: %v", err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "db.key")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the old key has changed, %v", err)
	}
	for _, name := range Names() {
		s, err := LoadSigner(dir, name)
		noErr(t, err)
		if !s.Certificate.Equal(testKeys(t).Signer(name).Certificate) {
			t.Errorf("%s has another certificate", name)
		}
		if err := s.Certificate.CheckSignature(s.Certificate.SignatureAlgorithm, s.Certificate.RawTBSCertificate, s.Certificate.Signature); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if updates, err := LoadUpdates(dir); err != nil || len(updates) != 3 {
		t.Errorf("%d updates, %v", len(updates), err)
	}
	// With the private keys of PK and KEK elsewhere, an image can be built.
	noErr(t, errors.Join(os.Remove(filepath.Join(dir, "PK.key")), os.Remove(filepath.Join(dir, "KEK.key"))))
	if _, err := LoadSigner(dir, DB); err != nil {
		t.Error(err)
	}
	if _, err := LoadUpdates(dir); err != nil {
		t.Error(err)
	}
}

func TestLoadErrors(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"no key":        func(dir string) error { return os.Remove(filepath.Join(dir, "db.key")) },
		"another's key": func(dir string) error { return os.Rename(filepath.Join(dir, "PK.key"), filepath.Join(dir, "db.key")) },
		"no PEM":        func(dir string) error { return os.WriteFile(filepath.Join(dir, "db.crt"), []byte("x"), 0o600) },
		"a key for a certificate": func(dir string) error {
			return os.Rename(filepath.Join(dir, "PK.key"), filepath.Join(dir, "db.crt"))
		},
	} {
		dir := saved(t)
		noErr(t, change(dir))
		if _, err := LoadSigner(dir, DB); err == nil || !strings.Contains(err.Error(), "the key db") {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := saved(t)
	noErr(t, os.WriteFile(filepath.Join(dir, "KEK.auth"), []byte("x"), 0o600))
	if _, err := LoadUpdates(dir); err == nil {
		t.Error("a broken update: no error")
	}
	for _, owner := range []string{"", strings.Repeat("a", 41), "a\nb", "ä"} {
		if _, err := Generate(owner, made); err == nil {
			t.Errorf("owner %q: no error", owner)
		}
	}
}

// TestUpdates takes the updates apart as a firmware does: what they bring, and who signed
// what (UEFI Specification 2.10, 8.2.2).
func TestUpdates(t *testing.T) {
	k := testKeys(t)
	updates, err := k.Updates()
	noErr(t, err)
	for _, test := range []struct{ name, by, vendor string }{{PK, PK, globalGUID}, {KEK, PK, globalGUID}, {DB, KEK, dbGUID}} {
		b := updates[test.name]
		d, err := parseUpdate(b)
		noErr(t, err)
		if len(d.certificates) != 1 || !d.certificates[0].Equal(k.Signer(test.name).Certificate) {
			t.Errorf("%s brings %v", test.name, d.certificates)
		}
		le := binary.LittleEndian
		if le.Uint16(b) != 2026 || string(b[2:7]) != "\x0b\x1e\x0c\x00\x00" || !bytes.Equal(b[7:timeSize], make([]byte, 9)) {
			t.Errorf("%s: time %x", test.name, b[:timeSize])
		}
		length := le.Uint32(b[timeSize:])
		if le.Uint16(b[20:]) != winRevision || le.Uint16(b[22:]) != winEFIGUID || int64(timeSize+length) > int64(len(b)) {
			t.Fatalf("%s: header %x", test.name, b[timeSize:updateHeader])
		}
		var data signedData
		rest, err := asn1.Unmarshal(b[updateHeader:timeSize+length], &data)
		if err != nil || len(rest) > 0 {
			t.Fatalf("%s: %v, %d bytes more", test.name, err, len(rest))
		}
		var signed []byte
		for _, c := range test.name {
			signed = append(signed, byte(c), 0)
		}
		signed = append(append(signed, test.vendor...), 0x27, 0, 0, 0)
		signed = append(append(signed, b[:timeSize]...), b[timeSize+length:]...)
		if len(data.Signers) != 1 || len(data.Signers[0].Attributes.FullBytes) > 0 {
			t.Fatalf("%s: signers %+v", test.name, data.Signers)
		}
		by := k.Signer(test.by).Certificate
		if c, err := data.Signers[0].verify(signed, d.certificates[:0:0]); err == nil {
			t.Errorf("%s: verified by %v out of nothing", test.name, c)
		}
		if _, err := data.Signers[0].verify(signed, append(d.certificates[:0:0], by)); err != nil {
			t.Errorf("%s, signed by %s: %v", test.name, test.by, err)
		}
	}
	again, err := k.Updates()
	if err != nil || !bytes.Equal(again[DB], updates[DB]) {
		t.Errorf("other bytes the second time, %v", err)
	}
}

func TestTime(t *testing.T) {
	east := time.FixedZone("", 3600)
	if got := efiTime(time.Date(2030, 2, 1, 0, 59, 58, 7, east)); !bytes.Equal(got, []byte{0xee, 7, 1, 31, 23, 59, 58, 0, 0, 0, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("%x", got)
	}
}
