// Package fatslot keeps an operating system's file in a partition of its own: a FAT
// file system, which firmwares and boot loaders read, with nothing in it but that
// file.
package fatslot

import (
	"bytes"
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

// piece is how much is written to the disk at once.
const piece = 1 << 20

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
	w := partition{io.NewOffsetWriter(s.Disk, s.Offset), s.Disk}
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

// partition is where the file system is written.
type partition struct {
	*io.OffsetWriter
	disk Disk
}

func (p partition) Sync() error { return p.disk.Sync() }

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
	if err := s.compare(f, offset); err != nil {
		return nil, err
	}
	return file{io.NewSectionReader(s.Disk, s.Offset+offset, size)}, nil
}

// file is what Open returns; there is nothing to close.
type file struct{ *io.SectionReader }

func (file) Close() error { return nil }

// compare wants the tables and directories, all of which lie before the file's
// content, to be those of f: a flipped bit there is as bad as one in the file.
func (s *Slot) compare(f *fat.FS, end int64) error {
	want := make(memory, end)
	if err := f.WriteMetadata(want); err != nil {
		return err
	}
	got := make([]byte, min(end, piece))
	for at := int64(0); at < end; at += piece {
		part := got[:min(piece, end-at)]
		if _, err := s.Disk.ReadAt(part, s.Offset+at); err != nil {
			return fmt.Errorf("read the file system at byte %d: %w", at, err)
		}
		if !bytes.Equal(part, want[at:at+int64(len(part))]) {
			return fmt.Errorf("the file system is not what was written, between the bytes %d and %d", at, at+int64(len(part)))
		}
	}
	return nil
}

// memory is a disk in memory.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(m)) {
		return 0, fmt.Errorf("%d bytes at %d do not lie before the file", len(p), off)
	}
	return copy(m[off:], p), nil
}
