// Package disk writes a board's disk image: the partition table and the file
// systems on it. It needs neither root nor loop devices. What holds nothing is
// not written, so the image is a sparse file. How a disk is laid out and written is
// package disklayout's, which an installation by a running system shares.
package disk

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/pkg/disklayout"
	"github.com/digital-mycelium/os/pkg/gpt"
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

const sectorSize = 512 // bytes

// loaderConf is where systemd-boot looks for its configuration.
const loaderConf = "loader/loader.conf"

// Spec says what goes on the disk.
type Spec struct {
	Board *board.Board
	// OSFile is the path of the OS file that slot A gets.
	OSFile string
	// Boot is the directory that WriteBoot made.
	Boot string
	// UBoot are the files that stand outside of all partitions.
	UBoot []Placed
	// Firmware is the directory with the files of a Raspberry Pi's firmware package.
	Firmware string
	// Time is given to every file.
	Time time.Time
	// Config is the machine configuration that the image carries; ExampleConfig
	// when empty. With one of its own the image may hold a secret, and only its
	// owner can read it.
	Config []byte
}

// Placed is a file and the sector of 512 bytes that it is written to.
type Placed struct {
	Path   string
	Sector int64
}

// Layout returns the layout of the board's disks.
func Layout(b *board.Board) (disklayout.Layout, error) {
	l := disklayout.Layout{StartMiB: b.Disk.StartMiB}
	for _, p := range b.Disk.Partitions {
		l.Partitions = append(l.Partitions, disklayout.Partition{Label: p.Label, Type: p.Type, SizeMiB: p.SizeMiB})
	}
	for _, name := range []string{b.Firmware.EFI.Loader.Install, loaderConf} {
		l.Files = append(l.Files, disklayout.File{Name: name, Source: name})
	}
	if u := b.Firmware.UBoot; u != nil {
		for _, f := range u.Files {
			l.Firmware = append(l.Firmware, disklayout.Firmware{Name: f.Name, Offset: f.Sector * sectorSize, Magic: f.Magic})
		}
	}
	return l, addBIOS(&l, b)
}

// Loaders are what starts the OS file.
type Loaders struct {
	// EFI is the path of systemd-boot, GRUB that of the core image that package grub
	// made, empty for boards that do not start by BIOS.
	EFI, GRUB string
	// Keys are the updates of the firmware's variables that systemd-boot has it take
	// over for Secure Boot, by the variables' names; none for images without.
	Keys map[string][]byte
}

// bootFile is a file of the boot directory.
type bootFile struct {
	name    string // slash-separated
	content []byte
}

// WriteBoot makes dir the directory of all that a disk of the board's needs beside
// the OS file: the layout, the files that it names, an example of a configuration. It
// returns the files' names, slash-separated.
//
// An OS file carries the directory, so that a running system can install itself.
func WriteBoot(dir string, b *board.Board, loaders Loaders) (names []string, err error) {
	l, err := Layout(b)
	if err != nil {
		return nil, err
	}
	keys := keyFiles(loaders.Keys)
	for _, f := range keys {
		l.Files = append(l.Files, disklayout.File{Name: f.name, Source: f.name})
	}
	layout, err := l.Encode()
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(loaders.EFI)
	if err != nil {
		return nil, fmt.Errorf("read the boot loader: %w", err)
	}
	bios, err := biosFiles(l, b, loaders.GRUB)
	if err != nil {
		return nil, err
	}
	for _, f := range slices.Concat([]bootFile{
		{disklayout.LayoutFile, layout},
		{disklayout.ConfigFile, ExampleConfig},
		{b.Firmware.EFI.Loader.Install, program},
		{loaderConf, loaderConfig(keys)},
	}, bios, keys) {
		path := filepath.Join(dir, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("write the boot files: %w", err)
		}
		if err := os.WriteFile(path, f.content, 0o644); err != nil {
			return nil, fmt.Errorf("write the boot files: %w", err)
		}
		names = append(names, f.name)
	}
	return names, nil
}

// Write writes the image to path, which appears only when it is whole.
func Write(path string, s Spec) (err error) {
	size, fill, err := s.content()
	if err != nil {
		return err
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
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("size the disk image: %w", err)
	}
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close the disk image: %w", err)
	}
	return os.Rename(f.Name(), path)
}

// id follows from the board's name, so that the same image is built twice.
func (s Spec) id(what, label string) gpt.GUID {
	if label == "" {
		return gpt.DeriveGUID(what, s.Board.Name)
	}
	return gpt.DeriveGUID(what, s.Board.Name, label)
}

// content returns the disk's size in bytes, and what fills a file of that size.
func (s Spec) content() (size int64, fill func(*os.File) error, err error) {
	if s.Board.Firmware.RaspberryPi != nil {
		return s.raspberryPi()
	}
	layout, err := os.ReadFile(filepath.Join(s.Boot, disklayout.LayoutFile))
	if err != nil {
		return 0, nil, fmt.Errorf("read the disk's layout: %w", err)
	}
	l, err := disklayout.Parse(layout)
	if err != nil {
		return 0, nil, err
	}
	st, err := os.Stat(s.OSFile)
	if err != nil {
		return 0, nil, err
	}
	content := disklayout.Content{
		Layout: l, Source: os.DirFS(s.Boot), Config: s.config(), Time: s.Time, OSFileSize: st.Size(),
		OpenOSFile: func() (io.ReadCloser, error) { return os.Open(s.OSFile) },
	}
	return l.Bytes(), func(f *os.File) error {
		_, err := disklayout.Write(f, content, s.id)
		return errors.Join(err, placeAll(f, s.UBoot, s.Board.Disk.StartMiB<<20/sectorSize))
	}, nil
}

func (s Spec) config() []byte {
	if len(s.Config) == 0 {
		return ExampleConfig
	}
	return s.Config
}
