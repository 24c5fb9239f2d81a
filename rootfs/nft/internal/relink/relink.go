// Package relink turns a shared object into assembler source, so that it can
// be linked into a static program.
//
// Debian ships some libraries only as shared objects. Such an object is
// position-independent code in segments at fixed distances, plus a table of
// places that the dynamic linker fills in. Convert writes both out again: the
// segments as bytes, each place as an expression that the static linker
// resolves. The program must be linked with the two sections at the addresses
// that LinkFlags says, because the code reaches its data by distance.
//
// Supported is what libraries in C consist of: relative, absolute, GLOB_DAT
// and JUMP_SLOT relocations. Thread-local variables, indirect functions and
// constructors are refused, the compiler's own empty ones apart.
package relink

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
)

// Base is the address that the read-only part is linked at: beyond what
// a static program has there and below 2 GiB, which its code can reach.
const Base = 0x10000000

// Object is a converted shared object.
type Object struct {
	// Assembler is the source, which includes the file "text.bin" and "data.bin".
	Assembler []byte
	// Text and Data are the contents of these files.
	Text, Data []byte

	dataAddress uint64
}

// LinkFlags returns what the compiler must pass to the linker.
func (o *Object) LinkFlags() []string {
	return []string{
		fmt.Sprintf("-Wl,--section-start=.so_text=%#x", Base),
		fmt.Sprintf("-Wl,--section-start=.so_data=%#x", Base+o.dataAddress),
	}
}

// slot is a place of eight bytes in the data that the linker fills in.
type slot struct {
	offset uint64
	// symbol is empty for an address within the object.
	symbol string
	addend int64
	weak   bool
}

// Convert reads a shared object for x86-64 or AArch64.
func Convert(r io.ReaderAt) (*Object, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, err
	}
	if f.Type != elf.ET_DYN || f.Class != elf.ELFCLASS64 || f.ByteOrder != binary.LittleEndian {
		return nil, fmt.Errorf("not a 64-bit little-endian shared object")
	}
	text, data, err := segments(f)
	if err != nil {
		return nil, err
	}
	if err := checkConstructors(f); err != nil {
		return nil, err
	}
	dyn, err := f.DynamicSymbols()
	if err != nil {
		return nil, err
	}
	for _, sym := range dyn {
		if sym.Section != elf.SHN_UNDEF && elf.ST_TYPE(sym.Info) == elf.STT_GNU_IFUNC {
			return nil, fmt.Errorf("symbol %s: indirect functions are not supported", sym.Name)
		}
	}
	slots, err := relocations(f, dyn)
	if err != nil {
		return nil, err
	}
	o := &Object{Text: text, Data: data.bytes, dataAddress: data.address}
	o.Assembler, err = assembler(slots, dyn, data, uint64(len(text)))
	return o, err
}

// segment is a loaded part with its address.
type segment struct {
	address uint64
	bytes   []byte
}

// end returns the address after the segment.
func (s segment) end() uint64 { return s.address + uint64(len(s.bytes)) }

// maxSize bounds a segment, in bytes; real ones are a few MiB.
const maxSize = 64 << 20

// segments returns everything that is read-only as one piece from address 0,
// and the one writable segment.
func segments(f *elf.File) (text []byte, data segment, err error) {
	for _, p := range f.Progs {
		switch {
		case p.Type == elf.PT_TLS:
			return nil, data, errors.New("thread-local variables are not supported")
		case p.Type != elf.PT_LOAD:
			continue
		case p.Memsz > maxSize || p.Vaddr > maxSize || p.Filesz > p.Memsz:
			return nil, data, fmt.Errorf("segment at %#x: implausible size", p.Vaddr)
		}
		b := make([]byte, p.Memsz)
		if _, err := io.ReadFull(io.NewSectionReader(p, 0, int64(p.Filesz)), b[:p.Filesz]); err != nil {
			return nil, data, fmt.Errorf("segment at %#x: %w", p.Vaddr, err)
		}
		switch {
		case p.Flags&elf.PF_W != 0 && data.bytes != nil:
			return nil, data, errors.New("more than one writable segment")
		case p.Flags&elf.PF_W != 0:
			data = segment{p.Vaddr, b}
		case data.bytes != nil || p.Vaddr < uint64(len(text)):
			return nil, data, errors.New("segments in an unusual order")
		default:
			text = append(text, make([]byte, p.Vaddr-uint64(len(text)))...)
			text = append(text, b...)
		}
	}
	if text == nil || data.bytes == nil {
		return nil, data, errors.New("no read-only or no writable segment")
	}
	if data.address < uint64(len(text)) || data.address%8 != 0 {
		return nil, data, fmt.Errorf("writable segment at unusual address %#x", data.address)
	}
	blank(f, text)
	return text, data, nil
}

// blank clears what only the dynamic linker and debuggers read.
func blank(f *elf.File, text []byte) {
	for _, s := range f.Sections {
		name := s.Name
		if s.Flags&elf.SHF_ALLOC == 0 || s.Flags&elf.SHF_WRITE != 0 || s.Addr+s.Size > uint64(len(text)) || s.Addr+s.Size < s.Addr {
			continue
		}
		if s.Type == elf.SHT_NOTE || strings.HasPrefix(name, ".gnu.") || strings.HasPrefix(name, ".dyn") ||
			s.Type == elf.SHT_RELA || //nolint:misspell // ELF says RELA
			strings.HasPrefix(name, ".eh_frame") {
			clear(text[s.Addr : s.Addr+s.Size])
		}
	}
	clear(text[:min(64, len(text))]) // the ELF header
}

// checkConstructors refuses an object whose constructors do something: there
// are more than those that the compiler adds to each and that may be left out
// (frame_dummy and, on AArch64, init_have_lse_atomics, which chooses faster
// instructions).
func checkConstructors(f *elf.File) error {
	allowed := map[string]uint64{".init_array": 8, ".fini_array": 8}
	if f.Machine == elf.EM_AARCH64 {
		allowed[".init_array"] = 16
	}
	for name, size := range allowed {
		if s := f.Section(name); s != nil && s.Size > size {
			return fmt.Errorf("section %s: constructors are not supported", name)
		}
	}
	return nil
}

// shtRELR is the type of sections with packed relative relocations (gABI).
const shtRELR elf.SectionType = 19

// kinds of relocations, by machine: those that are an address in the object,
// and those that are the address of a symbol.
var kinds = map[elf.Machine]struct {
	relative uint32
	symbolic []uint32
}{
	elf.EM_X86_64: {
		uint32(elf.R_X86_64_RELATIVE),
		[]uint32{uint32(elf.R_X86_64_64), uint32(elf.R_X86_64_GLOB_DAT), uint32(elf.R_X86_64_JMP_SLOT)},
	},
	elf.EM_AARCH64: {
		uint32(elf.R_AARCH64_RELATIVE),
		[]uint32{uint32(elf.R_AARCH64_ABS64), uint32(elf.R_AARCH64_GLOB_DAT), uint32(elf.R_AARCH64_JUMP_SLOT)},
	},
}

// relocations returns what the dynamic linker would fill in, by address.
func relocations(f *elf.File, dyn []elf.Symbol) ([]slot, error) {
	kind, ok := kinds[f.Machine]
	if !ok {
		return nil, fmt.Errorf("machine %v is not supported", f.Machine)
	}
	var slots []slot
	for _, s := range f.Sections {
		if s.Type == shtRELR {
			return nil, errors.New("packed relative relocations are not supported")
		}
		if s.Type != elf.SHT_RELA || s.Flags&elf.SHF_ALLOC == 0 { //nolint:misspell // ELF says RELA
			continue
		}
		b, err := s.Data()
		if err != nil {
			return nil, fmt.Errorf("section %s: %w", s.Name, err)
		}
		for ; len(b) >= 24; b = b[24:] {
			info := binary.LittleEndian.Uint64(b[8:])
			rel := slot{offset: binary.LittleEndian.Uint64(b), addend: int64(binary.LittleEndian.Uint64(b[16:]))}
			typ, index := uint32(info), info>>32
			switch {
			case typ == kind.relative:
			case !oneOf(kind.symbolic, typ):
				return nil, fmt.Errorf("relocation type %d is not supported", typ)
			case index == 0 || index > uint64(len(dyn)):
				return nil, fmt.Errorf("relocation at %#x: no symbol %d", rel.offset, index)
			default:
				if err := rel.resolve(dyn[index-1]); err != nil {
					return nil, err
				}
			}
			slots = append(slots, rel)
		}
	}
	sort.Slice(slots, func(i, j int) bool { return slots[i].offset < slots[j].offset })
	return slots, nil
}

// resolve makes s refer to the symbol: by name, or by address if it is ours.
func (s *slot) resolve(sym elf.Symbol) error {
	if sym.Section != elf.SHN_UNDEF {
		s.addend += int64(sym.Value)
		return nil
	}
	if !validSymbol(sym.Name) {
		return fmt.Errorf("symbol %q: unusual name", sym.Name)
	}
	s.symbol, s.weak = sym.Name, elf.ST_BIND(sym.Info) == elf.STB_WEAK
	return nil
}

func oneOf(list []uint32, v uint32) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}

// validSymbol says whether a name can stand in assembler source.
func validSymbol(s string) bool {
	for _, c := range s {
		if c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != "" && (s[0] < '0' || s[0] > '9')
}

// assembler writes the source.
func assembler(slots []slot, dyn []elf.Symbol, data segment, textSize uint64) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(".section .so_text,\"axR\",%progbits\n.balign 4096\nso_text:\n.incbin \"text.bin\"\n")
	b.WriteString(".section .so_data,\"awR\",%progbits\n.balign 8\nso_data:\n")
	at := data.address
	copyTo := func(end uint64) {
		if end > at {
			fmt.Fprintf(&b, ".incbin \"data.bin\",%d,%d\n", at-data.address, end-at)
		}
	}
	local := func(address uint64) (string, error) {
		switch {
		case address >= data.address && address <= data.end():
			return fmt.Sprintf("so_data+%d", address-data.address), nil
		case address < textSize:
			return fmt.Sprintf("so_text+%d", address), nil
		}
		return "", fmt.Errorf("address %#x is outside of the object", address)
	}
	for _, s := range slots {
		if s.offset < at || s.offset+8 > data.end() {
			return nil, fmt.Errorf("relocation at %#x is outside of the data", s.offset)
		}
		copyTo(s.offset)
		value := fmt.Sprintf("%s+%d", s.symbol, s.addend)
		if s.symbol == "" {
			var err error
			if value, err = local(uint64(s.addend)); err != nil {
				return nil, err
			}
		}
		if s.weak {
			fmt.Fprintf(&b, ".weak %s\n", s.symbol)
		}
		fmt.Fprintf(&b, ".quad %s\n", value)
		at = s.offset + 8
	}
	copyTo(data.end())
	for _, sym := range dyn {
		if sym.Section == elf.SHN_UNDEF || elf.ST_TYPE(sym.Info) != elf.STT_FUNC && elf.ST_TYPE(sym.Info) != elf.STT_OBJECT || !validSymbol(sym.Name) {
			continue
		}
		value, err := local(sym.Value)
		if err != nil {
			return nil, fmt.Errorf("symbol %s: %w", sym.Name, err)
		}
		fmt.Fprintf(&b, ".globl %s\n.set %s, %s\n", sym.Name, sym.Name, value)
	}
	b.WriteString(".section .note.GNU-stack,\"\",%progbits\n")
	return b.Bytes(), nil
}
