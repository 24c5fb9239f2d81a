package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/digital-mycelium/os/pkg/disklayout"
	"github.com/digital-mycelium/os/pkg/fat"
	"github.com/digital-mycelium/os/pkg/gpt"
	"github.com/digital-mycelium/os/pkg/mbr"
	"github.com/digital-mycelium/os/pkg/update/pieces"
	"github.com/digital-mycelium/os/pkg/update/tryboot"
)

// raspberryPi returns the size of a Raspberry Pi's disk in bytes, and what fills a file
// of that size.
func (s Spec) raspberryPi() (int64, func(*os.File) error, error) {
	t, err := s.mbrTable()
	if err != nil {
		return 0, nil, fmt.Errorf("lay out the disk: %w", err)
	}
	return t.DiskBytes(), func(f *os.File) error {
		for _, p := range t.Partitions {
			if err := s.fillPi(f, t, p); err != nil {
				return fmt.Errorf("partition %s: %w", p.Name, err)
			}
		}
		return t.Write(f)
	}, nil
}

// fillPi writes what partition p of a Raspberry Pi's disk holds from the start.
func (s Spec) fillPi(w *os.File, t *gpt.Table, p gpt.Partition) error {
	switch p.Type {
	case gpt.State, gpt.Data:
		return nil // init makes their file systems
	case gpt.XBOOTLDR:
		return s.fillPieces(w, t, p)
	}
	fs, err := fat.New(fat.Config{
		Size: t.Bytes(p), Label: p.Name, ID: binary.LittleEndian.Uint32(p.ID[:]), Time: s.Time, Start: t.Offset(p),
	})
	if err != nil {
		return err
	}
	if p.Type == gpt.ESP {
		if err := errors.Join(s.addFirmware(fs, t), fs.AddBytes(disklayout.ConfigFile, s.config())); err != nil {
			return err
		}
	}
	return fs.Write(io.NewOffsetWriter(w, t.Offset(p)))
}

// mbrTable lays out the partitions of a Raspberry Pi's disk.
func (s Spec) mbrTable() (*gpt.Table, error) {
	const mib = 1 << 20
	total := int64(2 * mib) // before the first partition, and before STATE
	for _, p := range s.Board.Disk.Partitions {
		total += p.SizeMiB * mib
	}
	t, err := mbr.NewView(total)
	if err != nil {
		return nil, err
	}
	for _, p := range s.Board.Disk.Partitions {
		typ, err := gpt.TypeByName(p.Type)
		if err != nil {
			return nil, err
		}
		added, err := t.AddPartition(gpt.Partition{Type: typ, Name: p.Label}, p.SizeMiB*mib)
		if err != nil {
			return nil, err
		}
		added.ID = mbr.ID(added.Number)
		if err := t.Set(added); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// addFirmware adds what a Raspberry Pi reads first: autoboot.txt, which starts the slot
// A, and the firmware of those that have none in an EEPROM.
func (s Spec) addFirmware(fs *fat.FS, t *gpt.Table) error {
	started, ok := t.Find(gpt.XBOOTLDR, "")
	other, ok2 := t.Find(gpt.Slot, "")
	if !ok || !ok2 {
		return errors.New("the board has no two slots")
	}
	if err := fs.AddBytes("autoboot.txt", tryboot.Format(started.Number, other.Number)); err != nil {
		return err
	}
	for _, f := range s.Board.Firmware.RaspberryPi.Boot {
		if err := addFile(fs, f.Install, filepath.Join(s.Firmware, f.Path)); err != nil {
			return err
		}
	}
	return nil
}

// addFile adds the file at path under name.
func addFile(fs *fat.FS, name, path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	return fs.AddFile(name, st.Size(), func() (io.ReadCloser, error) { return os.Open(path) })
}

// fillPieces writes the slot with the OS file.
func (s Spec) fillPieces(w *os.File, t *gpt.Table, p gpt.Partition) error {
	f, err := os.Open(s.OSFile)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	slot := Slot(w, t, p)
	if err := slot.Write(f, st.Size()); err != nil {
		return fmt.Errorf("write the OS file's pieces: %w", err)
	}
	return nil
}

// Slot is the slot in a partition of a disk with an MBR.
func Slot(disk *os.File, t *gpt.Table, p gpt.Partition) *pieces.Slot {
	id := p.ID
	return &pieces.Slot{
		Disk: disk, Offset: t.Offset(p), Bytes: t.Bytes(p), Start: t.Offset(p), Label: p.Name,
		ID: uint32(id[0]) | uint32(id[1])<<8 | uint32(id[2])<<16 | uint32(id[3])<<24,
	}
}
