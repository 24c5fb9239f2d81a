package flash

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/digital-mycelium/os/pkg/bmap"
	"github.com/digital-mycelium/os/pkg/disklayout"
	"github.com/digital-mycelium/os/pkg/gpt"
	"github.com/digital-mycelium/os/pkg/mbr"
)

// renew returns what makes the partition table of the image one with new identifiers.
// head is the image's beginning. A table that is not a GUID partition table of ours stays
// as it is: a Raspberry Pi's MBR has a signature that says whose it is, and no firmware
// names one by that.
func renew(head []byte, size int64) ([]*patch, error) {
	t, err := gpt.Read(bytes.NewReader(head), size)
	if errors.Is(err, gpt.ErrNoTable) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the partition table: %w", err)
	}
	if _, ours := t.Find(gpt.State, ""); !ours {
		return nil, nil
	}
	var w writes
	if err := disklayout.Renamed(t).Write(&w); err != nil {
		return nil, err
	}
	return w.patches, nil
}

// HasMBR reports whether the image's partition table is an MBR: a Raspberry Pi's.
func (i *Image) HasMBR() (bool, error) {
	head := make([]byte, min(headSize, i.Size))
	if err := i.read(head, 0); err != nil {
		return false, err
	}
	if _, err := gpt.Read(bytes.NewReader(head), i.Size); !errors.Is(err, gpt.ErrNoTable) {
		return false, nil // what else is wrong with it shows when it is written
	}
	_, err := mbr.ReadPrimaries(bytes.NewReader(head), i.Size)
	return err == nil, nil
}

// writes are those that a table is written by.
type writes struct{ patches []*patch }

// WriteAt implements io.WriterAt.
func (w *writes) WriteAt(b []byte, off int64) (int, error) {
	w.patches = append(w.patches, &patch{
		offset: off, data: bytes.Clone(b), changed: []bmap.Extent{{Offset: off, Length: int64(len(b))}},
	})
	return len(b), nil
}
