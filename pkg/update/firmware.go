package update

import "io"

// Firmware is what starts the machine. Each call is durable when it returns, and
// after a power cut within it either has happened or has not.
type Firmware interface {
	// Running returns the slot that the machine was started from.
	Running() (string, error)
	// Default returns the slot that is started when nothing else is asked for.
	Default() (string, error)
	// SetDefault changes that.
	SetDefault(slot string) error
	// TryOnce makes the next start, and only that one, be of the slot. A firmware
	// that is asked by the reboot itself forgets it when the power goes before.
	TryOnce(slot string) error
	// Untry takes TryOnce back. It is no error when there is nothing to take back.
	Untry() error
}

// Content is the place of one slot on the disk.
type Content interface {
	// Write replaces what is in the slot by the size bytes of r. It must be durable
	// when Write returns. Whatever happens before, the slot is not started.
	Write(r io.Reader, size int64) error
	// Open reads what is in the slot, from the disk and not from a cache: size
	// bytes. The caller must close it.
	Open(size int64) (File, error)
}

// File is what is in a slot, open for reading.
type File interface {
	io.ReadSeekCloser
	io.ReaderAt
	// Size is in bytes.
	Size() int64
}
