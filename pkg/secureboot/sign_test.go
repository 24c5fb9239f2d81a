package secureboot

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestSign: sbverify, which is of another hand, finds the signature right and nothing to
// warn of.
func TestSign(t *testing.T) {
	dir := saved(t)
	for trailing := range 9 {
		program := testProgram(trailing)
		b := signed(t, trailing)
		if again := signed(t, trailing); !bytes.Equal(b, again) {
			t.Errorf("%d bytes behind the sections: other bytes the second time", trailing)
		}
		if len(b)%alignment != 0 {
			t.Errorf("%d bytes behind the sections: %d bytes", trailing, len(b))
		}
		if err := verify(b, testKeys(t).Signer(DB)); err != nil {
			t.Errorf("%d bytes behind the sections: %v", trailing, err)
		}
		if err := verify(b, testKeys(t).Signer(KEK)); !errors.Is(err, ErrUnsigned) {
			t.Errorf("another key: %v", err)
		}
		if err := verify(program, testKeys(t).Signer(DB)); !errors.Is(err, ErrUnsigned) {
			t.Errorf("no signature: %v", err)
		}
		if _, err := Sign(b, testKeys(t).Signer(DB)); !errors.Is(err, ErrFormat) {
			t.Errorf("a second signature: %v", err)
		}
		if trailing%alignment != 0 {
			continue // sbverify warns of what lies behind the sections
		}
		if said, err := tool(t, "sbverify", "--cert", filepath.Join(dir, "db.crt"), write(t, b)); trailing == 0 && said != "Signature verification OK" || err != nil {
			t.Errorf("sbverify: %q, %v", said, err)
		}
		if said, err := tool(t, "sbverify", "--cert", filepath.Join(dir, "KEK.crt"), write(t, b)); err == nil {
			t.Errorf("sbverify with another certificate: %q", said)
		}
	}
}

// TestOrder: sections count in the order of their places, not of their headers.
func TestOrder(t *testing.T) {
	b := testProgram(0)
	const table = 64 + 4 + coffSize + optionalSize + 16*8
	first := bytes.Clone(b[table:][:sectionSize])
	copy(b[table:], b[table+2*sectionSize:][:sectionSize])
	copy(b[table+2*sectionSize:], first)
	b, err := Sign(b, testKeys(t).Signer(DB))
	noErr(t, err)
	if err := verify(b, testKeys(t).Signer(DB)); err != nil {
		t.Error(err)
	}
}

// TestVerifyOthers: what sbsign signs verifies here.
func TestVerifyOthers(t *testing.T) {
	dir := saved(t)
	in, out := write(t, testProgram(0)), filepath.Join(t.TempDir(), "signed.efi")
	if said, err := tool(t, "sbsign", "--key", filepath.Join(dir, "db.key"), "--cert", filepath.Join(dir, "db.crt"), "--output", out, in); err != nil {
		t.Fatalf("sbsign: %v: %s", err, said)
	}
	b, err := os.ReadFile(out)
	noErr(t, err)
	if err := verify(b, testKeys(t).Signer(DB)); err != nil {
		t.Error(err)
	}
	if err := verify(b, testKeys(t).Signer(PK)); !errors.Is(err, ErrUnsigned) {
		t.Errorf("another key: %v", err)
	}
}

// TestDamage: a flipped bit anywhere, but in the one field that nothing covers and in
// padding, is found; so is a file that is not whole.
func TestDamage(t *testing.T) {
	b := signed(t, 0)
	p, err := parse(bytes.NewReader(b), int64(len(b)))
	noErr(t, err)
	last := p.table + int64(binary.LittleEndian.Uint32(b[p.table:])) // of the signature
	s := testKeys(t).Signer(DB)
	for at := range int64(len(b)) {
		free := at >= p.checksum && at < p.checksum+4 || at >= last
		// the revision of a signature's header is not looked at
		free = free || at >= p.table+4 && at < p.table+6
		damaged := bytes.Clone(b)
		damaged[at] ^= 1 << (at % 8)
		if err := verify(damaged, s); (err == nil) != free && !tolerated(b, damaged) {
			t.Errorf("a bit of byte %d (of %d, signature at %d) is flipped: %v", at, len(b), p.table, err)
		}
	}
	for length := range len(b) {
		if err := verify(b[:length], s); err == nil {
			t.Errorf("cut to %d of %d bytes: no error", length, len(b))
		}
	}
}

// tolerated reports whether two files differ in what a signature's meaning does not
// depend on: versions, and parameters without content, of PKCS #7.
func tolerated(a, b []byte) bool {
	pa, err := parse(bytes.NewReader(a), int64(len(a)))
	if err != nil {
		return false
	}
	return bytes.Equal(a[:pa.table], b[:pa.table])
}

func TestFormat(t *testing.T) {
	le := binary.LittleEndian
	const optional = 64 + 4 + coffSize
	const table = optional + optionalSize + 16*8
	for name, change := range map[string]func(b []byte) []byte{
		"empty":                      func([]byte) []byte { return nil },
		"no MZ":                      func(b []byte) []byte { b[0] = 'N'; return b },
		"PE header beyond the end":   func(b []byte) []byte { le.PutUint32(b[60:], 1<<31); return b },
		"PE32":                       func(b []byte) []byte { le.PutUint16(b[optional:], 0x10b); return b },
		"no place for a signature":   func(b []byte) []byte { le.PutUint32(b[optional+offDirectoryCount:], 4); return b },
		"a short optional header":    func(b []byte) []byte { le.PutUint16(b[64+4+16:], optionalSize+8); return b },
		"too many sections":          func(b []byte) []byte { le.PutUint16(b[64+4+2:], 0xffff); return b },
		"a gap between the sections": func(b []byte) []byte { le.PutUint32(b[table+80+20:], 1024+513); return b },
		"overlapping sections":       func(b []byte) []byte { le.PutUint32(b[table+80+20:], 1024+511); return b },
		"large headers":              func(b []byte) []byte { le.PutUint32(b[optional+offSizeOfHeaders:], 1025); return b },
		"cut":                        func(b []byte) []byte { return b[:len(b)-1] },
		"signatures beyond the end":  func(b []byte) []byte { le.PutUint32(b[optional+optionalSize+36:], 8); return b },
		"signatures in the headers": func(b []byte) []byte {
			le.PutUint32(b[optional+optionalSize+32:], 512)
			le.PutUint32(b[optional+optionalSize+36:], uint32(len(b)-512))
			return b
		},
	} {
		b := change(testProgram(0))
		if _, err := Sign(b, testKeys(t).Signer(DB)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: sign: %v", name, err)
		}
		if _, err := Digest(bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: digest: %v", name, err)
		}
	}
}

// kept is a program that was signed once, and whose certificate did.
func kept(t testing.TB) (program []byte, by *x509.Certificate) {
	t.Helper()
	program, err := os.ReadFile("testdata/signed.efi")
	noErr(t, err)
	der, err := os.ReadFile("testdata/db.der")
	noErr(t, err)
	by, err = x509.ParseCertificate(der)
	noErr(t, err)
	return program, by
}

// TestKept: what was signed once verifies for good.
func TestKept(t *testing.T) {
	b, by := kept(t)
	if err := Verify(bytes.NewReader(b), int64(len(b)), by); err != nil {
		t.Error(err)
	}
	sum, err := Digest(bytes.NewReader(b), int64(len(b)))
	noErr(t, err)
	if want, err := Digest(bytes.NewReader(testProgram(3)), int64(len(testProgram(3)))); err != nil || sum != want {
		t.Errorf("digest %x, %x without the signature: %v", sum, want, err)
	}
}

// FuzzVerify: whatever a file holds, it is refused, or it is what was signed.
func FuzzVerify(f *testing.F) {
	good, by := kept(f)
	f.Add(good)
	f.Add(testProgram(0))
	f.Add(good[:1200])
	want, err := Digest(bytes.NewReader(good), int64(len(good)))
	noErr(f, err)
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := Verify(bytes.NewReader(b), int64(len(b)), by); err != nil {
			return
		}
		if got, err := Digest(bytes.NewReader(b), int64(len(b))); err != nil || got != want {
			t.Errorf("a program with the digest %x verifies, %x was signed: %v", got, want, err)
		}
	})
}

// FuzzSignature: nothing in the place of a signature does more than fail.
func FuzzSignature(f *testing.F) {
	b, _ := kept(f)
	p, err := parse(bytes.NewReader(b), int64(len(b)))
	noErr(f, err)
	list, err := p.signatures()
	noErr(f, err)
	f.Add(list[0])
	f.Add(list[0][:100])
	f.Fuzz(func(t *testing.T, der []byte) {
		s, err := parseSignature(der)
		if err == nil && (s.signer == nil || len(s.digest) == 0) {
			t.Errorf("half a signature: %+v", s)
		}
	})
}
