package delta

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/restic/chunker"
)

// The cuts are part of the format: a machine finds chunks in files of which it has
// no index only when it cuts them in the same way. docs/decisions/update-delta.md
// has the measurement. Changing one of these means another magic.
const (
	magic       = "MYDELTA1"
	polynomial  = chunker.Pol(0x3DA3358B4DC173)
	averageBits = 14
	minChunk    = 8 << 10
	maxChunk    = 128 << 10
)

const (
	// MaxSize is the size in bytes of the largest file that has an index.
	MaxSize = 512 << 20
	// MaxIndex is the size in bytes of the largest encoded index.
	MaxIndex = headSize + (MaxSize/minChunk)*entrySize

	headSize  = len(magic) + sha256.Size + 8 + 4
	entrySize = 4 + sha256.Size
)

// Index names the chunks of a file. It comes from Make or Parse and is not changed.
type Index struct {
	size   int64
	digest [sha256.Size]byte
	chunks []chunk
}

// chunk is a part of the file.
type chunk struct {
	offset int64
	length int
	sum    [sha256.Size]byte
}

func (c chunk) end() int64 { return c.offset + int64(c.length) }

// Size is the file's, in bytes.
func (x *Index) Size() int64 { return x.size }

// Digest is the file's SHA-256, 64 hexadecimal digits.
func (x *Index) Digest() string { return hex.EncodeToString(x.digest[:]) }

// Chunks is the number of the file's chunks.
func (x *Index) Chunks() int { return len(x.chunks) }

// Make reads a file to its end and returns its index. A file that is empty or
// larger than MaxSize has none.
func Make(r io.Reader) (*Index, error) {
	x := &Index{}
	hash := sha256.New()
	err := cut(io.TeeReader(io.LimitReader(r, MaxSize+1), hash), func(data []byte, sum [sha256.Size]byte) error {
		x.chunks = append(x.chunks, chunk{offset: x.size, length: len(data), sum: sum})
		x.size += int64(len(data))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the file to index: %w", err)
	}
	if x.size == 0 || x.size > MaxSize {
		return nil, fmt.Errorf("index a file of %d bytes or more: want 1 to %d", x.size, MaxSize)
	}
	hash.Sum(x.digest[:0])
	return x, nil
}

// cut calls each for every chunk of r, in order. The data is each's until it returns.
func cut(r io.Reader, each func(data []byte, sum [sha256.Size]byte) error) error {
	c := chunker.NewWithBoundaries(r, polynomial, minChunk, maxChunk)
	c.SetAverageBits(averageBits)
	buf := make([]byte, 0, maxChunk)
	for {
		got, err := c.Next(buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := each(got.Data, sha256.Sum256(got.Data)); err != nil {
			return err
		}
	}
}

// Encode returns the index as bytes: the magic, the file's SHA-256, its size (8
// bytes), the number of chunks (4 bytes), and of each chunk its length (4 bytes)
// and its SHA-256, in the order of the file. Numbers are big-endian.
func (x *Index) Encode() []byte {
	b := make([]byte, 0, headSize+len(x.chunks)*entrySize)
	b = append(b, magic...)
	b = append(b, x.digest[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(x.size))
	b = binary.BigEndian.AppendUint32(b, uint32(len(x.chunks)))
	for _, c := range x.chunks {
		b = binary.BigEndian.AppendUint32(b, uint32(c.length))
		b = append(b, c.sum[:]...)
	}
	return b
}

// Parse reads what Encode wrote. It refuses whatever Make could not have made, as
// far as that can be seen without the file.
func Parse(b []byte) (*Index, error) {
	if len(b) < headSize || !bytes.HasPrefix(b, []byte(magic)) {
		return nil, fmt.Errorf("this is no index of the form %s: it is damaged, or of a newer version", magic)
	}
	x := &Index{digest: [sha256.Size]byte(b[len(magic):])}
	size := binary.BigEndian.Uint64(b[len(magic)+sha256.Size:])
	count := binary.BigEndian.Uint32(b[headSize-4:])
	if size == 0 || size > MaxSize {
		return nil, fmt.Errorf("index of a file of %d bytes: want 1 to %d", size, MaxSize)
	}
	if rest := len(b) - headSize; uint64(rest) != uint64(count)*uint64(entrySize) {
		return nil, fmt.Errorf("index of %d chunks with %d bytes for them: want %d each", count, rest, entrySize)
	}
	x.size = int64(size)
	x.chunks = make([]chunk, 0, count)
	offset := int64(0)
	for b := b[headSize:]; len(b) > 0; b = b[entrySize:] {
		length := int64(binary.BigEndian.Uint32(b))
		last := len(b) == entrySize
		if length > maxChunk || length == 0 || (length < minChunk && !last) || offset+length > x.size {
			return nil, fmt.Errorf("index with a chunk of %d bytes at %d of %d: want %d to %d", length, offset, x.size, minChunk, maxChunk)
		}
		x.chunks = append(x.chunks, chunk{offset: offset, length: int(length), sum: [sha256.Size]byte(b[4:])})
		offset += length
	}
	if offset != x.size {
		return nil, fmt.Errorf("index whose chunks have %d bytes of a file of %d", offset, x.size)
	}
	return x, nil
}
