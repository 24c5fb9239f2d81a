package disk

import (
	"errors"
	"fmt"
	"io"
)

// Device is a partition that is written to.
type Device interface {
	io.ReaderAt
	io.WriterAt
	// Zero makes n bytes at off read as zero.
	Zero(off, n int64) error
	// Sync returns when everything written is on the disk.
	Sync() error
	// Size is in bytes.
	Size() int64
}

// ErrTooSmall says that the partition is smaller than the file system.
var ErrTooSmall = errors.New("the partition is smaller than the smallest file system")

// chunk is how much is written at once, in bytes.
const chunk = 256 << 10

// Format makes dev hold the file system whose image template streams; the
// file system is then grown once it is mounted. Whatever moment the power is
// cut at, Inspect afterwards says Blank, Unfinished or Clean:
//
//  1. the marker is written and synced: from here on "Unfinished";
//  2. everything but the first two KiB is written;
//  3. then the superblock in the second KiB, synced;
//  4. the marker is erased and synced: "Clean".
//
// The caller makes sure that dev holds nothing of value.
func Format(dev Device, template io.Reader) error {
	sector := make([]byte, 512)
	copy(sector, marker)
	if err := writeSync(dev, sector, 0); err != nil {
		return fmt.Errorf("mark the partition as unfinished: %w", err)
	}
	head := make([]byte, superOffset+superSize)
	if _, err := io.ReadFull(template, head); err != nil {
		return fmt.Errorf("read the template: %w", err)
	}
	blocks, blockSize, ok := decodeSuper(head[superOffset:])
	if !ok || !isZero(head[:superOffset]) {
		return errors.New("the template is no ext4 file system")
	}
	if blocks*blockSize > dev.Size() {
		return fmt.Errorf("%w: %d of %d bytes", ErrTooSmall, dev.Size(), blocks*blockSize)
	}
	if err := dev.Zero(superOffset, blocks*blockSize-superOffset); err != nil {
		return fmt.Errorf("clear the partition: %w", err)
	}
	if err := copyBody(dev, template, int64(len(head)), blocks*blockSize); err != nil {
		return err
	}
	if err := dev.Sync(); err != nil {
		return fmt.Errorf("sync the file system: %w", err)
	}
	if err := writeSync(dev, head[superOffset:], superOffset); err != nil {
		return fmt.Errorf("write the superblock: %w", err)
	}
	if err := writeSync(dev, make([]byte, len(sector)), 0); err != nil {
		return fmt.Errorf("mark the partition as finished: %w", err)
	}
	return nil
}

// copyBody writes what follows the head of the template and is not zero.
func copyBody(dev Device, template io.Reader, off, size int64) error {
	buf := make([]byte, chunk)
	for off < size {
		// Keep the writes aligned to chunks.
		n := min(chunk-off%chunk, size-off)
		got, err := io.ReadFull(template, buf[:n])
		if got > 0 && !isZero(buf[:got]) {
			if _, err := dev.WriteAt(buf[:got], off); err != nil {
				return fmt.Errorf("write the file system at byte %d: %w", off, err)
			}
		}
		off += int64(got)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil // zeros at the end may be cut off
		case err != nil:
			return fmt.Errorf("read the template: %w", err)
		}
	}
	return nil
}

func writeSync(dev Device, b []byte, off int64) error {
	if _, err := dev.WriteAt(b, off); err != nil {
		return err
	}
	return dev.Sync()
}
