package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// superblock is what this package needs of an ext4 superblock.
// Offsets: Linux, Documentation/filesystems/ext4/super.rst.
type superblock struct {
	blockSize      int64
	blocks         int64
	blocksPerGroup int64
	firstBlock     int64
	sparse         bool      // backups in groups 0, 1 and powers of 3, 5, 7
	sparse2        [2]uint32 // groups of the two backups, with sparse_super2
	hasSparse2     bool
}

const (
	superblockOffset = 1024
	superblockSize   = 1024
	ext4Magic        = 0xef53
)

var errNoExt4 = errors.New("no ext4 superblock")

func parseSuperblock(b []byte) (superblock, error) {
	if len(b) < superblockSize || binary.LittleEndian.Uint16(b[0x38:]) != ext4Magic {
		return superblock{}, errNoExt4
	}
	le32 := func(off int) uint32 { return binary.LittleEndian.Uint32(b[off:]) }
	logSize := le32(0x18)
	if logSize > 6 {
		return superblock{}, fmt.Errorf("ext4 block size 2^%d KiB is out of range", logSize)
	}
	s := superblock{
		blockSize:      1024 << logSize,
		blocks:         int64(le32(0x4)),
		blocksPerGroup: int64(le32(0x20)),
		firstBlock:     int64(le32(0x14)),
		sparse:         le32(0x64)&0x1 != 0,
		hasSparse2:     le32(0x5c)&0x200 != 0,
		sparse2:        [2]uint32{le32(0x24c), le32(0x250)},
	}
	if le32(0x60)&0x80 != 0 { // INCOMPAT_64BIT
		s.blocks |= int64(le32(0x150)&0x7fff) << 32
	}
	if s.blocksPerGroup == 0 {
		return superblock{}, errors.New("ext4 superblock: no blocks per group")
	}
	return s, nil
}

// backups are the byte offsets of the backup superblocks.
func (s superblock) backups() []int64 {
	var at []int64
	groups := (s.blocks - s.firstBlock + s.blocksPerGroup - 1) / s.blocksPerGroup
	for g := int64(1); g < groups; g++ {
		if s.hasBackup(g) {
			at = append(at, (g*s.blocksPerGroup+s.firstBlock)*s.blockSize)
		}
	}
	return at
}

func (s superblock) hasBackup(group int64) bool {
	switch {
	case s.hasSparse2:
		return group == int64(s.sparse2[0]) || group == int64(s.sparse2[1])
	case !s.sparse, group <= 1:
		return true
	}
	for _, base := range []int64{3, 5, 7} {
		n := base
		for n < group {
			n *= base
		}
		if n == group {
			return true
		}
	}
	return false
}

// Superblocks finds the superblocks of the ext4 file system in r: the primary
// first, then its backups. Offsets are bytes from the start of r.
func Superblocks(r io.ReaderAt) ([]int64, error) {
	b := make([]byte, superblockSize)
	if _, err := r.ReadAt(b, superblockOffset); err != nil {
		return nil, fmt.Errorf("read superblock: %w", err)
	}
	s, err := parseSuperblock(b)
	if err != nil {
		return nil, err
	}
	return append([]int64{superblockOffset}, s.backups()...), nil
}

// Scramble overwrites 1 KiB at each offset with bytes that are no superblock.
func Scramble(w io.WriterAt, offsets ...int64) error {
	junk := make([]byte, superblockSize)
	for i := range junk {
		junk[i] = byte(i*7 + 13)
	}
	for _, off := range offsets {
		if _, err := w.WriteAt(junk, off); err != nil {
			return fmt.Errorf("scramble at %d: %w", off, err)
		}
	}
	return nil
}
