package pieces

import (
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

// chunk is how much is written to the disk at once, in bytes.
const chunk = 1 << 20

func (s *Slot) partition() fatslot.Partition {
	return fatslot.Partition{Disk: s.Disk, Offset: s.Offset}
}

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
	w := s.partition()
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
	if _, err := s.partition().ReadAt(head, base); err != nil {
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
	if err := s.partition().Compare(f, base); err != nil { // the pieces come last
		return nil, err
	}
	return s.partition().File(base, size), nil
}

// Size returns the length of the file that is in the slot, by its list of pieces alone.
func (s *Slot) Size() (int64, error) {
	base, err := s.Base(Page)
	if err != nil {
		return 0, err
	}
	head := make([]byte, Page)
	if _, err := s.partition().ReadAt(head, base); err != nil {
		return 0, fmt.Errorf("read the list of pieces: %w", err)
	}
	list, err := parseList(head)
	if err != nil {
		return 0, err
	}
	return FileSize(list), nil
}
