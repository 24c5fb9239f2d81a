package disklayout

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/digital-mycelium/os/pkg/gpt"
)

// Firmware is a part of the firmware of a machine whose processor reads that from the
// disk, before the first partition. Machines with one and the same layout may need
// different ones, so it is no file of the layout's: an installation copies it from the
// disk that the machine was started from.
type Firmware struct {
	Name string `json:"name"`
	// Offset is in bytes, on a sector's boundary behind the table.
	Offset int64 `json:"offset"`
	// Magic is what the part begins with, in hexadecimal.
	Magic string `json:"magic"`
}

// ErrNoFirmware says that a disk has not the firmware that the layout wants there.
var ErrNoFirmware = errors.New("no firmware before the partitions")

// firmwareArea is where firmware stands on the layout's disks, in bytes; n is 0 for a
// layout without.
func (l Layout) firmwareArea() (off, n int64) {
	if len(l.Firmware) == 0 {
		return 0, 0
	}
	off = l.Firmware[0].Offset
	return off, l.StartMiB*mib - off
}

func (l Layout) validateFirmware() (errs []error) {
	last := int64(tableEnd*sectorSize - 1)
	for _, f := range l.Firmware {
		magic, err := hex.DecodeString(f.Magic)
		if f.Name == "" || err != nil || len(magic) == 0 || len(magic) > sectorSize {
			errs = append(errs, fmt.Errorf("firmware %q: magic %q: want a name, and 1 to %d bytes in hexadecimal", f.Name, f.Magic, sectorSize))
		}
		if f.Offset <= last || f.Offset%sectorSize != 0 || f.Offset > l.StartMiB*mib-sectorSize {
			errs = append(errs, fmt.Errorf("firmware %q at %d: want a multiple of %d behind %d and before the first partition", f.Name, f.Offset, sectorSize, last))
		}
		last = f.Offset
	}
	return errs
}

// ReadFirmware returns what stands in the place of firmware on the disk r, from the
// first part to the first partition; nil for a layout without. The error is
// ErrNoFirmware when the parts do not stand there.
func (l Layout) ReadFirmware(r io.ReaderAt) ([]byte, error) {
	off, n := l.firmwareArea()
	if n == 0 {
		return nil, nil
	}
	b := make([]byte, n)
	if got, err := r.ReadAt(b, off); int64(got) < n {
		return nil, fmt.Errorf("read the firmware before the partitions: %w", err)
	}
	return b, l.checkFirmware(b)
}

// checkFirmware says whether b is what ReadFirmware returns.
func (l Layout) checkFirmware(b []byte) error {
	off, n := l.firmwareArea()
	if int64(len(b)) != n {
		return fmt.Errorf("%w: %d bytes, its place has %d", ErrNoFirmware, len(b), n)
	}
	for _, f := range l.Firmware {
		magic, err := hex.DecodeString(f.Magic)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(b[f.Offset-off:], magic) {
			return fmt.Errorf("%w: %s is not at byte %d", ErrNoFirmware, f.Name, f.Offset)
		}
	}
	return nil
}

// firmwareFor returns what an installation on the disk d writes as firmware: what was
// given, or nothing for a layout without and for a disk that has its firmware and is
// kept, which then starts whenever the power is cut.
func (c Content) firmwareFor(d io.ReaderAt, keep bool) ([]byte, error) {
	if len(c.Layout.Firmware) == 0 {
		return nil, nil
	}
	if keep {
		if _, err := c.Layout.ReadFirmware(d); err == nil {
			return nil, nil
		}
	}
	return c.Firmware, c.Layout.checkFirmware(c.Firmware)
}

// writeFirmware writes what firmwareFor has returned.
func (in *installation) writeFirmware(w io.WriterAt) error {
	off, _ := in.c.Layout.firmwareArea()
	for b := in.firmware; len(b) > 0; {
		n := min(len(b), mib)
		if _, err := w.WriteAt(b[:n], off); err != nil {
			return fmt.Errorf("write the firmware before the partitions: %w", err)
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// Present reports whether what has no file system stands on the disk d, with the table t,
// as it should: the raw pieces, and firmware.
func (c Content) Present(d io.ReaderAt, t *gpt.Table) bool {
	_, err := c.Layout.ReadFirmware(d)
	return err == nil && c.rawPresent(d, t)
}
