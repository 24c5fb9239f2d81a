// Package bmap reads, writes and applies block maps as bmap-tools defines them,
// version 2.0: an XML file beside a disk image that lists which blocks of the
// image matter, with a SHA-256 for each run of them. What it does not list need
// not be written, so that a mostly empty image is on its disk in a moment, by
// "bmaptool copy" as well as by this package.
//
// A block that is not listed keeps what the disk held before. So a map must list
// blocks of zeros too wherever a reader relies on the zeros; FromSparse trusts
// that whoever wrote a sparse file wrote those.
//
// The format: https://github.com/yoctoproject/bmaptool, Documentation of the
// bmap file inside BmapCreate.py.
package bmap

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
)

// BlockSize is that of the maps that this package makes, in bytes.
const BlockSize = 4096

// Limits of what Parse accepts.
const (
	// MaxFileSize is the largest map in bytes.
	MaxFileSize = 64 << 20
	maxBlock    = 1 << 30
	maxImage    = 1 << 60
)

// ErrChecksum says that content does not have the checksum that the map lists.
var ErrChecksum = errors.New("checksum mismatch")

// Range is a run of blocks that are mapped.
type Range struct {
	// First and Last are block numbers, both inclusive.
	First, Last int64
	// SHA256 is the checksum of the run's bytes; of those within the image, when the
	// last block reaches beyond its end.
	SHA256 [sha256.Size]byte
}

// Map says which blocks of an image are to be written.
type Map struct {
	// ImageSize is the image's size in bytes.
	ImageSize int64
	// BlockSize is the size of a block in bytes.
	BlockSize int64
	// Ranges are in order and do not touch.
	Ranges []Range
}

// Extent is a run of bytes.
type Extent struct{ Offset, Length int64 }

// End is where the extent ends.
func (e Extent) End() int64 { return e.Offset + e.Length }

// Blocks returns how many blocks the image has.
func (m *Map) Blocks() int64 { return blocks(m.ImageSize, m.BlockSize) }

// MappedBlocks returns how many of them are mapped.
func (m *Map) MappedBlocks() (n int64) {
	for _, r := range m.Ranges {
		n += r.Last - r.First + 1
	}
	return n
}

// Extent returns which bytes of the image r is.
func (m *Map) Extent(r Range) Extent {
	begin := r.First * m.BlockSize
	return Extent{begin, min((r.Last+1)*m.BlockSize, m.ImageSize) - begin}
}

// Extents returns all that is mapped.
func (m *Map) Extents() []Extent {
	list := make([]Extent, len(m.Ranges))
	for i, r := range m.Ranges {
		list[i] = m.Extent(r)
	}
	return list
}

func blocks(size, block int64) int64 { return (size + block - 1) / block }

// validate checks what Parse and Write rely on.
func (m *Map) validate() error {
	if m.ImageSize < 1 || m.ImageSize > maxImage {
		return fmt.Errorf("image size %d", m.ImageSize)
	}
	if m.BlockSize < 1 || m.BlockSize > maxBlock {
		return fmt.Errorf("block size %d", m.BlockSize)
	}
	before := int64(-1)
	for _, r := range m.Ranges {
		if r.First <= before || r.Last < r.First || r.Last >= m.Blocks() {
			return fmt.Errorf("blocks %d-%d: out of order, or beyond the image's %d blocks", r.First, r.Last, m.Blocks())
		}
		before = r.Last
	}
	return nil
}

// New makes the map of an image of size bytes: the blocks that the extents touch
// are mapped, and read for their checksums. The extents may overlap.
func New(image io.ReaderAt, size int64, extents []Extent) (*Map, error) {
	m := &Map{ImageSize: size, BlockSize: BlockSize}
	for _, e := range Align(extents, BlockSize) {
		m.Ranges = append(m.Ranges, Range{First: e.Offset / BlockSize, Last: e.End()/BlockSize - 1})
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("map the image: %w", err)
	}
	buf := make([]byte, 1<<20)
	for i := range m.Ranges {
		e, h := m.Extent(m.Ranges[i]), sha256.New()
		n, err := io.CopyBuffer(h, onlyReader{io.NewSectionReader(image, e.Offset, e.Length)}, buf)
		if err == nil && n != e.Length {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, fmt.Errorf("read the image at byte %d: %w", e.Offset+n, err)
		}
		h.Sum(m.Ranges[i].SHA256[:0])
	}
	return m, nil
}

// onlyReader hides other methods, so that io.CopyBuffer uses its buffer.
type onlyReader struct{ io.Reader }

// Align widens extents to whole blocks, sorts them and joins those that touch.
// Empty ones are dropped.
func Align(extents []Extent, block int64) []Extent {
	sorted := slices.DeleteFunc(slices.Clone(extents), func(e Extent) bool { return e.Length <= 0 })
	slices.SortFunc(sorted, func(a, b Extent) int {
		switch {
		case a.Offset < b.Offset:
			return -1
		case a.Offset > b.Offset:
			return 1
		}
		return 0
	})
	var out []Extent
	for _, e := range sorted {
		begin, end := e.Offset/block*block, blocks(e.End(), block)*block
		if n := len(out); n > 0 && begin <= out[n-1].End() {
			out[n-1].Length = max(out[n-1].End(), end) - out[n-1].Offset
			continue
		}
		out = append(out, Extent{begin, end - begin})
	}
	return out
}

// Copy writes the mapped blocks of the image that src streams to dst and checks
// each range against its checksum (ErrChecksum). A range that is damaged has been
// written by then: the caller discards what dst holds.
func (m *Map) Copy(ctx context.Context, dst io.WriterAt, src io.Reader) error {
	at := int64(0)
	buf := make([]byte, 1<<20)
	for _, r := range m.Ranges {
		e := m.Extent(r)
		if n, err := io.CopyBuffer(io.Discard, onlyReader{io.LimitReader(src, e.Offset-at)}, buf); err != nil {
			return fmt.Errorf("read the image: %w", err)
		} else if n < e.Offset-at {
			return fmt.Errorf("read the image: it ends at byte %d: %w", at+n, io.ErrUnexpectedEOF)
		}
		h := sha256.New()
		for at = e.Offset; at < e.End(); {
			if err := ctx.Err(); err != nil {
				return err
			}
			part := buf[:min(int64(len(buf)), e.End()-at)]
			if n, err := io.ReadFull(src, part); err != nil {
				return fmt.Errorf("read the image at byte %d: %w", at+int64(n), err)
			}
			h.Write(part)
			if _, err := dst.WriteAt(part, at); err != nil {
				return fmt.Errorf("write at byte %d: %w", at, err)
			}
			at += int64(len(part))
		}
		if [sha256.Size]byte(h.Sum(nil)) != r.SHA256 {
			return fmt.Errorf("bytes %d to %d of the image: %w", e.Offset, e.End()-1, ErrChecksum)
		}
	}
	return nil
}
