// Package fatslot keeps an operating system's file in a partition of its own: a FAT
// file system, which firmwares and boot loaders read, with nothing in it but that
// file.
package fatslot

import (
	"fmt"
	"io"
	"time"

	"github.com/digital-mycelium/os/pkg/fat"
	"github.com/digital-mycelium/os/pkg/update"
)

// Disk is the disk, or the partition, that the slot is on.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes what was written durable, and forgets what is in memory of it, so
	// that what is read afterwards comes from the disk.
	Sync() error
}

// Slot is the update.Content of a partition. It is not safe for concurrent use.
type Slot struct {
	Disk Disk
	// Offset and Bytes say where on Disk the partition is.
	Offset, Bytes int64
	// Start is where the partition begins on its disk, in bytes: it stands in the
	// file system. It is Offset when Disk is the whole disk.
	Start int64
	// Label and ID are the file system's.
	Label string
	ID    uint32
	// File is the path of the operating system's file, with slashes.
	File string
}

var _ update.Content = (*Slot)(nil)

func (s *Slot) partition() Partition { return Partition{s.Disk, s.Offset} }

// fs returns the file system that holds a file of size bytes.
func (s *Slot) fs(size int64, content io.Reader) (*fat.FS, error) {
	f, err := fat.New(fat.Config{Size: s.Bytes, Label: s.Label, ID: s.ID, Start: s.Start, Time: time.Unix(0, 0)})
	if err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(content), nil }
	return f, f.AddFile(s.File, size, open)
}

// Write implements update.Content. What was in the partition is gone durably before
// the first byte of the new content is written, and the new content is there durably
// before anything names it: there are firmwares that start what nobody asked for.
func (s *Slot) Write(r io.Reader, size int64) error {
	f, err := s.fs(size, r)
	if err != nil {
		return err
	}
	if _, _, err := f.Extent(s.File); err != nil {
		return err // before anything is lost
	}
	w := s.partition()
	if err := f.Clear(w); err != nil {
		return err
	}
	if err := s.Disk.Sync(); err != nil {
		return fmt.Errorf("sync the cleared partition: %w", err)
	}
	if err := f.Write(w); err != nil {
		return err
	}
	if err := s.Disk.Sync(); err != nil {
		return fmt.Errorf("sync the partition: %w", err)
	}
	return nil
}

// Open implements update.Content: it reads the file's content where Write puts
// it, and before that, that the file system says so too.
func (s *Slot) Open(size int64) (update.File, error) {
	f, err := s.fs(size, nil)
	if err != nil {
		return nil, err
	}
	offset, _, err := f.Extent(s.File)
	if err != nil {
		return nil, err
	}
	// All tables and directories lie before the file.
	if err := s.partition().Compare(f, offset); err != nil {
		return nil, err
	}
	return s.partition().File(offset, size), nil
}
