package mbr

import (
	"errors"
	"fmt"
	"slices"
)

// Types of partitions.
const (
	FAT32      = 0x0c // addressed by sectors
	Extended   = 0x0f // addressed by sectors
	Linux      = 0x83
	protective = 0xee // the disk has a GUID partition table
)

const (
	sectorSize   = 512
	primaries    = 4
	firstLogical = 5
	maxLogical   = 32 // of a chain that Read follows
)

// ErrNoTable says that the first sector holds no table of this kind.
var ErrNoTable = errors.New("no MBR partition table")

// Partition is one partition, the extended one too.
type Partition struct {
	// Number is 1 to 4 for an entry of the first sector, from 5 for a logical partition
	// in the order of the chain, as Linux numbers them.
	Number int
	Type   byte
	// First is the first sector, Sectors the length.
	First, Sectors uint32
}

// end is the first sector behind p.
func (p Partition) end() uint64 { return uint64(p.First) + uint64(p.Sectors) }

// logical tells whether p lies in the extended partition.
func (p Partition) logical() bool { return p.Number >= firstLogical }

// Table is a partition table in memory.
type Table struct {
	// Signature is the disk's, which Linux makes PARTUUIDs of.
	Signature uint32
	// Partitions are in the order of their numbers. A logical partition's link stands
	// in the sector before it, but for the first one's, which is the extended
	// partition's first sector.
	Partitions []Partition
}

// IsExtended tells whether p is there for the logical partitions alone.
func (p Partition) IsExtended() bool { return !p.logical() && isExtended(p.Type) }

// extended returns the extended partition.
func (t *Table) extended() (Partition, bool) {
	i := slices.IndexFunc(t.Partitions, Partition.IsExtended)
	if i < 0 {
		return Partition{}, false
	}
	return t.Partitions[i], true
}

func isExtended(typ byte) bool { return typ == 0x05 || typ == Extended || typ == 0x85 }

// check tells whether t can be stored on a disk of diskBytes bytes.
func (t *Table) check(diskBytes int64) error {
	sectors := uint64(max(diskBytes, 0)) / sectorSize
	ext, hasExt := t.extended()
	number := 0
	for i, p := range t.Partitions {
		switch {
		case p.Number <= number || p.Number-firstLogical >= maxLogical:
			return fmt.Errorf("partition %d: number out of order or range", p.Number)
		case p.Type == 0 || p.Type == protective || p.Sectors == 0:
			return fmt.Errorf("partition %d: type %#02x and %d sectors", p.Number, p.Type, p.Sectors)
		case p.First == 0 || p.end() > sectors || p.end() > 1<<32:
			return fmt.Errorf("partition %d: sectors %d to %d of a disk of %d", p.Number, p.First, p.end(), sectors)
		case p.Number < firstLogical && isExtended(p.Type) && p.Number != ext.Number:
			return fmt.Errorf("partition %d is a second extended one", p.Number)
		case p.logical() && (!hasExt || p.First <= ext.First || p.end() > ext.end()):
			return fmt.Errorf("partition %d lies outside of the extended one", p.Number)
		case p.Number > firstLogical && t.Partitions[i-1].Number != p.Number-1:
			return fmt.Errorf("partition %d: a logical one before it is missing", p.Number)
		}
		for _, q := range t.Partitions[:i] {
			inside := p.logical() && q.Number == ext.Number
			if !inside && p.First < uint32(min(q.end(), 1<<32-1)) && uint64(q.First) < p.end() {
				return fmt.Errorf("partition %d overlaps partition %d", p.Number, q.Number)
			}
		}
		number = p.Number
	}
	return nil
}

// link returns the sector with the entry of the logical partition p.
func (t *Table) link(p Partition) uint32 {
	if p.Number == firstLogical {
		ext, _ := t.extended()
		return ext.First
	}
	return p.First - 1
}

// freeLinks tells whether no partition lies where a link has to.
func (t *Table) freeLinks() error {
	for _, p := range t.Partitions {
		if !p.logical() {
			continue
		}
		at := t.link(p)
		for _, q := range t.Partitions {
			if (q.logical() || !isExtended(q.Type)) && uint64(at) >= uint64(q.First) && uint64(at) < q.end() {
				return fmt.Errorf("partition %d leaves no sector for the link to partition %d", q.Number, p.Number)
			}
		}
	}
	return nil
}
