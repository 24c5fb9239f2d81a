package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

const (
	signature  = "EFI PART"
	revision   = 0x00010000
	headerSize = 92

	maxArray = 4 << 20 // bytes of an entry array that Read accepts
)

// header is the table's header as it stands on disk.
type header struct {
	Signature   [8]byte
	Revision    uint32
	HeaderSize  uint32
	HeaderCRC   uint32
	_           uint32
	MyLBA       uint64
	OtherLBA    uint64
	FirstUsable uint64
	LastUsable  uint64
	Disk        GUID
	EntriesLBA  uint64
	EntryCount  uint32
	EntrySize   uint32
	EntriesCRC  uint32
}

// entry is a partition as it stands on disk.
type entry struct {
	Type, ID    GUID
	First, Last uint64
	Attributes  uint64
	Name        [nameUnits]uint16
}

// ErrNoTable says that a disk carries no partition table, not even a damaged one.
var ErrNoTable = errors.New("no GUID partition table")

// Read reads the table of a disk of diskBytes bytes. When the primary copy is
// damaged it takes the backup, and Table.Damage says so; when neither is whole
// it returns an error, ErrNoTable if there is no trace of either.
func Read(r io.ReaderAt, diskBytes int64) (*Table, error) {
	var trace error
	for _, ss := range []int{512, 4096} {
		t, primary := readCopy(r, ss, diskBytes, 1)
		if primary == nil {
			if _, err := readCopy(r, ss, diskBytes, t.sectors-1); err != nil {
				t.Damage = fmt.Errorf("backup partition table: %w", err)
			}
			return t, nil
		}
		last := diskBytes/int64(ss) - 1
		if last < 2 {
			continue
		}
		t, backup := readCopy(r, ss, diskBytes, uint64(last))
		if backup == nil {
			t.Damage, t.backupOnly = fmt.Errorf("primary partition table: %w", primary), true
			return t, nil
		}
		if !errors.Is(primary, ErrNoTable) || !errors.Is(backup, ErrNoTable) {
			trace = errors.Join(trace, fmt.Errorf("primary (%d-byte sectors): %w", ss, primary), fmt.Errorf("backup: %w", backup))
		}
	}
	if trace != nil {
		return nil, fmt.Errorf("read the partition table: %w", trace)
	}
	return nil, ErrNoTable
}

// readCopy reads the copy whose header stands at sector lba.
func readCopy(r io.ReaderAt, sectorSize int, diskBytes int64, lba uint64) (*Table, error) {
	sectors := uint64(max(diskBytes, 0)) / uint64(sectorSize)
	h, err := readHeader(r, sectorSize, lba, sectors)
	if err != nil {
		return nil, err
	}
	array := make([]byte, int(h.EntryCount)*int(h.EntrySize))
	if err := readAt(r, array, h.EntriesLBA*uint64(sectorSize)); err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	if got := crc32.ChecksumIEEE(array); got != h.EntriesCRC {
		return nil, fmt.Errorf("entries have checksum %08x, the header says %08x", got, h.EntriesCRC)
	}
	t := &Table{
		Disk: h.Disk.swap(), SectorSize: sectorSize, FirstUsable: h.FirstUsable, LastUsable: h.LastUsable,
		count: int(h.EntryCount), size: int(h.EntrySize),
		sectors: max(h.MyLBA, h.OtherLBA) + 1, entriesLBA: h.EntriesLBA,
	}
	if lba != 1 {
		t.entriesLBA = 2 // the backup does not say where the primary's stand
	}
	if t.FirstUsable < t.entriesLBA+t.entrySectors() || t.LastUsable+t.entrySectors()+1 >= t.sectors {
		return nil, fmt.Errorf("usable sectors %d-%d overlap the table itself", t.FirstUsable, t.LastUsable)
	}
	if err := t.decodeEntries(array); err != nil {
		return nil, err
	}
	if err := readAt(r, t.BootCode[:], 0); err != nil {
		return nil, fmt.Errorf("read the boot code: %w", err)
	}
	return t, t.check()
}

// readHeader reads and verifies the header at sector lba of a disk of the given length.
func readHeader(r io.ReaderAt, sectorSize int, lba, sectors uint64) (*header, error) {
	if lba >= sectors {
		return nil, fmt.Errorf("sector %d lies beyond the disk's %d: %w", lba, sectors, ErrNoTable)
	}
	b := make([]byte, sectorSize)
	if err := readAt(r, b, lba*uint64(sectorSize)); err != nil {
		return nil, fmt.Errorf("read sector %d: %w", lba, err)
	}
	if string(b[:8]) != signature {
		return nil, fmt.Errorf("sector %d: %w", lba, ErrNoTable)
	}
	var h header
	if err := binary.Read(bytes.NewReader(b), binary.LittleEndian, &h); err != nil {
		return nil, err
	}
	if h.HeaderSize < headerSize || int(h.HeaderSize) > sectorSize {
		return nil, fmt.Errorf("header of %d bytes", h.HeaderSize)
	}
	clear(b[16:20])
	if got := crc32.ChecksumIEEE(b[:h.HeaderSize]); got != h.HeaderCRC {
		return nil, fmt.Errorf("header has checksum %08x, should have %08x", got, h.HeaderCRC)
	}
	array := uint64(h.EntryCount) * uint64(h.EntrySize)
	arraySectors := (array + uint64(sectorSize) - 1) / uint64(sectorSize)
	switch {
	case h.MyLBA != lba:
		return nil, fmt.Errorf("header of sector %d stands in sector %d", h.MyLBA, lba)
	case h.OtherLBA >= sectors || h.OtherLBA == lba || lba != 1 && h.OtherLBA != 1:
		return nil, fmt.Errorf("other copy in sector %d of %d", h.OtherLBA, sectors)
	case h.EntrySize < entrySize || h.EntrySize%entrySize != 0 || h.EntryCount == 0 || array > maxArray:
		return nil, fmt.Errorf("%d entries of %d bytes", h.EntryCount, h.EntrySize)
	case h.EntriesLBA < 2 || h.EntriesLBA >= sectors || arraySectors > sectors-h.EntriesLBA:
		return nil, fmt.Errorf("entries in sector %d of %d", h.EntriesLBA, sectors)
	case h.LastUsable >= sectors || h.FirstUsable > h.LastUsable || h.FirstUsable >= sectors:
		return nil, fmt.Errorf("usable sectors %d-%d of %d", h.FirstUsable, h.LastUsable, sectors)
	}
	return &h, nil
}

// decodeEntries fills t.Partitions from the entry array.
func (t *Table) decodeEntries(array []byte) error {
	for i := range t.count {
		if GUID(array[i*t.size:][:16]).IsZero() { // most are, and need not be decoded
			continue
		}
		var e entry
		if err := binary.Read(bytes.NewReader(array[i*t.size:]), binary.LittleEndian, &e); err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
		n := 0
		for n < nameUnits && e.Name[n] != 0 {
			n++
		}
		t.Partitions = append(t.Partitions, Partition{
			Number: i + 1, Type: e.Type.swap(), ID: e.ID.swap(), First: e.First, Last: e.Last,
			Attributes: e.Attributes, Name: string(utf16.Decode(e.Name[:n])),
		})
	}
	return nil
}

// readAt fills b from offset; unlike ReadAt it takes a full read at the end as success.
func readAt(r io.ReaderAt, b []byte, offset uint64) error {
	n, err := r.ReadAt(b, int64(offset))
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
