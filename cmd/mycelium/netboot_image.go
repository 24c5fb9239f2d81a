package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/osfile"
	"github.com/digital-mycelium/os/image"
	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/netboot"
	"github.com/digital-mycelium/os/pkg/update/pieces"
)

// bootImages are the operating systems that are served.
type bootImages struct {
	// byArch are those for machines with EFI or a BIOS.
	byArch map[string]*netboot.Image
	// pi is the one for Raspberry Pis; nil for none.
	pi *netboot.PiImage
}

// openBootImages opens the OS files in the directories. They stay open until
// closeAll: a build beside the server replaces the files, not what is served.
func openBootImages(dirs []string) (images *bootImages, closeAll func(), err error) {
	var files []*os.File
	closeAll = func() {
		for _, f := range files {
			f.Close()
		}
	}
	images = &bootImages{byArch: map[string]*netboot.Image{}}
	for _, dir := range dirs {
		path := filepath.Join(dir, image.OSFile)
		f, err := os.Open(path)
		if err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("open the image: %w: build one with `mycelium image build`", err)
		}
		files = append(files, f)
		if err := images.add(f); err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("image %s: %w", path, err)
		}
	}
	return images, closeAll, nil
}

// add adds an OS file, which must be the only one for its machines.
func (i *bootImages) add(f osfile.File) error {
	d, err := osfile.Describe(f)
	if err != nil {
		return err
	}
	parsed, err := uki.Parse(f, int64(d.Size))
	if err != nil {
		return err
	}
	line, err := parsed.ReadSection(".cmdline")
	if err != nil {
		return err
	}
	commandLine := strings.Trim(string(line), "\x00\n ")
	name := fmt.Sprintf("%s %s", d.Board, d.Version)
	if list, ok := piecesOf(f, int64(d.Size)); ok {
		if i.pi != nil {
			return fmt.Errorf("there is one for Raspberry Pis already (%s): give one --image for each kind of machine", i.pi.Name)
		}
		i.pi, err = piImage(f, list, parsed)
		if err != nil {
			return err
		}
		i.pi.Name, i.pi.CommandLine = name, commandLine
		return i.pi.Check()
	}
	arch, ok := map[uint16]string{0x8664: "amd64", 0xaa64: "arm64"}[parsed.Machine]
	if !ok {
		return fmt.Errorf("it is for machines of kind %#x, which do not boot over the network", parsed.Machine)
	}
	if other := i.byArch[arch]; other != nil {
		return fmt.Errorf("there is one for %s already (%s): give one --image for each architecture", arch, other.Name)
	}
	n := &netboot.Image{
		Name: name, SHA256: fmt.Sprintf("%x", d.Digest), EFI: io.NewSectionReader(f, 0, int64(d.Size)), CommandLine: commandLine,
	}
	if n.Linux, err = parsed.Section(".linux"); err != nil {
		return err
	}
	if n.Initrd, err = parsed.Section(".initrd"); err != nil {
		return err
	}
	i.byArch[arch] = n
	return n.Check()
}

// names returns what is served, sorted.
func (i *bootImages) names() []string {
	var names []string
	for _, image := range i.byArch {
		names = append(names, image.Name)
	}
	if i.pi != nil {
		names = append(names, i.pi.Name)
	}
	slices.Sort(names)
	return names
}

// piecesOf returns the pieces of an OS file that is one of pieces: a Raspberry Pi's.
func piecesOf(f io.ReaderAt, size int64) ([]pieces.Piece, bool) {
	head := make([]byte, pieces.Page)
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, false
	}
	list, err := pieces.Parse(head, size)
	return list, err == nil
}

// piImage finds which of an OS file's pieces are the command line, the kernel and the
// initramfs, by the sections that they are.
func piImage(f io.ReaderAt, list []pieces.Piece, parsed *uki.File) (*netboot.PiImage, error) {
	names := map[string]string{}
	for _, section := range []string{".cmdline", ".linux", ".initrd"} {
		s, err := parsed.Section(section)
		if err != nil {
			return nil, err
		}
		_, offset, _ := s.Outer()
		for _, p := range list {
			if p.Offset == offset {
				names[section] = p.Name
			}
		}
		if names[section] == "" {
			return nil, fmt.Errorf("its section %s is none of its pieces", section)
		}
	}
	return &netboot.PiImage{
		Files: pieces.FS(f, list), CommandLineFile: names[".cmdline"], System: []string{names[".linux"], names[".initrd"]},
	}, nil
}

// installedState is the file that remembers which machines are installed, so
// that a server that is started again does not install them once more.
type installedState struct {
	path      string
	installed map[string]time.Time // by MAC
}

// openState reads the file into machines.
func (o *netbootFlags) openState(machines *netboot.Machines) (*installedState, error) {
	s := &installedState{path: o.state, installed: map[string]time.Time{}}
	if s.path == "" {
		dir, err := xdgDir("XDG_STATE_HOME", ".local/state")
		if err != nil {
			return nil, err
		}
		s.path = filepath.Join(dir, "netboot.json")
	}
	data, err := os.ReadFile(s.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read which machines are installed: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(data, &s.installed); err != nil {
			return nil, fmt.Errorf("read which machines are installed: %s: %w: correct or remove it", s.path, err)
		}
	}
	for name, at := range s.installed {
		mac, err := netboot.ParseMAC(name)
		if err != nil {
			return nil, fmt.Errorf("read which machines are installed: %s: %w: correct or remove it", s.path, err)
		}
		machines.SetInstalled(mac, at)
	}
	for _, name := range o.again {
		mac, err := netboot.ParseMAC(name)
		if err != nil {
			return nil, fmt.Errorf("--again: %w", err)
		}
		machines.SetInstalled(mac, time.Time{})
		delete(s.installed, mac.String())
	}
	if len(o.again) == 0 {
		return s, nil
	}
	return s, s.write()
}

// keep writes the file when a machine has become installed, or is it no more.
func (s *installedState) keep(m netboot.Machine) error {
	name := m.MAC.String()
	had, ok := s.installed[name]
	if ok == !m.Installed.IsZero() && had.Equal(m.Installed) {
		return nil
	}
	if s.installed[name] = m.Installed; m.Installed.IsZero() {
		delete(s.installed, name)
	}
	return s.write()
}

func (s *installedState) write() error {
	data, err := json.MarshalIndent(s.installed, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
		return err
	}
	return durable.WriteFile(s.path, append(data, '\n'), 0o644)
}
