package secureboot

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
)

// Signer signs for a certificate. Both are of an RSA key.
type Signer struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// ErrUnsigned says that a program has no signature that the one asked about made.
var ErrUnsigned = errors.New("not signed")

// Sign returns the EFI program with a signature. The same program and the same key give
// the same bytes. A program that has a signature is refused.
func Sign(image []byte, s *Signer) ([]byte, error) {
	p, err := parse(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		return nil, err
	}
	if p.tableSize > 0 {
		return nil, fmt.Errorf("%w: it has a signature already", ErrFormat)
	}
	sum, err := p.digest()
	if err != nil {
		return nil, err
	}
	content, err := asn1.Marshal(indirectData{imageData{oidImageData(), peImageData()}, digestInfo{sha256Algorithm(), sum[:]}})
	if err != nil {
		return nil, err
	}
	data, err := signData(s, oidIndirectData(), content)
	if err != nil {
		return nil, err
	}
	der, err := asn1.Marshal(contentInfo{oidSignedData(), asn1.RawValue{FullBytes: marshalRaw(context(0, true, data))}})
	if err != nil {
		return nil, err
	}
	return appendSignature(image, p, der), nil
}

// Digest returns the SHA-256 of the EFI program of size bytes that signatures are of.
func Digest(r io.ReaderAt, size int64) (sum [sha256.Size]byte, err error) {
	p, err := parse(r, size)
	if err != nil {
		return sum, err
	}
	return p.digest()
}

// Verify reports whether the EFI program of size bytes is signed with the certificate's
// key: nil, or an error that wraps ErrUnsigned or ErrFormat. Times in certificates do not
// count: no firmware has a clock that it trusts.
func Verify(r io.ReaderAt, size int64, certificate *x509.Certificate) error {
	_, list, err := inspect(r, size, certificate)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.signer.Equal(certificate) {
			return nil
		}
	}
	return fmt.Errorf("%w by %q", ErrUnsigned, certificate.Subject.CommonName)
}

// inspect returns a program's digest and the signatures of it that are right, and
// ErrUnsigned with the reasons when there is none. Certificates of known need not be in a
// signature.
func inspect(r io.ReaderAt, size int64, known ...*x509.Certificate) (sum [sha256.Size]byte, list []*signature, err error) {
	p, err := parse(r, size)
	if err != nil {
		return sum, nil, err
	}
	if sum, err = p.digest(); err != nil {
		return sum, nil, err
	}
	entries, err := p.signatures()
	if err != nil {
		return sum, nil, err
	}
	var reasons []error
	for _, der := range entries {
		s, err := parseSignature(der, known...)
		switch {
		case err != nil:
			reasons = append(reasons, err)
		case !bytes.Equal(s.digest, sum[:]):
			reasons = append(reasons, wrong("it is of another program: the file is damaged or was changed"))
		default:
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return sum, nil, errors.Join(append([]error{ErrUnsigned}, reasons...)...)
	}
	return sum, list, nil
}
