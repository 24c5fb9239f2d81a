package fatslot

import (
	"bytes"
	"fmt"
	"io"

	"github.com/digital-mycelium/os/pkg/fat"
	"github.com/digital-mycelium/os/pkg/update"
)

// chunk is how much is read from the disk at once, in bytes.
const chunk = 1 << 20

// Partition is a disk from Offset, in bytes, on.
type Partition struct {
	Disk
	Offset int64
}

// ReadAt implements io.ReaderAt.
func (p Partition) ReadAt(b []byte, off int64) (int, error) { return p.Disk.ReadAt(b, p.Offset+off) }

// WriteAt implements io.WriterAt.
func (p Partition) WriteAt(b []byte, off int64) (int, error) { return p.Disk.WriteAt(b, p.Offset+off) }

// File opens the size bytes from offset at on; there is nothing to close.
func (p Partition) File(at, size int64) update.File { return file{io.NewSectionReader(p, at, size)} }

type file struct{ *io.SectionReader }

func (file) Close() error { return nil }

// Compare wants the tables and directories on the partition, all of which lie before the
// byte end, to be those of f: a flipped bit there is as bad as one in a file.
func (p Partition) Compare(f *fat.FS, end int64) error {
	want := make(memory, end)
	if err := f.WriteMetadata(want); err != nil {
		return err
	}
	got := make([]byte, min(end, chunk))
	for at := int64(0); at < end; at += chunk {
		part := got[:min(chunk, end-at)]
		if _, err := p.ReadAt(part, at); err != nil {
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
		return 0, fmt.Errorf("%d bytes at %d do not lie before the files", len(p), off)
	}
	return copy(m[off:], p), nil
}
