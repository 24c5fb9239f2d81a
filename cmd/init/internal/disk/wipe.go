package disk

import (
	"errors"
	"fmt"
	"io"
)

// wipeMarker stands in the first sector while a partition is being wiped, until
// marker takes its place.
const wipeMarker = "mycelium-os: this partition is being wiped\n"

// Eraser is a Device whose content can be given up.
type Eraser interface {
	Device
	// Discard tells the device that a range holds nothing any more; what it reads
	// as afterwards is open. secure says that the device promises to have erased
	// it. A device that cannot discard returns errors.ErrUnsupported.
	Discard(off, n int64) (secure bool, err error)
}

// Wiped says how thoroughly a partition was wiped.
type Wiped struct {
	// Overwritten says that zeros were written over every byte.
	Overwritten bool
	// Discarded says that the device was told to drop the content, Secure that it
	// promises to have erased it.
	Discarded, Secure bool
}

// discardChunk is how much is discarded at once, in bytes.
const discardChunk = 1 << 30

// Wipe makes dev hold nothing: it is discarded where the device can, superblocks
// and their copies are overwritten, and with overwrite every byte is. Whatever
// moment the power is cut at, Inspect afterwards says what it said before,
// HalfWiped (and Wipe is to be called again) or, at the end, Unfinished, which
// Format turns into a file system. progress is called now and then.
func Wipe(dev Eraser, overwrite bool, progress func()) (Wiped, error) {
	sector := make([]byte, 512)
	copy(sector, wipeMarker)
	if err := writeSync(dev, sector, 0); err != nil {
		return Wiped{}, fmt.Errorf("mark the partition as being wiped: %w", err)
	}
	w := Wiped{Overwritten: overwrite}
	if overwrite {
		if err := zero(dev, int64(len(sector)), dev.Size(), progress); err != nil {
			return Wiped{}, err
		}
		if err := dev.Sync(); err != nil {
			return Wiped{}, fmt.Errorf("overwrite the partition: %w", err)
		}
	}
	if err := discard(dev, &w, progress); err != nil {
		return Wiped{}, err
	}
	// A discarded range may read as what it held: nothing may look like the
	// beginning of a file system afterwards.
	if err := zero(dev, int64(len(sector)), min(headSize, dev.Size()), progress); err != nil {
		return Wiped{}, err
	}
	for _, off := range superblocks(dev.Size()) {
		if err := zero(dev, off, min(off+superSize, dev.Size()), progress); err != nil {
			return Wiped{}, err
		}
	}
	if err := dev.Sync(); err != nil {
		return Wiped{}, fmt.Errorf("overwrite the superblocks: %w", err)
	}
	clear(sector)
	copy(sector, marker)
	if err := writeSync(dev, sector, 0); err != nil {
		return Wiped{}, fmt.Errorf("mark the partition as wiped: %w", err)
	}
	return w, nil
}

// discard gives everything up but the first block, with the marker.
func discard(dev Eraser, w *Wiped, progress func()) error {
	const block = 4096
	w.Secure = true
	for off := int64(block); off < dev.Size(); off += discardChunk {
		secure, err := dev.Discard(off, min(discardChunk, dev.Size()-off))
		if errors.Is(err, errors.ErrUnsupported) {
			w.Discarded, w.Secure = false, false
			return nil
		}
		if err != nil {
			return fmt.Errorf("discard the partition at byte %d: %w", off, err)
		}
		w.Discarded, w.Secure = true, w.Secure && secure
		progress()
	}
	return nil
}

// zero writes zeros from one byte to before another.
func zero(dev Device, from, to int64, progress func()) error {
	buf := make([]byte, max(0, min(chunk, to-from)))
	for off := from; off < to; {
		n := min(chunk-off%chunk, to-off)
		if _, err := dev.WriteAt(buf[:min(n, int64(len(buf)))], off); err != nil {
			return fmt.Errorf("overwrite the partition at byte %d: %w", off, err)
		}
		off += min(n, int64(len(buf)))
		progress()
	}
	return nil
}

// ClearPlace makes size bytes at off of a disk a place for a new partition that Inspect
// finds Blank: whatever lay there belongs to no partition. The first MiB is
// overwritten, and what looks like a copy of a superblock: an image written over the
// disk of an older node leaves those of its DATA where the new one's will be.
func ClearPlace(d interface {
	io.ReaderAt
	io.WriterAt
}, off, size int64,
) error {
	if _, err := d.WriteAt(make([]byte, min(headSize, size)), off); err != nil {
		return err
	}
	super := make([]byte, superSize)
	for _, at := range superblocks(size) {
		if at+superSize > size {
			continue
		}
		if _, err := d.ReadAt(super, off+at); err != nil {
			continue // an unreadable sector has no copy that could be found
		}
		if _, _, ok := decodeSuper(super); !ok {
			continue
		}
		if _, err := d.WriteAt(make([]byte, superSize), off+at); err != nil {
			return err
		}
	}
	return nil
}

// superblocks returns where copies of the superblock may be on a partition of
// size bytes, for each block size that mke2fs uses: at the beginning of the block
// groups 1 and the powers of 3, 5 and 7 (sparse_super), in bytes.
func superblocks(size int64) []int64 {
	var offsets []int64
	for _, blockSize := range []int64{1024, 2048, 4096} {
		firstBlock := int64(0)
		if blockSize == 1024 {
			firstBlock = 1
		}
		add := func(group int64) bool {
			off := (group*groupBlocksPerKB*(blockSize/1024) + firstBlock) * blockSize
			if off >= size {
				return false
			}
			offsets = append(offsets, off)
			return true
		}
		add(1)
		for _, base := range []int64{3, 5, 7} {
			for group := base; add(group); group *= base {
			}
		}
	}
	return offsets
}
