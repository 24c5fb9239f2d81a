package uki

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/digital-mycelium/os/pkg/update/pieces"
)

// NamedFile is a file that a firmware reads by its name.
type NamedFile struct {
	Name    string
	Content []byte
}

// Piecewise is what an OS file of pieces is made of, for firmwares that read a kernel
// and what belongs to it as files.
type Piecewise struct {
	// Parts' stub is not used: no EFI firmware starts the file.
	Parts
	// Machine is the COFF machine type.
	Machine uint16
	// Files are the firmware's own, and device trees.
	Files []NamedFile
	// The names of the other pieces.
	CmdLineName, InitrdName, LinuxName string
}

// headName is the name of the first piece, with what the file says of itself.
const headName = "os.head"

// BuildPieces returns a file that has the sections of a unified kernel image, so that
// what reads those reads it too, and is a file of pieces (package pieces). The section
// .files holds all of Files.
func BuildPieces(p Piecewise) ([]byte, error) {
	w := pieceWriter{image: make([]byte, pieces.Page)}
	w.section(".osrel", []byte(p.OSRelease))
	w.section(".uname", []byte(p.Uname))
	w.list = []pieces.Piece{{Name: headName, Size: int64(len(w.image))}}
	w.piece(p.CmdLineName, ".cmdline", []byte(p.CmdLine))
	at := w.begin()
	for _, f := range p.Files {
		w.add(f.Name, f.Content)
	}
	w.header(".files", at, len(w.image)-at)
	w.piece(p.InitrdName, ".initrd", p.Initrd)
	w.piece(p.LinuxName, ".linux", p.Linux)
	if w.err != nil {
		return nil, w.err
	}
	list, err := pieces.Format(w.list)
	if err != nil {
		return nil, err
	}
	copy(w.image[pieces.ListAt:], list)
	w.finish(p.Machine)
	return w.image, nil
}

// pieceWriter puts the image together. Each section has its place in the file for its
// address.
type pieceWriter struct {
	image []byte
	list  []pieces.Piece
	count int
	err   error
}

const (
	pieceDOS      = 64
	pieceCOFF     = pieceDOS + 4
	pieceOptional = pieceCOFF + coffSize
	pieceTable    = pieceOptional + optionalSize + 16*8
)

// begin pads the image and returns where the next thing goes.
func (w *pieceWriter) begin() int {
	n := int(alignUp(uint64(len(w.image)), pieces.Page))
	w.image = append(w.image, make([]byte, n-len(w.image))...)
	return n
}

// section appends a section.
func (w *pieceWriter) section(name string, data []byte) {
	at := w.begin()
	w.image = append(w.image, data...)
	w.header(name, at, len(data))
	w.begin()
}

// piece appends a section that is a piece.
func (w *pieceWriter) piece(name, section string, data []byte) {
	at := w.begin()
	w.add(name, data)
	w.header(section, at, len(data))
}

// add appends a piece.
func (w *pieceWriter) add(name string, data []byte) {
	w.image = append(w.image, data...)
	w.list = append(w.list, pieces.Piece{Name: name, Size: int64(len(data))})
	w.begin()
}

// header adds the header of the section at a place.
func (w *pieceWriter) header(name string, at, size int) {
	entry := pieceTable + w.count*sectionSize
	switch {
	case size == 0:
		w.err = errors.Join(w.err, fmt.Errorf("section %s is empty", name))
	case entry+sectionSize > pieces.ListAt:
		w.err = errors.Join(w.err, errors.New("too many sections"))
	}
	if w.err != nil {
		return
	}
	le, h := binary.LittleEndian, w.image[entry:][:sectionSize]
	copy(h[:8], name)
	le.PutUint32(h[8:], uint32(size))
	le.PutUint32(h[12:], uint32(at))
	le.PutUint32(h[16:], uint32(alignUp(uint64(size), pieces.Page)))
	le.PutUint32(h[20:], uint32(at))
	le.PutUint32(h[36:], dataFlags)
	w.count++
}

// finish fills in the headers.
func (w *pieceWriter) finish(machine uint16) {
	w.begin()
	le, b := binary.LittleEndian, w.image
	copy(b, "MZ")
	le.PutUint32(b[60:], pieceDOS)
	copy(b[pieceDOS:], "PE\x00\x00")
	le.PutUint16(b[pieceCOFF:], machine)
	le.PutUint16(b[pieceCOFF+2:], uint16(w.count))
	le.PutUint16(b[pieceCOFF+16:], pieceTable-pieceOptional)
	le.PutUint16(b[pieceCOFF+18:], 0x22e) // executable, large addresses, stripped
	opt := b[pieceOptional:]
	le.PutUint16(opt, peMagic)
	le.PutUint32(opt[offInitializedData:], uint32(len(b)-pieces.Page))
	le.PutUint32(opt[offSectionAlignment:], pieces.Page)
	le.PutUint32(opt[offFileAlignment:], pieces.Page)
	le.PutUint32(opt[offSizeOfImage:], uint32(len(b)))
	le.PutUint32(opt[offSizeOfHeaders:], pieces.Page)
	le.PutUint32(opt[offDirectoryCount:], 16)
}
