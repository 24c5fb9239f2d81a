package uki

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits that a file must keep for Parse to look further.
const (
	maxSections  = 96 // as Windows' loader
	maxHeaders   = 64 << 10
	peMagic      = 0x20b // PE32+
	dosSize      = 64
	coffSize     = 20
	optionalSize = 112 // PE32+ without data directories
	sectionSize  = 40
	certificates = 4 // index of the certificate table among the data directories
)

// Offsets in the optional header (Microsoft PE format, "Optional Header").
const (
	offInitializedData  = 8
	offSectionAlignment = 32
	offFileAlignment    = 36
	offSizeOfImage      = 56
	offSizeOfHeaders    = 60
	offCheckSum         = 64
	offDirectoryCount   = 108
	offDirectories      = optionalSize
)

// ErrFormat says that a file is not a PE32+ image, or a broken one.
var ErrFormat = errors.New("not a valid PE32+ image")

// Section is one section of a PE image.
type Section struct {
	// Name is at most eight bytes, e.g. ".linux".
	Name string
	// Address is where the loader puts it, relative to the image.
	Address uint32
	// Size is its length in memory in bytes; what the file holds beyond that is padding.
	Size uint32
	// Offset and FileSize are where its bytes lie in the file. FileSize may
	// be smaller than Size (the rest reads as zeros) or larger (padding).
	Offset, FileSize uint32
	// Flags are the section's characteristics.
	Flags uint32
}

// File is a PE image that is being read.
type File struct {
	Sections []Section
	// Machine is the COFF machine type, 0x8664 (amd64) or 0xaa64 (arm64).
	Machine uint16

	r       io.ReaderAt
	size    int64
	coff    int // offset of the COFF header
	headers []byte
}

// optional returns the optional header within the headers.
func (f *File) optional() []byte { return f.headers[f.coff+coffSize:] }

// sectionTable returns the offset of the first section header.
func (f *File) sectionTable() int {
	return f.coff + coffSize + int(binary.LittleEndian.Uint16(f.headers[f.coff+16:]))
}

// Parse reads the headers of the PE image of size bytes in r and checks that
// every section lies inside the file. The File reads from r as long as it is used.
func Parse(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size, headers: make([]byte, min(max(size, 0), maxHeaders))}
	if n, err := r.ReadAt(f.headers, 0); n < len(f.headers) {
		return nil, fmt.Errorf("read PE headers: %w", err)
	}
	le := binary.LittleEndian
	if len(f.headers) < dosSize || string(f.headers[:2]) != "MZ" {
		return nil, fmt.Errorf("%w: no MZ header", ErrFormat)
	}
	pe := int64(le.Uint32(f.headers[60:]))
	if pe+4+coffSize+optionalSize > int64(len(f.headers)) || string(f.headers[pe:pe+4]) != "PE\x00\x00" {
		return nil, fmt.Errorf("%w: no PE header", ErrFormat)
	}
	f.coff = int(pe) + 4
	f.Machine = le.Uint16(f.headers[f.coff:])
	count := int(le.Uint16(f.headers[f.coff+2:]))
	optional := int(le.Uint16(f.headers[f.coff+16:]))
	table := f.coff + coffSize + optional
	if optional < optionalSize || count > maxSections || table+count*sectionSize > len(f.headers) {
		return nil, fmt.Errorf("%w: %d sections behind an optional header of %d bytes", ErrFormat, count, optional)
	}
	if magic := le.Uint16(f.optional()); magic != peMagic {
		return nil, fmt.Errorf("%w: optional header of kind %#x", ErrFormat, magic)
	}
	if n := le.Uint32(f.optional()[offDirectoryCount:]); n > 16 || optionalSize+int(n)*8 > optional {
		return nil, fmt.Errorf("%w: %d data directories in an optional header of %d bytes", ErrFormat, n, optional)
	}
	return f, f.parseSections(table, count)
}

func (f *File) parseSections(table, count int) error {
	le := binary.LittleEndian
	for i := range count {
		h := f.headers[table+i*sectionSize:][:sectionSize]
		s := Section{
			Name:    string(bytes.TrimRight(h[:8], "\x00")),
			Size:    le.Uint32(h[8:]),
			Address: le.Uint32(h[12:]), FileSize: le.Uint32(h[16:]), Offset: le.Uint32(h[20:]),
			Flags: le.Uint32(h[36:]),
		}
		if int64(s.Offset)+int64(s.FileSize) > f.size {
			return fmt.Errorf("%w: section %q ends at %d of %d bytes", ErrFormat, s.Name, int64(s.Offset)+int64(s.FileSize), f.size)
		}
		f.Sections = append(f.Sections, s)
	}
	return nil
}

// Section returns a reader of the named section's bytes without the padding,
// or an error when there is none or more than one.
func (f *File) Section(name string) (*io.SectionReader, error) {
	var found *Section
	for i := range f.Sections {
		if f.Sections[i].Name != name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("section %s: there are two", name)
		}
		found = &f.Sections[i]
	}
	if found == nil {
		return nil, fmt.Errorf("section %s: there is none", name)
	}
	return io.NewSectionReader(f.r, int64(found.Offset), int64(min(found.Size, found.FileSize))), nil
}

// ReadSection returns the named section's bytes without the padding.
func (f *File) ReadSection(name string) ([]byte, error) {
	r, err := f.Section(name)
	if err != nil {
		return nil, err
	}
	b := make([]byte, r.Size())
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read section %s: %w", name, err)
	}
	return b, nil
}

// checksum returns the checksum that belongs in image's optional header: the
// ones' complement sum of its 16-bit words, with the field itself taken as
// zero, plus the length.
func (f *File) checksum(image []byte) uint32 {
	field := f.coff + coffSize + offCheckSum
	var sum uint64
	for i := 0; i+1 < len(image); i += 2 {
		if i == field || i == field+2 {
			continue
		}
		sum += uint64(binary.LittleEndian.Uint16(image[i:]))
	}
	if len(image)%2 == 1 {
		sum += uint64(image[len(image)-1])
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint32(sum) + uint32(len(image))
}
