package gpt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

// Write stores both copies and the protective MBR. The backup copy is whole
// before the primary one is touched, each array before its header; when w has a
// Sync method (as *os.File has) it is called between the two and at the end, so
// that after a power cut one copy is whole: the old or the new. When Read found
// the primary copy damaged, that one comes first: the backup is the only one.
func (t *Table) Write(w io.WriterAt) error {
	if err := t.check(); err != nil {
		return fmt.Errorf("write the partition table: %w", err)
	}
	if t.Keeper != nil {
		return t.Keeper.Write(t, w)
	}
	array := t.encodeEntries()
	last := t.sectors - 1
	backup := t.encodeHeader(last, 1, last-t.entrySectors(), array)
	primary := t.encodeHeader(1, last, t.entriesLBA, array)
	type step struct {
		what string
		lba  uint64
		data []byte
	}
	sync := step{}
	steps := []step{
		{"backup entries", last - t.entrySectors(), array},
		{"backup header", last, backup},
		sync,
	}
	front := []step{
		{"protective MBR", 0, t.protectiveMBR()},
		{"primary entries", t.entriesLBA, array},
		{"primary header", 1, primary},
		sync,
	}
	if t.backupOnly {
		steps = append(front, steps...)
	} else {
		steps = append(steps, front...)
	}
	for _, s := range steps {
		if s.data == nil {
			if f, ok := w.(interface{ Sync() error }); ok {
				if err := f.Sync(); err != nil {
					return fmt.Errorf("sync the partition table: %w", err)
				}
			}
			continue
		}
		if _, err := w.WriteAt(s.data, int64(s.lba)*int64(t.SectorSize)); err != nil {
			return fmt.Errorf("write the partition table's %s: %w", s.what, err)
		}
	}
	t.Damage, t.backupOnly = nil, false
	return nil
}

// encodeEntries returns the entry array, padded to whole sectors.
func (t *Table) encodeEntries() []byte {
	array := make([]byte, t.entrySectors()*uint64(t.SectorSize))
	for _, p := range t.Partitions {
		e := entry{Type: p.Type.swap(), ID: p.ID.swap(), First: p.First, Last: p.Last, Attributes: p.Attributes}
		copy(e.Name[:], utf16.Encode([]rune(p.Name)))
		var b bytes.Buffer
		encode(&b, e)
		copy(array[(p.Number-1)*t.size:], b.Bytes())
	}
	return array
}

// encodeHeader returns the sector with the header of the copy at sector my.
func (t *Table) encodeHeader(my, other, entriesLBA uint64, array []byte) []byte {
	h := header{
		Revision: revision, HeaderSize: headerSize, MyLBA: my, OtherLBA: other,
		FirstUsable: t.FirstUsable, LastUsable: t.LastUsable, Disk: t.Disk.swap(), EntriesLBA: entriesLBA,
		EntryCount: uint32(t.count), EntrySize: uint32(t.size),
		EntriesCRC: crc32.ChecksumIEEE(array[:t.count*t.size]),
	}
	copy(h.Signature[:], signature)
	var b bytes.Buffer
	encode(&b, h)
	sector := make([]byte, t.SectorSize)
	copy(sector, b.Bytes())
	binary.LittleEndian.PutUint32(sector[16:], crc32.ChecksumIEEE(sector[:headerSize]))
	return sector
}

// protectiveMBR returns sector 0: the boot code, if there is one, and one partition of
// type 0xEE over the whole disk, so that tools which know no GPT leave it alone.
func (t *Table) protectiveMBR() []byte {
	b := make([]byte, t.SectorSize)
	copy(b, t.BootCode[:])
	e := b[446:462]
	copy(e, []byte{0, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff})
	if t.BootCode != [BootCodeSize]byte{} {
		e[0] = 0x80
	}
	binary.LittleEndian.PutUint32(e[8:], 1)
	binary.LittleEndian.PutUint32(e[12:], uint32(min(t.sectors-1, 0xffffffff)))
	b[510], b[511] = 0x55, 0xaa
	return b
}

// encode appends a fixed-size value; it cannot fail on a bytes.Buffer.
func encode(b *bytes.Buffer, v any) {
	if err := binary.Write(b, binary.LittleEndian, v); err != nil {
		panic(err)
	}
}
