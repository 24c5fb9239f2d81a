package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/digital-mycelium/os/pkg/disklayout"
)

// Layout of ext4 (Linux, Documentation/filesystems/ext4/super.rst), in bytes.
const (
	superOffset = 1024
	superSize   = 1024
	superMagic  = 0xef53

	offBlocksLo     = 0x04
	offLogBlockSize = 0x18
	offMagic        = 0x38
	offState        = 0x3a
	offBlockGroup   = 0x5a
	offIncompat     = 0x60
	offROCompat     = 0x64
	offBlocksHi     = 0x150
	offChecksum     = 0x3fc

	stateValid       = 1
	stateErrors      = 2
	incompatRecover  = 0x4
	incompat64bit    = 0x80
	roMetadataCsum   = 0x400
	maxLogBlockSize  = 6 // 64 KiB
	headSize         = 1 << 20
	maxGroupsLooked  = 7
	groupBlocksPerKB = 8192 // blocks in a group for each KiB of block size
)

// marker stands in the first sector while a file system is being made, and in an
// image or a new partition that is to hold one. ext4 does not use the first 1024 bytes.
const marker = disklayout.EmptyMarker

// Finding is what a partition holds.
type Finding int

// Findings.
const (
	// Blank: the first MiB is zero. It may be formatted.
	Blank Finding = iota
	// Unfinished: formatting was interrupted; nothing was ever stored here.
	Unfinished
	// Clean: ext4 that was unmounted in order.
	Clean
	// Unclean: ext4 that was not, or in which the kernel has seen errors.
	Unclean
	// Damaged: no superblock in its place, and at least one copy of it elsewhere.
	Damaged
	// Foreign: something else, or nothing that could be recognised.
	Foreign
	// HalfWiped: a wipe was interrupted; it is to be repeated.
	HalfWiped
)

func (f Finding) String() string {
	return [...]string{"blank", "unfinished", "clean", "unclean", "damaged", "foreign", "half wiped"}[f]
}

// Backup is a copy of the superblock, as e2fsck's options -b and -B name it.
type Backup struct{ Block, BlockSize int64 }

// Inspection is the result of Inspect.
type Inspection struct {
	Finding Finding
	// Bytes is the size of the file system, when its superblock could be read.
	Bytes int64
	// Backups are the copies of the superblock that were found.
	Backups []Backup
}

// Inspect looks at a partition of size bytes and changes nothing.
func Inspect(r io.ReaderAt, size int64) (Inspection, error) {
	head := make([]byte, min(headSize, size))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return Inspection{}, fmt.Errorf("read the first MiB: %w", err)
	}
	if len(head) < superOffset+superSize {
		return Inspection{Finding: Foreign}, nil
	}
	if bytes.HasPrefix(head, []byte(marker)) {
		return Inspection{Finding: Unfinished}, nil
	}
	if bytes.HasPrefix(head, []byte(wipeMarker)) {
		return Inspection{Finding: HalfWiped}, nil
	}
	if isZero(head) {
		// A lost first MiB is no reason to forget the rest.
		if backups := findBackups(r, size); len(backups) > 0 {
			return Inspection{Finding: Damaged, Backups: backups}, nil
		}
		return Inspection{Finding: Blank}, nil
	}
	in := Inspection{Backups: findBackups(r, size)}
	super := head[superOffset : superOffset+superSize]
	n, blockSize, ok := decodeSuper(super)
	switch {
	case ok:
		in.Bytes = n * blockSize
		in.Finding = Clean
		state := binary.LittleEndian.Uint16(super[offState:])
		recover := binary.LittleEndian.Uint32(super[offIncompat:])&incompatRecover != 0
		if state&stateValid == 0 || state&stateErrors != 0 || recover {
			in.Finding = Unclean
		}
	case len(in.Backups) > 0:
		in.Finding = Damaged
	default:
		in.Finding = Foreign
	}
	return in, nil
}

// decodeSuper returns the number of blocks and their size in bytes; ok is false
// when b is no superblock.
func decodeSuper(b []byte) (blocks, blockSize int64, ok bool) {
	le := binary.LittleEndian
	log := le.Uint32(b[offLogBlockSize:])
	if le.Uint16(b[offMagic:]) != superMagic || log > maxLogBlockSize {
		return 0, 0, false
	}
	if le.Uint32(b[offROCompat:])&roMetadataCsum != 0 && le.Uint32(b[offChecksum:]) != superChecksum(b) {
		return 0, 0, false
	}
	count := uint64(le.Uint32(b[offBlocksLo:]))
	if le.Uint32(b[offIncompat:])&incompat64bit != 0 {
		count |= uint64(le.Uint32(b[offBlocksHi:])) << 32
	}
	if count == 0 || count > 1<<48 {
		return 0, 0, false
	}
	return int64(count), 1024 << log, true
}

// findBackups looks for copies of the superblock at the start of the block
// groups that have one (1, 3, 5, 7), for each block size that mke2fs uses.
func findBackups(r io.ReaderAt, size int64) []Backup {
	var found []Backup
	buf := make([]byte, superSize)
	for _, blockSize := range []int64{1024, 2048, 4096} {
		firstBlock := int64(0)
		if blockSize == 1024 {
			firstBlock = 1
		}
		for group := int64(1); group <= maxGroupsLooked; group += 2 {
			block := group*groupBlocksPerKB*(blockSize/1024) + firstBlock
			if (block+1)*blockSize > size {
				break
			}
			if _, err := r.ReadAt(buf, block*blockSize); err != nil {
				continue // an unreadable sector: there are other copies
			}
			_, bs, ok := decodeSuper(buf)
			if ok && bs == blockSize && int64(binary.LittleEndian.Uint16(buf[offBlockGroup:])) == group {
				found = append(found, Backup{Block: block, BlockSize: blockSize})
			}
		}
	}
	return found
}

// ClearRecover takes the flag "the journal must be recovered" out of a copy of
// the superblock and reports whether it stood there. A copy gets the flag when
// a mounted file system grows, and keeps it for ever; e2fsck, started from such
// a copy, recovers the journal, starts again, sees the flag again and gives up.
// The second time the copy must be without it.
func ClearRecover(dev Device, b Backup) (bool, error) {
	super := make([]byte, superSize)
	off := b.Block * b.BlockSize
	if _, err := dev.ReadAt(super, off); err != nil {
		return false, fmt.Errorf("read the superblock's copy in block %d: %w", b.Block, err)
	}
	le := binary.LittleEndian
	flags := le.Uint32(super[offIncompat:])
	if _, _, ok := decodeSuper(super); !ok || flags&incompatRecover == 0 {
		return false, nil
	}
	le.PutUint32(super[offIncompat:], flags&^incompatRecover)
	if le.Uint32(super[offROCompat:])&roMetadataCsum != 0 {
		le.PutUint32(super[offChecksum:], superChecksum(super))
	}
	if err := writeSync(dev, super, off); err != nil {
		return false, fmt.Errorf("write the superblock's copy in block %d: %w", b.Block, err)
	}
	return true, nil
}

// superChecksum is the CRC-32C of a superblock as ext4 keeps it: not inverted.
func superChecksum(super []byte) uint32 {
	return ^crc32.Checksum(super[:offChecksum], crc32.MakeTable(crc32.Castagnoli))
}

// isZero looks at eight bytes at a time: on an emulated machine that decides
// how long the first boot takes.
func isZero(b []byte) bool {
	for len(b) >= 32 {
		le := binary.LittleEndian
		if le.Uint64(b)|le.Uint64(b[8:])|le.Uint64(b[16:])|le.Uint64(b[24:]) != 0 {
			return false
		}
		b = b[32:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
