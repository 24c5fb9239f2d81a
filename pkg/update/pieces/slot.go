package pieces

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/digital-mycelium/os/pkg/fat"
	"github.com/digital-mycelium/os/pkg/update"
	"github.com/digital-mycelium/os/pkg/update/fatslot"
)

// Slot is the update.Content of a partition. It is not safe for concurrent use.
type Slot struct {
	Disk fatslot.Disk
	// Offset and Bytes say where on Disk the partition is.
	Offset, Bytes int64
	// Start is where the partition begins on its disk, in bytes: it stands in the
	// file system. It is Offset when Disk is the whole disk.
	Start int64
	// Label and ID are the file system's.
	Label string
	ID    uint32
}

var _ update.Content = (*Slot)(nil)

// chunk is how much is read from the disk at once.
const chunk = 1 << 20

// fs returns the file system that holds the pieces, and where in it they begin.
func (s *Slot) fs(list []Piece) (*fat.FS, int64, error) {
	f, err := fat.New(fat.Config{Size: s.Bytes, Label: s.Label, ID: s.ID, Start: s.Start, Time: time.Unix(0, 0)})
	if err != nil {
		return nil, 0, err
	}
	for _, p := range list {
		if err := f.AddFile(p.Name, p.Size, nil); err != nil {
			return nil, 0, err
		}
	}
	base, _, err := f.Extent(list[0].Name)
	if err != nil {
		return nil, 0, err
	}
	for _, p := range list {
		at, _, err := f.Extent(p.Name)
		if err != nil {
			return nil, 0, err
		}
		if at != base+p.Offset {
			return nil, 0, fmt.Errorf("%s cannot lie at byte %d of a file system of %d bytes: its clusters are not pages", p.Name, p.Offset, s.Bytes)
		}
	}
	return f, base, nil
}

// Base returns where in the partition a file of size bytes begins: the root directory
// takes one cluster, whatever the pieces are.
func (s *Slot) Base(size int64) (int64, error) {
	_, base, err := s.fs([]Piece{{Name: "file", Size: size}})
	return base, err
}

// Write implements update.Content. What was in the partition is gone durably before
// the first byte of the new content is written, and the new content is there durably
// before anything names it.
func (s *Slot) Write(r io.Reader, size int64) error {
	if size > maxFile {
		return fmt.Errorf("%w: %d bytes", ErrFormat, size)
	}
	whole, base, err := s.fs([]Piece{{Name: "file", Size: size}})
	if err != nil {
		return err // before anything is lost
	}
	w := io.NewOffsetWriter(s.Disk, s.Offset)
	if err := whole.Clear(w); err != nil {
		return err
	}
	if err := s.Disk.Sync(); err != nil {
		return fmt.Errorf("sync the cleared partition: %w", err)
	}
	n, err := io.CopyBuffer(io.NewOffsetWriter(w, base), struct{ io.Reader }{io.LimitReader(r, size+1)}, make([]byte, chunk))
	if err != nil {
		return fmt.Errorf("write the pieces: %w", err)
	}
	if n != size {
		return fmt.Errorf("content is not the %d bytes that were announced", size)
	}
	if err := s.Disk.Sync(); err != nil {
		return fmt.Errorf("sync the pieces: %w", err)
	}
	f, _, err := s.read(size)
	if err != nil {
		return err
	}
	if err := f.WriteMetadata(w); err != nil {
		return err
	}
	if err := s.Disk.Sync(); err != nil {
		return fmt.Errorf("sync the partition: %w", err)
	}
	return nil
}

// read returns the file system for the pieces that are on the disk, and where they begin.
func (s *Slot) read(size int64) (*fat.FS, int64, error) {
	base, err := s.Base(size)
	if err != nil {
		return nil, 0, err
	}
	head := make([]byte, Page)
	if _, err := s.Disk.ReadAt(head, s.Offset+base); err != nil {
		return nil, 0, fmt.Errorf("read the list of pieces: %w", err)
	}
	list, err := Parse(head, size)
	if err != nil {
		return nil, 0, err
	}
	f, at, err := s.fs(list)
	if err != nil {
		return nil, 0, err
	}
	if at != base {
		return nil, 0, fmt.Errorf("%w: the directory of %d pieces takes more than a cluster", ErrFormat, len(list))
	}
	return f, base, nil
}

// Open implements update.Content: it reads the file as one where Write puts it, and
// before that, that the file system shows its pieces.
func (s *Slot) Open(size int64) (update.File, error) {
	f, base, err := s.read(size)
	if err != nil {
		return nil, err
	}
	if err := s.compare(f, base); err != nil {
		return nil, err
	}
	return file{io.NewSectionReader(s.Disk, s.Offset+base, size)}, nil
}

// Size returns the length of the file that is in the slot, by its list of pieces alone.
func (s *Slot) Size() (int64, error) {
	base, err := s.Base(Page)
	if err != nil {
		return 0, err
	}
	head := make([]byte, Page)
	if _, err := s.Disk.ReadAt(head, s.Offset+base); err != nil {
		return 0, fmt.Errorf("read the list of pieces: %w", err)
	}
	list, err := parseList(head)
	if err != nil {
		return 0, err
	}
	return FileSize(list), nil
}

// file is what Open returns; there is nothing to close.
type file struct{ *io.SectionReader }

func (file) Close() error { return nil }

// compare wants the tables and the directory, which lie before the pieces, to be those
// of f.
func (s *Slot) compare(f *fat.FS, end int64) error {
	want := make(memory, end)
	if err := f.WriteMetadata(want); err != nil {
		return err
	}
	got := make([]byte, min(end, chunk))
	for at := int64(0); at < end; at += chunk {
		part := got[:min(chunk, end-at)]
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
		return 0, fmt.Errorf("%d bytes at %d do not lie before the pieces", len(p), off)
	}
	return copy(m[off:], p), nil
}
