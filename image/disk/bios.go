package disk

import (
	"fmt"
	"io"

	"github.com/digital-mycelium/os/image/grub"
	"github.com/digital-mycelium/os/pkg/gpt"
)

// fillBIOSBoot writes GRUB's core image to its partition, and the boot code that starts
// it into the table.
func (s Spec) fillBIOSBoot(w io.WriterAt, t *gpt.Table, p gpt.Partition) error {
	files, err := grub.Read(s.GRUB)
	if err != nil {
		return err
	}
	code, core, err := files.Place(p.First, t.Bytes(p))
	if err != nil {
		return err
	}
	t.BootCode = code
	if _, err := w.WriteAt(core, t.Offset(p)); err != nil {
		return fmt.Errorf("write GRUB: %w", err)
	}
	return nil
}
