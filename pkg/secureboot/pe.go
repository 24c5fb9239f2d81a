package secureboot

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrFormat says that a file is no EFI program, or one that cannot be signed.
var ErrFormat = errors.New("not an EFI program that can be signed")

// Sizes and offsets of the PE format (Microsoft, PE Format), in bytes.
const (
	maxHeaders      = 1 << 20 // that Windows' and EDK II's programs stay far below
	maxCertificates = 1 << 20
	dosSize         = 64
	coffSize        = 20
	magicPE32Plus   = 0x20b
	optionalSize    = 112 // without data directories
	sectionSize     = 40
	tableIndex      = 4 // of the certificate table among the data directories
	alignment       = 8 // of signatures

	offSizeOfHeaders  = 60
	offCheckSum       = 64
	offDirectoryCount = 108
)

// program is where the parts of a PE32+ image lie that signatures are about.
type program struct {
	r    io.ReaderAt
	size int64
	// checksum and directory are the offsets of the two fields that no signature
	// covers: four and eight bytes.
	checksum, directory int64
	// end is where the signed part ends, table where the signatures are, of tableSize.
	end, table, tableSize int64
}

// parse reads the headers of an image of size bytes. The headers and the sections must
// follow each other without gaps: else what is hashed is not simply the file.
func parse(r io.ReaderAt, size int64) (*program, error) {
	le := binary.LittleEndian
	h := make([]byte, min(max(size, 0), maxHeaders))
	if n, err := r.ReadAt(h, 0); n < len(h) {
		return nil, fmt.Errorf("read the headers: %w", err)
	}
	if len(h) < dosSize || string(h[:2]) != "MZ" {
		return nil, fmt.Errorf("%w: it does not begin with MZ", ErrFormat)
	}
	pe := int64(le.Uint32(h[60:]))
	optional := pe + 4 + coffSize
	if optional+optionalSize > int64(len(h)) || string(h[pe:pe+4]) != "PE\x00\x00" {
		return nil, fmt.Errorf("%w: it has no PE header", ErrFormat)
	}
	count, length := int(le.Uint16(h[pe+6:])), int64(le.Uint16(h[pe+20:]))
	p := &program{r: r, size: size, checksum: optional + offCheckSum, directory: optional + optionalSize + tableIndex*8}
	sections := optional + length
	switch {
	case le.Uint16(h[optional:]) != magicPE32Plus:
		return nil, fmt.Errorf("%w: its optional header is not PE32+", ErrFormat)
	case le.Uint32(h[optional+offDirectoryCount:]) <= tableIndex || p.directory+8 > sections:
		return nil, fmt.Errorf("%w: its headers have no place for a signature", ErrFormat)
	case sections+int64(count)*sectionSize > int64(len(h)):
		return nil, fmt.Errorf("%w: its section headers reach beyond it", ErrFormat)
	}
	end, err := contiguous(h[sections:][:count*sectionSize], int64(le.Uint32(h[optional+offSizeOfHeaders:])))
	if err != nil {
		return nil, err
	}
	p.table, p.tableSize = int64(le.Uint32(h[p.directory:])), int64(le.Uint32(h[p.directory+4:]))
	return p, p.bound(end)
}

// contiguous returns where the last section ends, when each begins where the one before
// ended, and the first where the headers do.
func contiguous(headers []byte, end int64) (int64, error) {
	type section struct{ offset, size int64 }
	var list []section
	for ; len(headers) > 0; headers = headers[sectionSize:] {
		s := section{int64(binary.LittleEndian.Uint32(headers[20:])), int64(binary.LittleEndian.Uint32(headers[16:]))}
		if s.size > 0 {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b section) int { return cmp.Compare(a.offset, b.offset) })
	for _, s := range list {
		if s.offset != end {
			return 0, fmt.Errorf("%w: a section begins at %d, the part before it ends at %d", ErrFormat, s.offset, end)
		}
		end += s.size
	}
	return end, nil
}

// bound checks what the headers say of the file's length; sections is where the
// last of them ends.
func (p *program) bound(sections int64) error {
	p.end = p.size
	if p.tableSize > 0 {
		p.end = p.table
	}
	switch {
	case sections > p.size || p.directory+8 > sections:
		return fmt.Errorf("%w: it has %d bytes, its sections end at %d: is it whole?", ErrFormat, p.size, sections)
	case p.tableSize > 0 && (p.table < sections || p.table%alignment != 0 || p.tableSize > maxCertificates || p.table+p.tableSize != p.size):
		return fmt.Errorf("%w: it has %d bytes, its signatures are to be %d at %d: is it whole?", ErrFormat, p.size, p.tableSize, p.table)
	}
	return nil
}

// digest is what a signature is of: the SHA-256 of the file without the checksum, the
// directory's entry of the signatures, and these, padded with zeros to where they begin.
func (p *program) digest() (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	for _, part := range [][2]int64{{0, p.checksum}, {p.checksum + 4, p.directory}, {p.directory + 8, p.end}} {
		if _, err := io.Copy(h, io.NewSectionReader(p.r, part[0], part[1]-part[0])); err != nil {
			return sum, fmt.Errorf("read the program: %w", err)
		}
	}
	h.Write(make([]byte, padding(p.end)))
	return [sha256.Size]byte(h.Sum(nil)), nil
}

func padding(n int64) int64 { return (alignment - n%alignment) % alignment }

// The header of a signature in the table (UEFI Specification, WIN_CERTIFICATE).
const (
	winHeader   = 8
	winRevision = 0x200
	winPKCS     = 2 // WIN_CERT_TYPE_PKCS_SIGNED_DATA
)

// signatures returns the table's entries that are PKCS #7.
func (p *program) signatures() (list [][]byte, err error) {
	b := make([]byte, p.tableSize)
	if _, err := io.ReadFull(io.NewSectionReader(p.r, p.table, p.tableSize), b); err != nil && len(b) > 0 {
		return nil, fmt.Errorf("read the signatures: %w", err)
	}
	for len(b) >= winHeader {
		length := int64(binary.LittleEndian.Uint32(b))
		if length < winHeader || length > int64(len(b)) {
			return nil, fmt.Errorf("%w: a signature of %d bytes where %d are left", ErrFormat, length, len(b))
		}
		if binary.LittleEndian.Uint16(b[6:]) == winPKCS {
			list = append(list, b[winHeader:length])
		}
		b = b[min(length+padding(length), int64(len(b))):]
	}
	return list, nil
}

// appendSignature returns the image, which has no signatures, with one.
func appendSignature(image []byte, p *program, signature []byte) []byte {
	le := binary.LittleEndian
	out := bytes.NewBuffer(append(slices.Clone(image), make([]byte, padding(p.end))...))
	at := out.Len()
	var header [winHeader]byte
	le.PutUint32(header[:], uint32(winHeader+len(signature)))
	le.PutUint16(header[4:], winRevision)
	le.PutUint16(header[6:], winPKCS)
	out.Write(header[:])
	out.Write(signature)
	out.Write(make([]byte, padding(int64(out.Len()))))
	b := out.Bytes()
	le.PutUint32(b[p.directory:], uint32(at))
	le.PutUint32(b[p.directory+4:], uint32(len(b)-at))
	le.PutUint32(b[p.checksum:], checksum(b, p.checksum))
	return b
}

// checksum is the one of the PE format: the ones' complement sum of the 16-bit words,
// without the field itself at an even offset, plus the length.
func checksum(b []byte, field int64) uint32 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		if int64(i) == field || int64(i) == field+2 {
			continue
		}
		sum += uint32(binary.LittleEndian.Uint16(b[i:]))
		sum = sum&0xffff + sum>>16
	}
	return sum + uint32(len(b))
}
