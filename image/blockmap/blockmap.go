// Package blockmap reads how a disk image is laid out, and makes the block map
// that says which of its blocks a disk needs.
//
// A sparse file's holes do not tell: the tables of an empty FAT file system are
// zeros that count, and so is a STATE that holds nothing, because an old one left in
// its place would be taken for the machine's. Left out is only what a FAT
// file system says is free, and holds zeros.
package blockmap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/digital-mycelium/os/pkg/bmap"
	"github.com/digital-mycelium/os/pkg/fat"
	"github.com/digital-mycelium/os/pkg/gpt"
	"github.com/digital-mycelium/os/pkg/mbr"
)

const sectorSize = 512

// ErrNoTable says that an image has no partition table.
var ErrNoTable = errors.New("no partition table: it is no disk image")

// Partition is where a partition of an image is, in bytes.
type Partition struct {
	bmap.Extent
	// State says that the table calls it STATE.
	State bool
}

// Partitions returns an image's partitions by their offsets, of a GPT or an MBR.
// r may hold the first MiB alone; logical partitions of an MBR, whose
// descriptions lie elsewhere, are then missing.
func Partitions(r io.ReaderAt, size int64) ([]Partition, error) {
	list, err := fromGPT(r, size)
	if errors.Is(err, gpt.ErrNoTable) {
		list, err = fromMBR(r, size)
	}
	if err != nil {
		return nil, fmt.Errorf("read the partition table: %w", err)
	}
	slices.SortFunc(list, func(a, b Partition) int { return int(min(1, max(-1, a.Offset-b.Offset))) })
	return list, nil
}

func fromGPT(r io.ReaderAt, size int64) ([]Partition, error) {
	t, err := gpt.Read(r, size)
	if err != nil {
		return nil, err
	}
	var list []Partition
	for _, p := range t.Partitions {
		list = append(list, Partition{bmap.Extent{Offset: t.Offset(p), Length: t.Bytes(p)}, p.Type == gpt.State})
	}
	return list, nil
}

func fromMBR(r io.ReaderAt, size int64) ([]Partition, error) {
	t, err := mbr.Read(r, size)
	if errors.Is(err, io.EOF) { // the logical partitions' descriptions
		t, err = mbr.ReadPrimaries(r, size)
	}
	if errors.Is(err, mbr.ErrNoTable) {
		return nil, ErrNoTable
	}
	if err != nil {
		return nil, err
	}
	var list []Partition
	for _, p := range t.Partitions {
		if p.IsExtended() {
			continue
		}
		list = append(list, Partition{Extent: bmap.Extent{Offset: int64(p.First) * sectorSize, Length: int64(p.Sectors) * sectorSize}})
	}
	if len(list) == 0 {
		return nil, ErrNoTable
	}
	return list, nil
}

// New makes the block map of a disk image of size bytes.
func New(image io.ReaderAt, size int64) (*bmap.Map, error) {
	partitions, err := Partitions(image, size)
	if err != nil {
		return nil, err
	}
	var needed []bmap.Extent
	at := int64(0)
	for _, p := range partitions {
		v, err := fat.Open(readOnly{io.NewSectionReader(image, p.Offset, p.Length)}, p.Length)
		if err != nil || p.Offset < at {
			continue // another file system, of which all is needed
		}
		used := p.Offset + v.Used()
		needed = append(needed, bmap.Extent{Offset: at, Length: used - at})
		content, err := notZero(image, bmap.Extent{Offset: used, Length: p.End() - used})
		if err != nil {
			return nil, err
		}
		needed, at = append(needed, content...), p.End()
	}
	needed = append(needed, bmap.Extent{Offset: at, Length: size - at})
	return bmap.New(image, size, needed)
}

// notZero returns the blocks of e that hold something.
func notZero(image io.ReaderAt, e bmap.Extent) ([]bmap.Extent, error) {
	var list []bmap.Extent
	zeros, buf := make([]byte, bmap.BlockSize), make([]byte, 256*bmap.BlockSize)
	for at := e.Offset; at < e.End(); {
		part := buf[:min(int64(len(buf))-at%bmap.BlockSize, e.End()-at)]
		if n, err := image.ReadAt(part, at); n < len(part) {
			return nil, fmt.Errorf("read the image at byte %d: %w", at, errors.Join(err, io.ErrUnexpectedEOF))
		}
		for len(part) > 0 {
			block := part[:min(len(part), int(bmap.BlockSize-at%bmap.BlockSize))]
			if !bytes.Equal(block, zeros[:len(block)]) {
				list = append(list, bmap.Extent{Offset: at, Length: int64(len(block))})
			}
			at, part = at+int64(len(block)), part[len(block):]
		}
	}
	return list, nil
}

// readOnly is what a file system is looked at through.
type readOnly struct{ io.ReaderAt }

// WriteAt implements io.WriterAt.
func (readOnly) WriteAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
