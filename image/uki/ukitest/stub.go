// Package ukitest makes boot stubs for tests: PE images that parse and do nothing.
package ukitest

import (
	"bytes"
	"encoding/binary"
)

// Stub returns a small PE32+ image for amd64 with a .text section of 100 bytes
// and room for the given number of further section headers; alignment in the
// file may leave room for more.
func Stub(room int) []byte {
	const (
		lfanew       = 64
		coff         = lfanew + 4
		optional     = coff + 20
		optionalSize = 112 + 16*8
		table        = optional + optionalSize
		sectionSize  = 40
		alignment    = 512
	)
	le := binary.LittleEndian
	headers := (table + sectionSize*(room+1) + alignment - 1) / alignment * alignment
	b := make([]byte, headers+alignment)
	copy(b, "MZ")
	le.PutUint32(b[60:], lfanew)
	copy(b[lfanew:], "PE\x00\x00")
	le.PutUint16(b[coff:], 0x8664)
	le.PutUint16(b[coff+2:], 1)
	le.PutUint16(b[coff+16:], optionalSize)
	le.PutUint16(b[coff+18:], 0x206)
	opt := b[optional:]
	le.PutUint16(opt[0:], 0x20b)
	le.PutUint32(opt[4:], alignment)
	le.PutUint32(opt[16:], 0x1000)
	le.PutUint32(opt[20:], 0x1000)
	le.PutUint32(opt[32:], 0x1000)
	le.PutUint32(opt[36:], alignment)
	le.PutUint32(opt[56:], 0x2000)
	le.PutUint32(opt[60:], uint32(headers))
	le.PutUint16(opt[68:], 10)
	le.PutUint32(opt[108:], 16)
	sec := b[table:]
	copy(sec, ".text")
	le.PutUint32(sec[8:], 100)
	le.PutUint32(sec[12:], 0x1000)
	le.PutUint32(sec[16:], alignment)
	le.PutUint32(sec[20:], uint32(headers))
	le.PutUint32(sec[36:], 0x60000020)
	copy(b[headers:], bytes.Repeat([]byte{0xc3}, 100))
	return b
}
