// Package linetable takes the tables that map program counters to source lines
// out of Go programs. They are a fifth of a program's compressed size and serve
// tracebacks and log headers alone. Function names, stack maps and unwinding
// stay: a traceback still says which function, and how far into it:
//
//	panic: ...
//	main.work(...)
//		?:0 +0x1d
//
// The builds are reproducible, so the unstripped program of the same commit
// resolves such an offset to its line: see Resolve.
//
// The layout is that of Go 1.20 to 1.26 (runtime/symtab.go, type pcHeader;
// runtime/runtime2.go, type _func). Strip refuses any other.
package linetable

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// ErrFormat says that a program's tables are not laid out as Strip expects.
var ErrFormat = errors.New("unknown layout of the program's function table")

const (
	magic      = 0xfffffff1 // since Go 1.20
	headerSize = 8 + 8*8
	funcSize   = 44 // of _func without its arrays
	// Offsets in _func.
	offPCSP, offPCFile, offPCLine, offPCDataCount = 16, 20, 24, 28
	offCompileUnit, offStartLine                  = 32, 36
)

// newest is the last Go release whose layout is known to be the one above.
const newest = 26

// Strip removes the line tables of the 64-bit little-endian Go program in
// image, in place: the length stays, what is removed becomes zeros. It returns
// the number of bytes that became zero.
func Strip(image []byte) (int, error) {
	if err := checkVersion(image); err != nil {
		return 0, err
	}
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	s := f.Section(".gopclntab")
	if s == nil || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB {
		return 0, fmt.Errorf("%w: no 64-bit little-endian .gopclntab", ErrFormat)
	}
	if s.Offset > uint64(len(image)) || s.FileSize > uint64(len(image))-s.Offset {
		return 0, fmt.Errorf("%w: .gopclntab lies outside the file", ErrFormat)
	}
	return strip(image[s.Offset : s.Offset+s.FileSize])
}

// checkVersion refuses programs of a Go release that is not known.
func checkVersion(image []byte) error {
	info, err := buildinfo.Read(bytes.NewReader(image))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	var minor int
	if _, err := fmt.Sscanf(strings.TrimPrefix(info.GoVersion, "go"), "1.%d", &minor); err != nil || minor < 20 || minor > newest {
		return fmt.Errorf("%w: built with %s, known are Go 1.20 to 1.%d: compare runtime/symtab.go and runtime2.go, then adapt", ErrFormat, info.GoVersion, newest)
	}
	return nil
}

// strip does the work on the function table.
func strip(table []byte) (int, error) {
	le := binary.LittleEndian
	if len(table) < headerSize || le.Uint32(table) != magic || table[7] != 8 {
		return 0, fmt.Errorf("%w: wrong header", ErrFormat)
	}
	field := func(i int) uint64 { return le.Uint64(table[8+8*i:]) }
	count, cu, files, pctab, funcs := field(0), field(4), field(5), field(6), field(7)
	size := uint64(len(table))
	if cu > files || files > pctab || pctab > funcs || funcs > size || count > (size-funcs)/8 {
		return 0, fmt.Errorf("%w: parts out of order", ErrFormat)
	}
	t := tables{pc: table[pctab:funcs], funcs: table[funcs:], used: make([]bool, funcs-pctab)}
	before := zeros(table)
	for i := range count {
		if err := t.function(uint64(le.Uint32(t.funcs[8*i+4:]))); err != nil {
			return 0, fmt.Errorf("function %d: %w", i, err)
		}
	}
	for i, used := range t.used {
		if !used {
			t.pc[i] = 0
		}
	}
	clear(table[cu:pctab]) // compile units' files and the files' names
	return zeros(table) - before, nil
}

// tables are the parts that functions refer to.
type tables struct {
	pc    []byte // sequences of (value, program counter) steps
	funcs []byte
	used  []bool // bytes of pc that are still needed
}

// function removes the line tables of the function whose _func stands at off,
// and notes which sequences it needs for unwinding and stack maps.
func (t *tables) function(off uint64) error {
	if off > uint64(len(t.funcs)) || uint64(len(t.funcs))-off < funcSize {
		return fmt.Errorf("%w: function outside the table", ErrFormat)
	}
	le, fn := binary.LittleEndian, t.funcs[off:]
	n := uint64(le.Uint32(fn[offPCDataCount:]))
	if n > uint64(len(fn)-funcSize)/4 {
		return fmt.Errorf("%w: %d tables", ErrFormat, n)
	}
	if err := t.need(le.Uint32(fn[offPCSP:])); err != nil {
		return err
	}
	for k := range n {
		if err := t.need(le.Uint32(fn[funcSize+4*k:])); err != nil {
			return err
		}
	}
	// An offset of 0 is "no table": the runtime then says "?" and 0.
	for _, at := range []int{offPCFile, offPCLine, offCompileUnit, offStartLine} {
		le.PutUint32(fn[at:], 0)
	}
	return nil
}

// need marks the sequence at off as used. It ends with a value step of 0 that
// is not its first (runtime/symtab.go, step).
func (t *tables) need(off uint32) error {
	if off == 0 {
		return nil
	}
	first := true
	for at := uint64(off); ; first = false {
		value, n := binary.Uvarint(t.tail(at))
		if n <= 0 {
			return fmt.Errorf("%w: sequence without an end", ErrFormat)
		}
		t.mark(at, n)
		at += uint64(n)
		if value == 0 && !first {
			return nil
		}
		_, n = binary.Uvarint(t.tail(at))
		if n <= 0 {
			return fmt.Errorf("%w: sequence without an end", ErrFormat)
		}
		t.mark(at, n)
		at += uint64(n)
	}
}

func (t *tables) tail(at uint64) []byte { return t.pc[min(at, uint64(len(t.pc))):] }

func (t *tables) mark(at uint64, n int) {
	for i := range n {
		t.used[at+uint64(i)] = true
	}
}

func zeros(b []byte) (n int) {
	for _, c := range b {
		if c == 0 {
			n++
		}
	}
	return n
}
