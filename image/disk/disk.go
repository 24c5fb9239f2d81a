// Package disk writes a board's disk image: the partition table and the file
// systems on it. It needs neither root nor loop devices. What holds nothing is
// not written, so the image is a sparse file.
package disk

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/pkg/fat"
	"github.com/digital-mycelium/os/pkg/gpt"
)

const (
	sectorSize = 512
	mib        = 1 << 20
	// slotFile is where a slot keeps its OS file; systemd-boot looks there for
	// unified kernel images.
	slotFile = "EFI/Linux/os.efi"
)

// LoaderConf is systemd-boot's configuration: no menu, no editing of the
// command line, only the entries that the slots hold.
//
//go:embed loader.conf
var LoaderConf []byte

// ExampleConfig is the commented machine configuration that an image carries.
//
//go:embed mycelium.yaml
var ExampleConfig []byte

// Spec says what goes on the disk.
type Spec struct {
	Board *board.Board
	// OSFile is the path of the OS file that slot A gets.
	OSFile string
	// Loader is the path of the boot loader.
	Loader string
	// Firmware is the directory with the files of a Raspberry Pi's firmware package.
	Firmware string
	// Time is given to every file.
	Time time.Time
	// Config is the machine configuration that the image carries; ExampleConfig
	// when empty. With one of its own the image may hold a secret, and only its
	// owner can read it.
	Config []byte
}

// Write writes the image to path, which appears only when it is whole.
func Write(path string, s Spec) (err error) {
	table, err := s.table()
	if err != nil {
		return fmt.Errorf("lay out the disk: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp*")
	if err != nil {
		return fmt.Errorf("create the disk image: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	mode := os.FileMode(0o644)
	if len(s.Config) > 0 {
		mode = 0o600
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Truncate(table.DiskBytes()); err != nil {
		return fmt.Errorf("size the disk image: %w", err)
	}
	for _, p := range table.Partitions {
		if err := s.fill(f, table, p); err != nil {
			return fmt.Errorf("partition %s: %w", p.Name, err)
		}
	}
	if err := table.Write(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close the disk image: %w", err)
	}
	return os.Rename(f.Name(), path)
}

// table lays out the partitions one behind the other. Every identifier follows
// from the board's name, so that the same image is built twice.
func (s Spec) table() (*gpt.Table, error) {
	if s.Board.Firmware.RaspberryPi != nil {
		return s.mbrTable()
	}
	total := int64(2 * mib) // the table's two copies, each within an alignment unit
	for _, p := range s.Board.Disk.Partitions {
		total += p.SizeMiB * mib
	}
	t, err := gpt.New(gpt.DeriveGUID("disk", s.Board.Name), sectorSize, total)
	if err != nil {
		return nil, err
	}
	for _, p := range s.Board.Disk.Partitions {
		typ, err := gpt.TypeByName(p.Type)
		if err != nil {
			return nil, err
		}
		id := gpt.DeriveGUID("partition", s.Board.Name, p.Label)
		if _, err := t.AddPartition(gpt.Partition{Type: typ, ID: id, Name: p.Label}, p.SizeMiB*mib); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// fill writes what partition p holds from the start.
func (s Spec) fill(w *os.File, t *gpt.Table, p gpt.Partition) error {
	if p.Type == gpt.State || p.Type == gpt.Data {
		return nil // init makes their file systems
	}
	if s.Board.Firmware.RaspberryPi != nil && p.Type == gpt.XBOOTLDR {
		return s.fillPieces(w, t, p)
	}
	fs, err := fat.New(fat.Config{
		Size: t.Bytes(p), Label: p.Name, ID: binary.LittleEndian.Uint32(p.ID[:]), Time: s.Time, Start: t.Offset(p),
	})
	if err != nil {
		return err
	}
	switch p.Type {
	case gpt.ESP:
		err = s.fillESP(fs, t)
	case gpt.XBOOTLDR:
		err = addFile(fs, slotFile, s.OSFile)
	}
	if err != nil {
		return err
	}
	return fs.Write(io.NewOffsetWriter(w, t.Offset(p)))
}

func (s Spec) fillESP(fs *fat.FS, t *gpt.Table) error {
	loader := s.addLoader
	if s.Board.Firmware.RaspberryPi != nil {
		loader = s.addFirmware
	}
	if err := loader(fs, t); err != nil {
		return err
	}
	config := s.Config
	if len(config) == 0 {
		config = ExampleConfig
	}
	return fs.AddBytes("mycelium.yaml", config)
}

// addLoader adds the boot loader and its configuration.
func (s Spec) addLoader(fs *fat.FS, _ *gpt.Table) error {
	if err := addFile(fs, s.Board.Firmware.EFI.Loader.Install, s.Loader); err != nil {
		return err
	}
	return fs.AddBytes("loader/loader.conf", LoaderConf)
}

// addFile adds the file at path under name.
func addFile(fs *fat.FS, name, path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	return fs.AddFile(name, st.Size(), func() (io.ReadCloser, error) { return os.Open(path) })
}
