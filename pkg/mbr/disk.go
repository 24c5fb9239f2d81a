package mbr

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

const (
	signatureAt = 440
	entriesAt   = 446
	entrySize   = 16
	magicAt     = 510
)

// Read reads the table of a disk of diskBytes bytes. It returns ErrNoTable when there
// is none, or one that only protects a GUID partition table.
func Read(r io.ReaderAt, diskBytes int64) (*Table, error) {
	t, err := readPrimaries(r)
	if err != nil {
		return nil, err
	}
	if err := t.readLogical(r); err != nil {
		return nil, fmt.Errorf("read the partition table: %w", err)
	}
	return t.checked(diskBytes)
}

// ReadPrimaries is Read for the first sector alone: without the logical partitions.
func ReadPrimaries(r io.ReaderAt, diskBytes int64) (*Table, error) {
	t, err := readPrimaries(r)
	if err != nil {
		return nil, err
	}
	return t.checked(diskBytes)
}

func (t *Table) checked(diskBytes int64) (*Table, error) {
	if err := t.check(diskBytes); err != nil {
		return nil, fmt.Errorf("read the partition table: %w", err)
	}
	return t, nil
}

func readPrimaries(r io.ReaderAt) (*Table, error) {
	sector, err := readSector(r, 0)
	if err != nil {
		return nil, err
	}
	t := &Table{Signature: binary.LittleEndian.Uint32(sector[signatureAt:])}
	for i := range primaries {
		e := sector[entriesAt+i*entrySize:][:entrySize]
		p := decode(e, i+1, 0)
		switch {
		case e[0]&0x7f != 0: // a boot sector of another kind
			return nil, ErrNoTable
		case p.Type == protective:
			return nil, ErrNoTable
		case p.Type != 0:
			t.Partitions = append(t.Partitions, p)
		}
	}
	return t, nil
}

// readLogical follows the chain of logical partitions.
func (t *Table) readLogical(r io.ReaderAt) error {
	ext, ok := t.extended()
	if !ok {
		return nil
	}
	at := ext.First
	for number := firstLogical; number-firstLogical < maxLogical; number++ {
		sector, err := readSector(r, at)
		if err != nil {
			return fmt.Errorf("the link to partition %d: %w", number, err)
		}
		p := decode(sector[entriesAt:], number, at)
		if p.Type == 0 && number == firstLogical {
			return nil // an extended partition without any
		}
		t.Partitions = append(t.Partitions, p)
		next := decode(sector[entriesAt+entrySize:], 0, ext.First)
		if next.Type == 0 {
			return nil
		}
		at = next.First
	}
	return fmt.Errorf("more than %d logical partitions", maxLogical)
}

// readSector reads a sector that has the magic number.
func readSector(r io.ReaderAt, at uint32) ([]byte, error) {
	b := make([]byte, sectorSize)
	if n, err := r.ReadAt(b, int64(at)*sectorSize); n < len(b) {
		return nil, fmt.Errorf("read sector %d: %w", at, err)
	}
	if b[magicAt] != 0x55 || b[magicAt+1] != 0xaa {
		return nil, fmt.Errorf("sector %d: %w", at, ErrNoTable)
	}
	return b, nil
}

// decode reads an entry whose first sector counts from base.
func decode(e []byte, number int, base uint32) Partition {
	le := binary.LittleEndian
	return Partition{Number: number, Type: e[4], First: base + le.Uint32(e[8:]), Sectors: le.Uint32(e[12:])}
}

// Write stores the table on a disk of diskBytes bytes. Every step is one sector, and
// when w has a Sync method it is called behind each, so that a power cut while a
// logical partition is appended, or the last one made longer, leaves a whole table, the
// old or the new: first the extended partition is long enough, then the new link is
// there, then the one that leads to it.
func (t *Table) Write(w io.WriterAt, diskBytes int64) error {
	err := t.check(diskBytes)
	if err == nil {
		err = t.freeLinks()
	}
	if err != nil {
		return fmt.Errorf("write the partition table: %w", err)
	}
	if err := writeSector(w, 0, t.first()); err != nil {
		return err
	}
	for i, p := range slices.Backward(t.Partitions) {
		if !p.logical() {
			continue
		}
		var next *Partition
		if i+1 < len(t.Partitions) {
			next = &t.Partitions[i+1]
		}
		if err := writeSector(w, t.link(p), t.chain(p, next)); err != nil {
			return err
		}
	}
	if ext, ok := t.extended(); ok && t.Partitions[len(t.Partitions)-1].Number < firstLogical {
		return writeSector(w, ext.First, make([]byte, sectorSize))
	}
	return nil
}

func writeSector(w io.WriterAt, at uint32, sector []byte) error {
	sector[magicAt], sector[magicAt+1] = 0x55, 0xaa
	if _, err := w.WriteAt(sector, int64(at)*sectorSize); err != nil {
		return fmt.Errorf("write sector %d of the partition table: %w", at, err)
	}
	if s, ok := w.(interface{ Sync() error }); ok {
		if err := s.Sync(); err != nil {
			return fmt.Errorf("sync the partition table: %w", err)
		}
	}
	return nil
}

// first returns the disk's first sector, without boot code.
func (t *Table) first() []byte {
	b := make([]byte, sectorSize)
	binary.LittleEndian.PutUint32(b[signatureAt:], t.Signature)
	for _, p := range t.Partitions {
		if !p.logical() {
			encode(b[entriesAt+(p.Number-1)*entrySize:], p, 0)
		}
	}
	return b
}

// chain returns the sector with the entry of p and the link to next, if any.
func (t *Table) chain(p Partition, next *Partition) []byte {
	b := make([]byte, sectorSize)
	encode(b[entriesAt:], p, t.link(p))
	if next != nil {
		ext, _ := t.extended()
		at := t.link(*next)
		link := Partition{Type: 0x05, First: at, Sectors: uint32(next.end() - uint64(at))}
		encode(b[entriesAt+entrySize:], link, ext.First)
	}
	return b
}

// encode writes an entry. The addresses by cylinder say "beyond": nothing reads them.
func encode(e []byte, p Partition, base uint32) {
	le := binary.LittleEndian
	copy(e, []byte{0, 0xfe, 0xff, 0xff, p.Type, 0xfe, 0xff, 0xff})
	le.PutUint32(e[8:], p.First-base)
	le.PutUint32(e[12:], p.Sectors)
}
