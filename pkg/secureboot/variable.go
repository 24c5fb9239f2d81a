package secureboot

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf16"
)

// GUIDs as they stand in memory, the first three fields little-endian (UEFI
// Specification 2.10, 32.4.1 and 8.2.2).
const (
	certX509   = "\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72" // EFI_CERT_X509_GUID
	certSHA256 = "\x26\x16\xc4\xc1\x4c\x50\x92\x40\xac\xa9\x41\xf9\x36\x93\x43\x28" // EFI_CERT_SHA256_GUID
	certPKCS7  = "\x9d\xd2\xaf\x4a\xdf\x68\xee\x49\x8a\xa9\x34\x7d\x37\x56\x65\xa7" // EFI_CERT_TYPE_PKCS7_GUID
	globalGUID = "\x61\xdf\xe4\x8b\xca\x93\xd2\x11\xaa\x0d\x00\xe0\x98\x03\x2b\x8c" // EFI_GLOBAL_VARIABLE
	dbGUID     = "\xcb\xb2\x19\xd7\x3a\x3d\x96\x45\xa3\xbc\xda\xd0\x0e\x67\x65\x6f" // EFI_IMAGE_SECURITY_DATABASE_GUID
)

const (
	guidSize   = 16
	listHeader = guidSize + 12
	timeSize   = 16
	// updateHeader is EFI_TIME, WIN_CERTIFICATE and the GUID of what follows.
	updateHeader   = timeSize + winHeader + guidSize
	winEFIGUID     = 0xef1 // WIN_CERT_TYPE_EFI_GUID
	maxSignatures  = 1 << 20
	authAttributes = 0x27 // non-volatile, boot and run time, time-based authenticated
)

// signatureList is an EFI_SIGNATURE_LIST with one certificate.
func signatureList(owner [guidSize]byte, c *x509.Certificate) []byte {
	le := binary.LittleEndian
	b := []byte(certX509)
	b = le.AppendUint32(b, uint32(listHeader+guidSize+len(c.Raw)))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, uint32(guidSize+len(c.Raw)))
	return append(append(b, owner[:]...), c.Raw...)
}

// database is what a signature database (db, dbx) holds. Kinds of entries that are
// none of these are left out.
type database struct {
	certificates []*x509.Certificate
	hashes       map[[sha256.Size]byte]bool
}

var errDatabase = errors.New("not a signature database")

// parseDatabase reads signature lists. A certificate that cannot be read is left out:
// there are such in the field, and a firmware does without them as well.
func parseDatabase(b []byte) (*database, error) {
	if len(b) > maxSignatures {
		return nil, fmt.Errorf("%w: it has %d bytes", errDatabase, len(b))
	}
	le, d := binary.LittleEndian, &database{hashes: map[[sha256.Size]byte]bool{}}
	for len(b) > 0 {
		if len(b) < listHeader {
			return nil, fmt.Errorf("%w: %d bytes are left for a list", errDatabase, len(b))
		}
		kind, length, header, each := string(b[:guidSize]), int64(le.Uint32(b[16:])), int64(le.Uint32(b[20:])), int64(le.Uint32(b[24:]))
		body := length - listHeader - header
		if length > int64(len(b)) || body < 0 || each < guidSize || body%each != 0 {
			return nil, fmt.Errorf("%w: a list of %d bytes with a header of %d and entries of %d, %d are left", errDatabase, length, header, each, len(b))
		}
		for entry := b[length-body : length]; len(entry) > 0; entry = entry[each:] {
			d.add(kind, entry[guidSize:each])
		}
		b = b[length:]
	}
	return d, nil
}

func (d *database) add(kind string, value []byte) {
	switch {
	case kind == certX509:
		if c, err := x509.ParseCertificate(value); err == nil {
			d.certificates = append(d.certificates, c)
		}
	case kind == certSHA256 && len(value) == sha256.Size:
		d.hashes[[sha256.Size]byte(value)] = true
	}
}

// vendor is the GUID of a variable's vendor.
func vendor(name string) string {
	if name == DB {
		return dbGUID
	}
	return globalGUID
}

// authenticate is the update that gives a variable a value.
func authenticate(name string, value []byte, made time.Time, by *Signer) ([]byte, error) {
	le := binary.LittleEndian
	stamp := efiTime(made)
	var signed []byte
	for _, unit := range utf16.Encode([]rune(name)) {
		signed = le.AppendUint16(signed, unit)
	}
	signed = append(signed, vendor(name)...)
	signed = le.AppendUint32(signed, authAttributes)
	signed = append(append(signed, stamp...), value...)
	// SignedData as it is: old firmwares do not know it within a ContentInfo.
	data, err := signData(by, oidData(), signed)
	if err != nil {
		return nil, err
	}
	b := le.AppendUint32(stamp, uint32(winHeader+guidSize+len(data)))
	b = le.AppendUint16(b, winRevision)
	b = le.AppendUint16(b, winEFIGUID)
	b = append(b, certPKCS7...)
	return append(append(b, data...), value...), nil
}

// efiTime encodes an EFI_TIME of UTC.
func efiTime(t time.Time) []byte {
	t = t.UTC()
	b := binary.LittleEndian.AppendUint16(nil, uint16(t.Year()))
	b = append(b, byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second()))
	return append(b, make([]byte, timeSize-len(b))...)
}

// parseUpdate returns what an update brings. It does not verify who has signed it.
func parseUpdate(b []byte) (*database, error) {
	if len(b) < updateHeader || string(b[timeSize+winHeader:updateHeader]) != certPKCS7 {
		return nil, errors.New("no update of a variable of the firmware")
	}
	length := int64(binary.LittleEndian.Uint32(b[timeSize:]))
	if length < winHeader+guidSize || timeSize+length > int64(len(b)) {
		return nil, fmt.Errorf("an update of a variable whose signature has %d bytes, of %d", length, len(b))
	}
	return parseDatabase(bytes.Clone(b[timeSize+length:]))
}
