package disklayout

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/digital-mycelium/os/pkg/fat"
	"github.com/digital-mycelium/os/pkg/gpt"
)

// Content is what goes onto a disk.
type Content struct {
	Layout Layout
	// Source is where the layout's files and raw pieces are read from.
	Source fs.FS
	// OpenOSFile opens the operating system's file, which has OSFileSize bytes. It
	// may be called more than once.
	OpenOSFile func() (io.ReadCloser, error)
	OSFileSize int64
	// Kept are the contents of the layout's files with Keep, by their names, on the disk
	// that is installed on; nil without.
	Kept map[string][]byte
	// Firmware is what ReadFirmware gives of a disk with the same machine's; Write, whose
	// images are for several machines, does not look at it.
	Firmware []byte
	// Config is the machine's configuration; nil for no such file.
	Config []byte
	// Mark is the content of InstalledFile; nil for no such file.
	Mark []byte
	// Time is given to every file.
	Time time.Time
}

// Write puts a whole disk image onto w, which must read as zeros: what holds nothing
// is not written, so a sparse file stays sparse. ids names disk and partitions. It
// returns the size of the image, the layout's.
func Write(w io.WriterAt, c Content, ids IDs) (int64, error) {
	t, err := c.Layout.Table(c.Layout.Bytes(), ids)
	if err != nil {
		return 0, fmt.Errorf("lay out the disk: %w", err)
	}
	for _, p := range t.Partitions {
		if err := c.fill(w, t, p); err != nil {
			return 0, fmt.Errorf("partition %s: %w", p.Name, err)
		}
	}
	if err := c.setBootCode(t); err != nil {
		return 0, err
	}
	if err := t.Write(w); err != nil {
		return 0, err
	}
	return t.DiskBytes(), c.eachRaw(t, func(b []byte, off int64) error {
		_, err := w.WriteAt(b, off)
		return err
	})
}

// fill writes what partition p holds from the start; what is there reads as zeros.
func (c Content) fill(w io.WriterAt, t *gpt.Table, p gpt.Partition) error {
	at := io.NewOffsetWriter(w, t.Offset(p))
	if p.Type == gpt.State {
		_, err := at.WriteAt(emptySector(), 0)
		return err
	}
	f, err := c.fileSystem(t, p)
	if f == nil || err != nil {
		return err
	}
	return f.Write(at)
}

// emptySector is the first one of a partition whose file system is still to be made.
func emptySector() []byte { return markedSector(EmptyMarker) }

func markedSector(marker string) []byte {
	b := make([]byte, sectorSize)
	copy(b, marker)
	return b
}

// fileSystem returns what partition p of t holds; nil when that is no FAT file system.
func (c Content) fileSystem(t *gpt.Table, p gpt.Partition) (*fat.FS, error) {
	if p.Type != gpt.ESP && p.Type != gpt.XBOOTLDR && p.Type != gpt.Slot {
		return nil, nil
	}
	f, err := fat.New(fat.Config{
		Size: t.Bytes(p), Label: p.Name, ID: binary.LittleEndian.Uint32(p.ID[:]), Time: c.Time, Start: t.Offset(p),
	})
	if err != nil {
		return nil, err
	}
	switch p.Type {
	case gpt.ESP:
		return f, c.addESP(f)
	case gpt.XBOOTLDR:
		return f, f.AddFile(OSFile, c.OSFileSize, c.OpenOSFile)
	}
	return f, nil
}

func (c Content) addESP(f *fat.FS) error {
	for _, file := range c.Layout.Files {
		if kept, ok := c.Kept[file.Name]; ok && file.Keep {
			if err := f.AddBytes(file.Name, kept); err != nil {
				return err
			}
			continue
		}
		st, err := fs.Stat(c.Source, file.Source)
		if err != nil {
			return fmt.Errorf("find what becomes %s: %w", file.Name, err)
		}
		open := func() (io.ReadCloser, error) { return c.Source.Open(file.Source) }
		if err := f.AddFile(file.Name, st.Size(), open); err != nil {
			return err
		}
	}
	if c.Config != nil {
		if err := f.AddBytes(ConfigFile, c.Config); err != nil {
			return err
		}
	}
	if c.Mark == nil {
		return nil
	}
	return f.AddBytes(InstalledFile, c.Mark)
}

// eachRaw calls do for each raw piece. A piece that would lie on the table or on what
// has a file system is an error.
func (c Content) eachRaw(t *gpt.Table, do func(b []byte, off int64) error) error {
	for _, r := range c.Layout.Raw {
		b, err := fs.ReadFile(c.Source, r.Source)
		if err != nil {
			return fmt.Errorf("read the piece for byte %d of the disk: %w", r.Offset, err)
		}
		if err := c.rawFits(t, r, int64(len(b))); err != nil {
			return err
		}
		if err := do(b, r.Offset); err != nil {
			return fmt.Errorf("write %s to byte %d of the disk: %w", r.Source, r.Offset, err)
		}
	}
	return nil
}

// setBootCode makes the piece of the first sector a part of the table, which shares the
// sector with it.
func (c Content) setBootCode(t *gpt.Table) error {
	clear(t.BootCode[:])
	return c.eachRaw(t, func(b []byte, off int64) error {
		if off == 0 {
			copy(t.BootCode[:], b)
		}
		return nil
	})
}

func (c Content) rawFits(t *gpt.Table, r Raw, size int64) error {
	if r.Offset == 0 {
		if size > gpt.BootCodeSize {
			return fmt.Errorf("%s has %d bytes, the first sector has %d for boot code", r.Source, size, gpt.BootCodeSize)
		}
		return nil
	}
	first, last := uint64(r.Offset/sectorSize), uint64((r.Offset+size-1)/sectorSize)
	if first < tableEnd || last > t.LastUsable {
		return fmt.Errorf("%s at byte %d, %d bytes, lies on the partition table", r.Source, r.Offset, size)
	}
	for _, p := range t.Partitions {
		used := p.Type == gpt.State || p.Type == gpt.Data || kind(p.Type) == gpt.XBOOTLDR || p.Type == gpt.ESP
		if used && first <= p.Last && last >= p.First {
			return fmt.Errorf("%s at byte %d, %d bytes, lies on partition %s", r.Source, r.Offset, size, p.Name)
		}
	}
	return nil
}

// rawPresent reports whether the raw pieces stand on the disk d as they should.
func (c Content) rawPresent(d io.ReaderAt, t *gpt.Table) bool {
	err := c.eachRaw(t, func(b []byte, off int64) error { _, err := compare{d}.WriteAt(b, off); return err })
	return err == nil
}

// errDiffers says that a disk does not hold what was written.
var errDiffers = errors.New("the disk gives back something else than was written: it may be failing")

// compare is an io.WriterAt that wants what is written to stand there.
type compare struct{ r io.ReaderAt }

func (c compare) WriteAt(p []byte, off int64) (int, error) {
	got := make([]byte, len(p))
	if n, err := c.r.ReadAt(got, off); n < len(p) {
		return 0, fmt.Errorf("read byte %d: %w", off, err)
	}
	if !bytes.Equal(got, p) {
		return 0, fmt.Errorf("between the bytes %d and %d: %w", off, off+int64(len(p)), errDiffers)
	}
	return len(p), nil
}
