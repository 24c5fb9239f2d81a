// Package uki builds and reads unified kernel images: one PE file made of
// systemd's boot stub and, as further sections, the kernel, its command line,
// the initramfs and the OS release (Unified Kernel Image specification of the
// UAPI Group).
package uki

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Parts is what a unified kernel image is made of. Stub, Linux and Initrd are
// whole files.
type Parts struct {
	Stub      []byte
	OSRelease string
	CmdLine   string
	// Uname is the kernel's release, as uname -r says.
	Uname  string
	Linux  []byte
	Initrd []byte
	// BIOS adds the script by which GRUB starts the image on machines without UEFI.
	BIOS bool
}

const (
	pageSize = 4096
	// Every section that the stub reads holds data and is read-only.
	dataFlags = 0x40000040
	// signatureAlignment is what a certificate table must begin on.
	signatureAlignment = 8
)

// Build returns the image. The same parts give the same bytes. The file's
// length is a multiple of eight, so that a certificate table can be appended.
func Build(p Parts) ([]byte, error) {
	f, err := Parse(bytes.NewReader(p.Stub), int64(len(p.Stub)))
	if err != nil {
		return nil, fmt.Errorf("read the stub: %w", err)
	}
	// The kernel comes last: when it unpacks itself in place it overwrites
	// what lies behind it.
	sections := []struct {
		name string
		data []byte
	}{
		{".osrel", []byte(p.OSRelease)},
		{".cmdline", []byte(p.CmdLine)},
		{".uname", []byte(p.Uname)},
		{".initrd", p.Initrd},
		{".linux", p.Linux},
	}
	headers := 0
	if p.BIOS {
		headers = scriptEnd
	}
	b, err := newBuilder(f, p.Stub, len(sections), headers)
	if err != nil {
		return nil, fmt.Errorf("make room in the stub's headers: %w", err)
	}
	for _, s := range sections {
		if len(s.data) == 0 {
			return nil, fmt.Errorf("section %s is empty", s.name)
		}
		if err := b.add(s.name, s.data); err != nil {
			return nil, fmt.Errorf("add section %s: %w", s.name, err)
		}
	}
	if p.BIOS {
		if err := b.addGRUBScript(p.CmdLine); err != nil {
			return nil, err
		}
	}
	return b.finish(), nil
}

// builder appends sections to an image.
type builder struct {
	file      *File
	image     []byte
	table     int // offset of the next section header
	count     int
	next      uint64 // address of the next section
	fileAlign uint64
	alignment uint64 // of sections in memory
	added     uint64 // bytes of data added, in whole file alignment units
}

// newBuilder copies the stub without what follows its last section and makes
// room for n more section headers and for headers of a length.
func newBuilder(f *File, stub []byte, n, length int) (*builder, error) {
	le := binary.LittleEndian
	b := &builder{
		file: f, count: len(f.Sections), table: f.sectionTable() + len(f.Sections)*sectionSize,
		fileAlign: uint64(le.Uint32(f.optional()[offFileAlignment:])),
		alignment: uint64(le.Uint32(f.optional()[offSectionAlignment:])),
	}
	if !powerOfTwo(b.fileAlign) || !powerOfTwo(b.alignment) || b.alignment > 1<<20 {
		return nil, fmt.Errorf("%w: alignment %d in the file and %d in memory", ErrFormat, b.fileAlign, b.alignment)
	}
	first, firstAddress, end := uint64(len(stub)), uint64(1<<32), uint64(0)
	for _, s := range f.Sections {
		if s.FileSize > 0 {
			first = min(first, uint64(s.Offset))
			end = max(end, uint64(s.Offset)+uint64(s.FileSize))
		}
		firstAddress = min(firstAddress, uint64(s.Address))
		b.next = max(b.next, uint64(s.Address)+uint64(s.Size))
	}
	if first < uint64(b.table) || end == 0 {
		return nil, fmt.Errorf("%w: section data begin inside the headers", ErrFormat)
	}
	// Move the data back when the table does not fit before them.
	tableEnd := b.table + n*sectionSize
	if length > 0 && tableEnd > scriptAt {
		return nil, fmt.Errorf("%w: %d bytes of section headers reach into the place of GRUB's script", ErrFormat, tableEnd)
	}
	need := alignUp(uint64(max(tableEnd, length)), b.fileAlign)
	var shift uint64
	if need > first {
		shift = alignUp(need-first, b.fileAlign)
	}
	if headers := first + shift; headers > firstAddress {
		return nil, fmt.Errorf("%w: headers of %d bytes reach into the first section", ErrFormat, headers)
	}
	b.image = append(append(append([]byte(nil), stub[:first]...), make([]byte, shift)...), stub[first:end]...)
	clear(b.image[b.table:need])
	for i := range f.Sections {
		at := f.sectionTable() + i*sectionSize + 20
		if f.Sections[i].FileSize > 0 {
			le.PutUint32(b.image[at:], f.Sections[i].Offset+uint32(shift))
		}
	}
	optional := b.optional()
	le.PutUint32(optional[offSizeOfHeaders:], uint32(first+shift))
	if le.Uint32(optional[offDirectoryCount:]) > certificates {
		clear(optional[offDirectories+certificates*8:][:8]) // a signature of the stub alone is void
	}
	return b, nil
}

func (b *builder) optional() []byte { return b.image[b.file.coff+coffSize:] }

// add appends one section.
func (b *builder) add(name string, data []byte) error {
	for _, s := range b.file.Sections {
		if s.Name == name {
			return fmt.Errorf("the stub has one already")
		}
	}
	b.pad(b.fileAlign)
	address := alignUp(b.next, max(b.alignment, pageSize))
	offset, size := uint64(len(b.image)), alignUp(uint64(len(data)), b.fileAlign)
	if address+size > 1<<31 || offset+size > 1<<31 {
		return fmt.Errorf("the image grows beyond 2 GiB")
	}
	le := binary.LittleEndian
	h := b.image[b.table:][:sectionSize]
	copy(h, name)
	le.PutUint32(h[8:], uint32(len(data)))
	le.PutUint32(h[12:], uint32(address))
	le.PutUint32(h[16:], uint32(size))
	le.PutUint32(h[20:], uint32(offset))
	le.PutUint32(h[36:], dataFlags)
	b.image = append(b.image, data...)
	b.pad(b.fileAlign)
	b.table += sectionSize
	b.count++
	b.next = address + uint64(len(data))
	b.added += size
	return nil
}

// finish fills in the headers' totals and the checksum.
func (b *builder) finish() []byte {
	b.pad(max(b.fileAlign, signatureAlignment))
	le := binary.LittleEndian
	le.PutUint16(b.image[b.file.coff+2:], uint16(b.count))
	optional := b.optional()
	le.PutUint32(optional[offInitializedData:], le.Uint32(optional[offInitializedData:])+uint32(b.added))
	le.PutUint32(optional[offSizeOfImage:], uint32(alignUp(b.next, b.alignment)))
	le.PutUint32(optional[offCheckSum:], b.file.checksum(b.image))
	return b.image
}

// pad appends zeros up to a multiple of n.
func (b *builder) pad(n uint64) {
	b.image = append(b.image, make([]byte, alignUp(uint64(len(b.image)), n)-uint64(len(b.image)))...)
}

func alignUp(v, n uint64) uint64 { return (v + n - 1) / n * n }

func powerOfTwo(v uint64) bool { return v != 0 && v&(v-1) == 0 }
