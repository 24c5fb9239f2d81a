package disklayout

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/digital-mycelium/os/pkg/fat"
	"github.com/digital-mycelium/os/pkg/gpt"
)

// Disk is a disk to install onto.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes what was written durable, and forgets what is in memory of it, so
	// that what is read afterwards comes from the disk.
	Sync() error
}

// Options say how to install.
type Options struct {
	// Keep is the table of a disk whose STATE and DATA stay as they are; nil to give
	// the disk a new table, and up whatever is on it.
	Keep *gpt.Table
	// Progress is called with what is being done and how much of all is done, in
	// percent. It may be nil.
	Progress func(step string, percent int)
}

// Install puts a system onto the disk d of size bytes and reads it back. Disk and
// partitions get new identifiers.
//
// Whatever moment the power is cut at, the disk then starts nothing, or the system
// that was there before, or the new one, whole; STATE and DATA that are to be kept
// are never written to. Install can be called again after any cut.
//
//   - Without Keep the partition table is destroyed first, durably, and comes back
//     last: before, no firmware finds anything on the disk.
//   - With Keep, the slot that is started by itself and the EFI partition are written
//     anew. Each has no file system from before its first byte until all of it stands
//     there. The other slot stays as it is. New identifiers come last.
func Install(d Disk, size int64, c Content, o Options) error {
	if o.Progress == nil {
		o.Progress = func(string, int) {}
	}
	in := installation{d: d, c: c, progress: o.Progress}
	var err error
	if o.Keep == nil {
		in.table, err = c.Layout.Table(size, RandomIDs)
	} else {
		in.table, err = renamed(c.Layout, o.Keep)
	}
	if err != nil {
		return fmt.Errorf("lay out the disk: %w", err)
	}
	if err := in.fits(); err != nil {
		return err
	}
	if err := c.setBootCode(in.table); err != nil {
		return err
	}
	if in.firmware, err = c.firmwareFor(d, o.Keep != nil); err != nil {
		return err
	}
	if o.Keep == nil {
		in.progress("erase", 1)
		if err := in.erase(size); err != nil {
			return fmt.Errorf("erase the disk: %w", err)
		}
	}
	return in.write(o.Keep == nil)
}

// renamed returns the table of a disk whose content stays, with new identifiers.
func renamed(l Layout, old *gpt.Table) (*gpt.Table, error) {
	if err := l.Keeps(old); err != nil {
		return nil, err
	}
	t := Renamed(old)
	committed := 0
	for _, p := range t.Partitions {
		if p.Type == gpt.XBOOTLDR {
			committed++
		}
	}
	if committed != 1 {
		return nil, fmt.Errorf("%d slots are started by themselves, want one", committed)
	}
	return t, nil
}

// Renamed returns the table with new identifiers, for the disk and for each partition:
// images of one board have the same ones, and two disks with the same cannot be told
// apart by a firmware.
//
// The first four bytes of a partition's identifier stay. They are the serial number of
// its FAT file system too, by which an update knows that a slot is as it was written.
func Renamed(old *gpt.Table) *gpt.Table {
	t := *old
	t.Disk = gpt.RandomGUID()
	t.Partitions = slices.Clone(old.Partitions)
	for i, p := range old.Partitions {
		t.Partitions[i].ID = gpt.RandomGUID()
		copy(t.Partitions[i].ID[:4], p.ID[:4])
	}
	return &t
}

// installation is one under way.
type installation struct {
	d        Disk
	c        Content
	table    *gpt.Table
	progress func(step string, percent int)
	// firmware is what is written as that; nil for nothing.
	firmware []byte
}

// fits finds out that something does not fit before anything is lost.
func (in *installation) fits() error {
	for _, p := range in.table.Partitions {
		f, err := in.c.fileSystem(in.table, p)
		if err == nil && f != nil && p.Type == gpt.XBOOTLDR {
			_, _, err = f.Extent(OSFile)
		}
		if err == nil && f != nil && p.Type == gpt.ESP {
			err = f.WriteMetadata(nowhere{})
		}
		if err != nil {
			return fmt.Errorf("partition %s: %w", p.Name, err)
		}
	}
	return in.c.eachRaw(in.table, func([]byte, int64) error { return nil })
}

type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// erase takes away what a firmware or another system would find: the table's
// copies and what stands around them. From the first sector on, Unfinished.
func (in *installation) erase(size int64) error {
	first := make([]byte, mib)
	copy(first, installMarker)
	if _, err := in.d.WriteAt(first, 0); err != nil {
		return err
	}
	if _, err := in.d.WriteAt(make([]byte, mib), size-mib); err != nil {
		return err
	}
	return in.d.Sync()
}

// Unfinished reports whether an installation without Keep was interrupted on d.
func Unfinished(d io.ReaderAt) bool {
	b := make([]byte, sectorSize)
	_, err := d.ReadAt(b, 0)
	return err == nil && bytes.Equal(b, markedSector(installMarker))
}

// write does the parts in their order.
func (in *installation) write(fresh bool) error {
	for _, typ := range []gpt.GUID{gpt.XBOOTLDR, gpt.Slot, gpt.ESP, gpt.State} {
		for _, p := range in.table.Partitions {
			if p.Type != typ || !fresh && (typ == gpt.Slot || typ == gpt.State) {
				continue
			}
			if err := in.partition(p); err != nil {
				return fmt.Errorf("partition %s: %w", p.Name, err)
			}
		}
	}
	in.progress("table", 95)
	behind := func(b []byte, off int64) error {
		if off == 0 {
			return nil
		}
		_, err := in.d.WriteAt(b, off)
		return err
	}
	if err := in.c.eachRaw(in.table, behind); err != nil {
		return err
	}
	if err := in.writeFirmware(in.d); err != nil {
		return err
	}
	if err := in.d.Sync(); err != nil {
		return fmt.Errorf("sync the disk: %w", err)
	}
	if err := in.writeFirmware(compare{in.d}); err != nil {
		return fmt.Errorf("read it back: %w", err)
	}
	if err := in.table.Write(in.d); err != nil {
		return err
	}
	if !in.c.rawPresent(in.d, in.table) {
		return fmt.Errorf("read the boot code back: %w", errDiffers)
	}
	in.progress("done", 100)
	return nil
}

// partition writes one partition and reads it back.
func (in *installation) partition(p gpt.Partition) error {
	at := section{in.d, in.table.Offset(p), func(int) {}}
	if p.Type == gpt.State {
		in.progress("state", 90)
		if err := zero(in.d, in.table.Offset(p), in.table.Bytes(p)); err != nil {
			return err
		}
		if _, err := at.WriteAt(emptySector(), 0); err != nil {
			return err
		}
		return in.d.Sync()
	}
	f, err := in.c.fileSystem(in.table, p)
	if err != nil {
		return err
	}
	if p.Type == gpt.XBOOTLDR {
		written := int64(0) // some more than the file
		at.wrote = func(n int) {
			written += int64(n)
			in.progress("system", 2+int(min(68, 68*written/max(1, in.c.OSFileSize))))
		}
	}
	if err := replace(in.d, at, f); err != nil {
		return err
	}
	if p.Type == gpt.XBOOTLDR {
		in.progress("verify", 72)
	}
	if err := f.Write(compare{io.NewSectionReader(in.d, in.table.Offset(p), in.table.Bytes(p))}); err != nil {
		return fmt.Errorf("read it back: %w", err)
	}
	in.progress("loader", 85)
	return nil
}

// replace writes a file system over what is there. Nothing is there, durably, before
// the first byte of it; all of it is before its boot sector.
func replace(d Disk, at section, f *fat.FS) error {
	if _, err := at.WriteAt(make([]byte, sectorSize), 0); err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync the partition without its first sector: %w", err)
	}
	if err := f.Clear(at); err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync the cleared partition: %w", err)
	}
	if err := f.Write(at); err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync the partition: %w", err)
	}
	return nil
}

// section is a part of a disk from an offset on.
type section struct {
	d     Disk
	off   int64
	wrote func(n int)
}

func (s section) WriteAt(p []byte, off int64) (int, error) {
	n, err := s.d.WriteAt(p, s.off+off)
	s.wrote(n)
	return n, err
}

func (s section) Sync() error { return s.d.Sync() }

// zeroer is a disk that zeroes by itself.
type zeroer interface {
	Zero(off, n int64) error
}

// zero makes n bytes at off read as zeros.
func zero(d Disk, off, n int64) error {
	if z, ok := d.(zeroer); ok {
		err := z.Zero(off, n)
		if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	zeros := make([]byte, mib)
	for n > 0 {
		part := zeros[:min(n, mib)]
		if _, err := d.WriteAt(part, off); err != nil {
			return err
		}
		off, n = off+int64(len(part)), n-int64(len(part))
	}
	return nil
}
