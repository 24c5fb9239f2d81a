package rootfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
)

// ErrFormat says that an image is not a squashfs as Pack makes them.
var ErrFormat = errors.New("not a squashfs with plain metadata")

// Limits of what Usage reads; a root of ours is far below them.
const (
	maxMetadata = 16 << 20
	maxInodes   = 1 << 16
	maxDepth    = 64

	plainBlock   = 0x8000 // in a metadata block's header: not compressed
	metadataSize = 8192
	noFragment   = 0xffffffff
	onDisk       = 0xffffff // bits of a data block's size; the bit above says "not compressed"
)

// superblock is the beginning of a squashfs 4.0.
type superblock struct {
	Magic, Inodes, Time, BlockSize, Fragments       uint32
	Compression, BlockLog, Flags, IDs, Major, Minor uint16
	Root, Size, IDTable, XattrTable, InodeTable     uint64
	DirectoryTable, FragmentTable, ExportTable      uint64
}

// Usage returns how many bytes of the squashfs in r each file's content takes,
// by absolute path. Blocks that files share count for the first one. What is
// left of the image is metadata.
func Usage(r io.ReaderAt) (map[string]int64, error) {
	var sb superblock
	if err := binary.Read(io.NewSectionReader(r, 0, 96), binary.LittleEndian, &sb); err != nil {
		return nil, fmt.Errorf("read the superblock: %w", err)
	}
	if sb.Magic != 0x73717368 || sb.Major != 4 || sb.BlockSize == 0 || sb.InodeTable > sb.DirectoryTable {
		return nil, ErrFormat
	}
	u := usage{sb: sb, bytes: map[string]int64{}, seen: map[uint64]bool{}}
	var err error
	if u.inodes, err = readMetadata(r, sb.InodeTable, sb.DirectoryTable); err != nil {
		return nil, fmt.Errorf("read the inode table: %w", err)
	}
	// Which table follows the directories depends on what the image has.
	end := min(sb.FragmentTable, sb.ExportTable, sb.IDTable)
	if u.dirs, err = readMetadata(r, sb.DirectoryTable, end); err != nil {
		return nil, fmt.Errorf("read the directory table: %w", err)
	}
	if err := u.inode("/", sb.Root, 0); err != nil {
		return nil, err
	}
	return u.bytes, nil
}

// readMetadata joins the metadata blocks between two offsets. All are plain
// and all but the last are full, so that places in the result can be computed.
func readMetadata(r io.ReaderAt, from, to uint64) ([]byte, error) {
	if to < from || to-from > maxMetadata {
		return nil, fmt.Errorf("%w: %d bytes of metadata", ErrFormat, int64(to-from))
	}
	raw := make([]byte, to-from)
	if _, err := r.ReadAt(raw, int64(from)); err != nil {
		return nil, err
	}
	var out []byte
	for len(raw) >= 2 {
		h := binary.LittleEndian.Uint16(raw)
		n := int(h &^ plainBlock)
		if h&plainBlock == 0 || n > metadataSize || n > len(raw)-2 {
			return nil, fmt.Errorf("%w: a compressed or overlong block", ErrFormat)
		}
		out = append(out, raw[2:2+n]...)
		raw = raw[2+n:]
		if n < metadataSize {
			break
		}
	}
	return out, nil
}

// usage walks the tree.
type usage struct {
	sb           superblock
	inodes, dirs []byte
	bytes        map[string]int64
	seen         map[uint64]bool // data that counted already, by place
	count        int
}

// at returns the part of table that a reference names: a block's place in the
// table and an offset in the block's content.
func at(table []byte, block, offset uint64, need int) ([]byte, error) {
	if block%(metadataSize+2) != 0 {
		return nil, fmt.Errorf("%w: reference into a block", ErrFormat)
	}
	p := block/(metadataSize+2)*metadataSize + offset
	if p > uint64(len(table)) || uint64(len(table))-p < uint64(need) {
		return nil, fmt.Errorf("%w: reference beyond the table", ErrFormat)
	}
	return table[p:], nil
}

// inode visits the inode that ref names, at the given path.
func (u *usage) inode(name string, ref uint64, depth int) error {
	if u.count++; u.count > maxInodes || depth > maxDepth {
		return fmt.Errorf("%w: too many files", ErrFormat)
	}
	b, err := at(u.inodes, ref>>16, ref&0xffff, 32)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	switch kind := le.Uint16(b); kind {
	case 1: // directory
		return u.directory(name, uint64(le.Uint32(b[16:])), uint64(le.Uint16(b[26:])), int(le.Uint16(b[24:])), depth)
	case 8: // directory with an index
		if len(b) < 40 {
			return fmt.Errorf("%w: truncated inode", ErrFormat)
		}
		return u.directory(name, uint64(le.Uint32(b[24:])), uint64(le.Uint16(b[34:])), int(le.Uint32(b[20:])), depth)
	case 2: // file
		return u.file(name, uint64(le.Uint32(b[16:])), uint64(le.Uint32(b[28:])), le.Uint32(b[20:]), b[32:])
	case 9: // file with a large size or a sparse one
		if len(b) < 56 {
			return fmt.Errorf("%w: truncated inode", ErrFormat)
		}
		return u.file(name, le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint32(b[44:]), b[56:])
	}
	return nil // a link or a device: no content
}

// file adds up the sizes of a file's blocks, which stand in list.
func (u *usage) file(name string, start, size uint64, fragment uint32, list []byte) error {
	block := uint64(u.sb.BlockSize)
	n := size / block
	if size%block != 0 && fragment == noFragment {
		n++
	}
	if n > uint64(len(list)/4) {
		return fmt.Errorf("%w: %s has %d blocks", ErrFormat, name, n)
	}
	var sum int64
	for i := range n {
		sum += int64(binary.LittleEndian.Uint32(list[4*i:]) & onDisk)
	}
	if u.seen[start] && n > 0 {
		sum = 0
	}
	u.seen[start] = true
	u.bytes[name] = sum
	return nil
}

// directory visits the entries of a directory; size is that of its listing and
// three bytes more.
func (u *usage) directory(name string, block, offset uint64, size, depth int) error {
	if size <= 3 {
		return nil
	}
	size -= 3
	list, err := at(u.dirs, block, offset, size)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	for list = list[:size]; len(list) >= 12; {
		entries, base := le.Uint32(list), uint64(le.Uint32(list[4:]))
		list = list[12:]
		for i := uint32(0); i <= entries; i++ {
			if len(list) < 8 || len(list) < 8+int(le.Uint16(list[6:]))+1 {
				return fmt.Errorf("%w: truncated directory %s", ErrFormat, name)
			}
			end := 8 + int(le.Uint16(list[6:])) + 1
			if err := u.inode(path.Join(name, string(list[8:end])), base<<16|uint64(le.Uint16(list)), depth+1); err != nil {
				return err
			}
			list = list[end:]
		}
	}
	return nil
}
