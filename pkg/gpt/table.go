package gpt

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"unicode/utf16"
)

const (
	entryCount = 128
	entrySize  = 128
	nameUnits  = 36 // UTF-16 code units in an entry's name

	// BootCodeSize is how much of the first sector a BIOS's boot code may take; the
	// disk's signature and the protective entry follow.
	BootCodeSize = 440

	// Alignment is the boundary in bytes that AddPartition begins and ends
	// partitions on.
	Alignment = 1 << 20
)

// Partition is one used entry of a table.
type Partition struct {
	// Number is the entry's place, from 1, as Linux numbers partitions.
	Number int
	Type   GUID
	// ID is the partition's own GUID (PARTUUID).
	ID GUID
	// First and Last are the sectors that it begins and ends with, both its own.
	First, Last uint64
	// Attributes are the UEFI attribute bits, bits 48-63 defined by the type.
	Attributes uint64
	// Name is the label, at most 36 UTF-16 code units.
	Name string
}

// Sectors returns the partition's length in sectors.
func (p Partition) Sectors() uint64 { return p.Last - p.First + 1 }

// Table is a partition table in memory. It is not safe for concurrent use.
type Table struct {
	// Disk is the disk's own GUID.
	Disk GUID
	// SectorSize is the logical sector size in bytes, 512 or 4096.
	SectorSize int
	// FirstUsable and LastUsable bound the sectors that partitions may occupy.
	FirstUsable, LastUsable uint64
	// Partitions are the used entries in order of their numbers.
	Partitions []Partition
	// BootCode is what a BIOS starts from the first sector. With one the protective
	// entry is marked active, because some BIOSes start no disk without.
	BootCode [BootCodeSize]byte
	// Damage says what is wrong with one of the two copies on disk while the
	// other is whole; nil when both are. Write repairs it.
	Damage error
	// Keeper keeps the table on a disk whose partition table is of another kind; nil
	// for a GUID partition table.
	Keeper Keeper

	sectors    uint64 // of the disk, as far as the table knows it: backup header's LBA + 1
	entriesLBA uint64 // of the primary copy
	backupOnly bool   // the primary copy is damaged
	count      int    // entries in the array
	size       int    // bytes of an entry
}

// Keeper keeps a table as one of another kind.
type Keeper interface {
	// Write stores the table, so that a power cut leaves the old or the new one.
	Write(t *Table, w io.WriterAt) error
	// Free tells whether a new partition may have a number.
	Free(number int) bool
	// Room returns how many sectors before a partition with a number belong to the table.
	Room(number int) uint64
}

// ErrNoSpace says that a partition does not fit on the disk.
var ErrNoSpace = errors.New("no room on the disk")

// New returns an empty table for a disk of diskBytes bytes.
func New(disk GUID, sectorSize int, diskBytes int64) (*Table, error) {
	if sectorSize != 512 && sectorSize != 4096 {
		return nil, fmt.Errorf("sector size %d: only 512 and 4096 are known", sectorSize)
	}
	t := &Table{Disk: disk, SectorSize: sectorSize, entriesLBA: 2, count: entryCount, size: entrySize}
	t.FirstUsable = t.entriesLBA + t.entrySectors()
	if err := t.Resize(diskBytes); err != nil {
		return nil, err
	}
	return t, nil
}

// entrySectors returns how many sectors the entry array takes.
func (t *Table) entrySectors() uint64 {
	ss := uint64(t.SectorSize)
	return (uint64(t.count)*uint64(t.size) + ss - 1) / ss
}

// DiskBytes returns the size in bytes of the disk that the table was made for.
// When the disk itself is larger, Resize makes the rest usable.
func (t *Table) DiskBytes() int64 { return int64(t.sectors) * int64(t.SectorSize) }

// Resize fits the table to a disk of diskBytes bytes: Write then puts the
// backup copy at the new end. It fails when a partition would no longer fit.
func (t *Table) Resize(diskBytes int64) error {
	sectors := uint64(max(diskBytes, 0)) / uint64(t.SectorSize)
	tail := t.entrySectors() + 1
	if sectors < t.FirstUsable+tail+1 {
		return fmt.Errorf("disk of %d bytes: too small for a partition table", diskBytes)
	}
	last := sectors - tail - 1
	for _, p := range t.Partitions {
		if p.Last > last {
			return fmt.Errorf("disk of %d bytes: partition %d (%s) ends beyond it: %w", diskBytes, p.Number, p.Name, ErrNoSpace)
		}
	}
	t.sectors, t.LastUsable = sectors, last
	return nil
}

// Offset returns where on the disk p begins, in bytes.
func (t *Table) Offset(p Partition) int64 { return int64(p.First) * int64(t.SectorSize) }

// Bytes returns the length of p in bytes.
func (t *Table) Bytes(p Partition) int64 { return int64(p.Sectors()) * int64(t.SectorSize) }

// Find returns the first partition with the given type and name; an empty
// name matches any.
func (t *Table) Find(typ GUID, name string) (Partition, bool) {
	for _, p := range t.Partitions {
		if p.Type == typ && (name == "" || p.Name == name) {
			return p, true
		}
	}
	return Partition{}, false
}

// Set replaces the entry that has p's number, e.g. with another type.
func (t *Table) Set(p Partition) error {
	for i := range t.Partitions {
		if t.Partitions[i].Number != p.Number {
			continue
		}
		old := t.Partitions[i]
		t.Partitions[i] = p
		if err := t.check(); err != nil {
			t.Partitions[i] = old
			return err
		}
		return nil
	}
	return fmt.Errorf("change partition %d: there is none", p.Number)
}

// AddPartition appends a partition of the given size in bytes behind the last
// one, in the first free entry, begin and end on Alignment. A size of 0 means
// all that is left. A zero ID is replaced by a random one; p's Number, First
// and Last are ignored. It returns the partition as it was added.
func (t *Table) AddPartition(p Partition, size int64) (Partition, error) {
	align := uint64(Alignment / t.SectorSize)
	begin := t.FirstUsable
	used := make(map[int]bool, len(t.Partitions))
	for _, q := range t.Partitions {
		used[q.Number] = true
		begin = max(begin, q.Last+1)
	}
	for p.Number = 1; used[p.Number] || t.Keeper != nil && p.Number <= t.count && !t.Keeper.Free(p.Number); p.Number++ {
	}
	if p.Number > t.count {
		return Partition{}, fmt.Errorf("add partition %s: all %d entries are in use", p.Name, t.count)
	}
	if t.Keeper != nil {
		begin += t.Keeper.Room(p.Number)
	}
	p.First = (begin + align - 1) / align * align
	end := (t.LastUsable + 1) / align * align // first sector behind what may be used
	want := (uint64(max(size, 0)) + Alignment - 1) / Alignment * align
	switch {
	case end <= p.First:
		return Partition{}, fmt.Errorf("add partition %s: %w", p.Name, ErrNoSpace)
	case size == 0:
		p.Last = end - 1
	case size < 0 || want > end-p.First:
		return Partition{}, fmt.Errorf("add partition %s of %d bytes, %d are free: %w",
			p.Name, size, int64(end-p.First)*int64(t.SectorSize), ErrNoSpace)
	default:
		p.Last = p.First + want - 1
	}
	if p.ID.IsZero() {
		p.ID = RandomGUID()
	}
	before := t.Partitions
	t.Partitions = append(append([]Partition(nil), before...), p)
	sort.Slice(t.Partitions, func(i, j int) bool { return t.Partitions[i].Number < t.Partitions[j].Number })
	if err := t.check(); err != nil {
		t.Partitions = before
		return Partition{}, err
	}
	return p, nil
}

// GrowLast extends the partition that lies last on the disk to the end of the
// usable sectors and returns it; grown is false when it already reaches there
// or there is no partition. Call Resize first when the disk became larger.
func (t *Table) GrowLast() (p Partition, grown bool) {
	last := -1
	for i, q := range t.Partitions {
		if last < 0 || q.Last > t.Partitions[last].Last {
			last = i
		}
	}
	if last < 0 {
		return Partition{}, false
	}
	align := uint64(Alignment / t.SectorSize)
	end := (t.LastUsable + 1) / align * align
	if end <= t.Partitions[last].Last+1 {
		return t.Partitions[last], false
	}
	t.Partitions[last].Last = end - 1
	return t.Partitions[last], true
}

// check tells whether the partitions can be stored: numbers, bounds, overlap, names.
func (t *Table) check() error {
	byFirst := append([]Partition(nil), t.Partitions...)
	sort.Slice(byFirst, func(i, j int) bool { return byFirst[i].First < byFirst[j].First })
	numbers := make(map[int]bool, len(byFirst))
	for i, p := range byFirst {
		switch {
		case p.Number < 1 || p.Number > t.count || numbers[p.Number]:
			return fmt.Errorf("partition %d (%q): number out of range or used twice", p.Number, p.Name)
		case p.Type.IsZero():
			return fmt.Errorf("partition %d (%q): has no type", p.Number, p.Name)
		case p.First > p.Last || p.First < t.FirstUsable || p.Last > t.LastUsable:
			return fmt.Errorf("partition %d (%q): sectors %d-%d are outside %d-%d", p.Number, p.Name, p.First, p.Last, t.FirstUsable, t.LastUsable)
		case i > 0 && byFirst[i-1].Last >= p.First:
			return fmt.Errorf("partition %d (%q) overlaps partition %d", p.Number, p.Name, byFirst[i-1].Number)
		case len(utf16.Encode([]rune(p.Name))) > nameUnits:
			return fmt.Errorf("partition %d: name %q is longer than %d", p.Number, p.Name, nameUnits)
		}
		numbers[p.Number] = true
	}
	return nil
}
