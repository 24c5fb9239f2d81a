package secureboot

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
)

// Object identifiers of PKCS #7, PKCS #9 and Authenticode.
func oidData() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1} }

func oidSignedData() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2} }

func oidContentType() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3} }

func oidMessageDigest() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
}

func oidIndirectData() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 4}
}

func oidImageData() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 15}
}

func sha256Algorithm() pkix.AlgorithmIdentifier {
	return pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, Parameters: asn1.NullRawValue}
}

func rsaAlgorithm() pkix.AlgorithmIdentifier {
	return pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Parameters: asn1.NullRawValue}
}

// The structures of PKCS #7 (RFC 2315), as far as they are needed here.
type (
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"explicit,optional,tag:0"`
	}
	signedData struct {
		Version      int
		Digests      []pkix.AlgorithmIdentifier `asn1:"set"`
		Content      contentInfo
		Certificates asn1.RawValue `asn1:"optional,tag:0"`
		Revocations  asn1.RawValue `asn1:"optional,tag:1"`
		Signers      []signerInfo  `asn1:"set"`
	}
	signerInfo struct {
		Version    int
		Issuer     issuerAndSerial
		Digest     pkix.AlgorithmIdentifier
		Attributes asn1.RawValue `asn1:"optional,tag:0"`
		Encryption pkix.AlgorithmIdentifier
		Signature  []byte
		Others     asn1.RawValue `asn1:"optional,tag:1"`
	}
	issuerAndSerial struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}
	attribute struct {
		Type   asn1.ObjectIdentifier
		Values asn1.RawValue // a set
	}
)

// The structures of Authenticode.
type (
	indirectData struct {
		Data   imageData
		Digest digestInfo
	}
	imageData struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	digestInfo struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
)

// peImageData is SpcPeImageData without flags, of a file called "<<<Obsolete>>>": what
// every tool writes there, and none reads.
func peImageData() asn1.RawValue {
	var name []byte
	for _, c := range "<<<Obsolete>>>" {
		name = append(name, 0, byte(c))
	}
	text := context(0, false, name)
	link := context(0, true, marshalRaw(context(2, true, marshalRaw(text))))
	return asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: append([]byte{asn1.TagBitString, 1, 0}, marshalRaw(link)...)}
}

func context(tag int, compound bool, content []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: compound, Bytes: content}
}

// marshalRaw encodes a value that has no other error than a misuse here.
func marshalRaw(v any) []byte {
	b, err := asn1.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// signData returns the SignedData of a signer without a time. Content of the type
// oidData is left out and signed as it is; any other is encoded and signed by its
// attributes, as RFC 2315, 9.2, demands.
func signData(s *Signer, kind asn1.ObjectIdentifier, content []byte) ([]byte, error) {
	info, signed, attributes := contentInfo{Type: kind}, content, asn1.RawValue{}
	if !kind.Equal(oidData()) {
		var inner asn1.RawValue
		if _, err := asn1.Unmarshal(content, &inner); err != nil {
			return nil, err
		}
		info.Content = asn1.RawValue{FullBytes: marshalRaw(context(0, true, content))}
		sum := sha256.Sum256(inner.Bytes)
		// in the order of DER, which is the order by length here
		list := append(marshalRaw(set(oidContentType(), marshalRaw(kind))), marshalRaw(set(oidMessageDigest(), marshalRaw(sum[:])))...)
		attributes = context(0, true, list)
		signed = marshalRaw(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: list})
	}
	sum := sha256.Sum256(signed)
	signature, err := s.Key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	c := s.Certificate
	return asn1.Marshal(signedData{
		Version: 1, Digests: []pkix.AlgorithmIdentifier{sha256Algorithm()}, Content: info, Certificates: context(0, true, c.Raw),
		Signers: []signerInfo{{
			Version: 1, Issuer: issuerAndSerial{asn1.RawValue{FullBytes: c.RawIssuer}, c.SerialNumber},
			Digest: sha256Algorithm(), Attributes: attributes, Encryption: rsaAlgorithm(), Signature: signature,
		}},
	})
}

func set(kind asn1.ObjectIdentifier, value []byte) attribute {
	return attribute{kind, asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: value}}
}

// signature is one that verifies by itself; whether its certificates are worth
// anything is another question.
type signature struct {
	digest []byte // SHA-256 of the program
	signer *x509.Certificate
	others []*x509.Certificate // that came with it
}

// errSignature says that something is no signature, or a wrong one.
var errSignature = errors.New("signature")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errSignature, fmt.Errorf(format, args...))
}

// parseSignature reads an Authenticode signature by SHA-256 and verifies it with its own
// certificate, or with one of known when it has none.
func parseSignature(der []byte, known ...*x509.Certificate) (*signature, error) {
	var outer contentInfo
	var data signedData
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return nil, wrong("no PKCS #7: %w", err)
	}
	if _, err := asn1.Unmarshal(outer.Content.Bytes, &data); err != nil {
		return nil, wrong("no signed data: %w", err)
	}
	var indirect indirectData
	if _, err := asn1.Unmarshal(data.Content.Content.Bytes, &indirect); err != nil {
		return nil, wrong("no content of Authenticode: %w", err)
	}
	switch {
	case !outer.Type.Equal(oidSignedData()) || !data.Content.Type.Equal(oidIndirectData()):
		return nil, wrong("it is of another kind than Authenticode's")
	case !indirect.Digest.Algorithm.Algorithm.Equal(sha256Algorithm().Algorithm) || len(indirect.Digest.Digest) != sha256.Size:
		return nil, wrong("it is not by SHA-256")
	case len(data.Signers) != 1:
		return nil, wrong("it has %d signers, want one", len(data.Signers))
	}
	certificates, err := x509.ParseCertificates(data.Certificates.Bytes)
	if err != nil {
		return nil, wrong("its certificates: %w", err)
	}
	var inner asn1.RawValue
	if _, err := asn1.Unmarshal(data.Content.Content.Bytes, &inner); err != nil {
		return nil, wrong("its content: %w", err)
	}
	signer, err := data.Signers[0].verify(inner.Bytes, append(certificates, known...))
	if err != nil {
		return nil, err
	}
	return &signature{indirect.Digest.Digest, signer, certificates}, nil
}

// verify verifies the signature of content and returns which certificate did.
func (s *signerInfo) verify(content []byte, certificates []*x509.Certificate) (*x509.Certificate, error) {
	if !s.Digest.Algorithm.Equal(sha256Algorithm().Algorithm) {
		return nil, wrong("it is not by SHA-256")
	}
	if len(s.Attributes.FullBytes) > 0 {
		list := s.Attributes.Bytes
		sum := sha256.Sum256(content)
		got, err := messageDigest(list)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(got, sum[:]) {
			return nil, wrong("it is of another content")
		}
		content = marshalRaw(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: list})
	}
	for _, c := range certificates {
		if s.Issuer.Serial == nil || !bytes.Equal(c.RawIssuer, s.Issuer.Issuer.FullBytes) || c.SerialNumber.Cmp(s.Issuer.Serial) != 0 {
			continue
		}
		if err := c.CheckSignature(x509.SHA256WithRSA, content, s.Signature); err != nil {
			return nil, wrong("by %q: %w", c.Subject, err)
		}
		return c, nil
	}
	return nil, wrong("the certificate that it is by is missing")
}

// messageDigest finds the attribute in a list.
func messageDigest(list []byte) (sum []byte, err error) {
	for len(list) > 0 {
		var a attribute
		if list, err = asn1.Unmarshal(list, &a); err != nil {
			return nil, wrong("its attributes: %w", err)
		}
		if a.Type.Equal(oidMessageDigest()) {
			if _, err := asn1.Unmarshal(a.Values.Bytes, &sum); err != nil {
				return nil, wrong("its digest: %w", err)
			}
			return sum, nil
		}
	}
	return nil, wrong("it has no digest of its content")
}
