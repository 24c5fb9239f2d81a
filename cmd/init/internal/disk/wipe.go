package disk

import (
	"errors"
	"fmt"

	"github.com/digital-mycelium/os/pkg/ext4"
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
	for _, off := range ext4.Copies(dev.Size()) {
		if err := zero(dev, off, min(off+ext4.SuperblockSize, dev.Size()), progress); err != nil {
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
