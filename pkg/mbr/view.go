package mbr

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/digital-mycelium/os/pkg/gpt"
)

// signature is on every disk of Digital Mycelium OS: what tells it from others.
const signature = 0x4f43594d // "MYCO"

// The number of the extended partition, and of DATA, the one that init makes.
const (
	extendedNumber = 4
	dataNumber     = 6
)

// named are the partitions of a Digital Mycelium OS disk by their numbers.
func named() map[int]gpt.Partition {
	return map[int]gpt.Partition{
		1:            {Type: gpt.ESP, Name: "BOOT"},
		2:            {Type: gpt.XBOOTLDR, Name: "A"},
		3:            {Type: gpt.Slot, Name: "B"},
		firstLogical: {Type: gpt.State, Name: "STATE"},
		dataNumber:   {Type: gpt.Data, Name: "DATA"},
	}
}

// View reads the table of a Digital Mycelium OS disk of diskBytes bytes as one with
// labels and types. What it writes is an MBR again; a partition's number is what it is
// there, and AddPartition makes the first logical one that is missing. The type of a
// slot does not say which one is committed. Any other table is ErrNoTable.
func View(r io.ReaderAt, diskBytes int64) (*gpt.Table, error) {
	t, err := Read(r, diskBytes)
	if err != nil {
		return nil, err
	}
	if t.Signature != signature {
		return nil, fmt.Errorf("a disk with the signature %08x: %w", t.Signature, ErrNoTable)
	}
	v, err := NewView(diskBytes)
	if err != nil {
		return nil, err
	}
	names := named()
	for _, p := range t.Partitions {
		if p.Number == extendedNumber && isExtended(p.Type) {
			continue
		}
		n, ok := names[p.Number]
		if !ok || n.Type == gpt.State && p.Type != Linux {
			return nil, fmt.Errorf("partition %d of type %#02x is none of Digital Mycelium OS: %w", p.Number, p.Type, ErrNoTable)
		}
		n.Number, n.ID = p.Number, ID(p.Number)
		n.First, n.Last = uint64(p.First), p.end()-1
		v.Partitions = append(v.Partitions, n)
	}
	return v, nil
}

// ID returns the identifier that View gives to the partition with a number: an MBR has
// none.
func ID(number int) gpt.GUID { return gpt.DeriveGUID("mbr", strconv.Itoa(number)) }

// NewView returns an empty table with labels and types for a disk of diskBytes bytes,
// which is written as an MBR.
func NewView(diskBytes int64) (*gpt.Table, error) {
	var id gpt.GUID
	binary.BigEndian.PutUint32(id[:], signature)
	v, err := gpt.New(id, sectorSize, diskBytes)
	if err != nil {
		return nil, err
	}
	v.LastUsable = min(uint64(diskBytes)/sectorSize, 1<<32-1) - 1
	v.Keeper = keeper{}
	return v, nil
}

// keeper keeps a gpt.Table as an MBR.
type keeper struct{}

// Free implements gpt.Keeper.
func (keeper) Free(number int) bool { return number != extendedNumber && number <= dataNumber }

// Room implements gpt.Keeper: before a logical partition stands its link.
func (keeper) Room(number int) uint64 {
	if number < firstLogical {
		return 0
	}
	return 1
}

// Write implements gpt.Keeper.
func (keeper) Write(v *gpt.Table, w io.WriterAt) error {
	t := &Table{Signature: signature}
	var logical []Partition
	end := uint64(0) // of what lies before the extended partition
	for _, p := range v.Partitions {
		q := Partition{Number: p.Number, Type: FAT32, First: uint32(p.First), Sectors: uint32(p.Sectors())}
		if p.Number < firstLogical {
			end = max(end, p.Last+1)
			t.Partitions = append(t.Partitions, q)
			continue
		}
		q.Type = Linux
		logical = append(logical, q)
	}
	if len(logical) > 0 {
		last := slices.MaxFunc(logical, func(a, b Partition) int { return int(int64(a.First) - int64(b.First)) })
		t.Partitions = append(t.Partitions, Partition{
			Number: extendedNumber, Type: Extended, First: uint32(end), Sectors: uint32(last.end() - end),
		})
		t.Partitions = append(t.Partitions, logical...)
	}
	return t.Write(w, v.DiskBytes())
}
