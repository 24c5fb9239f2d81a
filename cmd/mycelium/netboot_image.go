package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/osfile"
	"github.com/digital-mycelium/os/image"
	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/netboot"
)

// openBootImages opens the OS files in the directories. They stay open until
// closeAll: a build beside the server replaces the files, not what is served.
func openBootImages(dirs []string) (images map[string]*netboot.Image, closeAll func(), err error) {
	var files []*os.File
	closeAll = func() {
		for _, f := range files {
			f.Close()
		}
	}
	images = map[string]*netboot.Image{}
	for _, dir := range dirs {
		path := filepath.Join(dir, image.OSFile)
		f, err := os.Open(path)
		if err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("open the image: %w: build one with `mycelium image build`", err)
		}
		files = append(files, f)
		arch, i, err := bootImage(f)
		if err == nil && images[arch] != nil {
			err = fmt.Errorf("there is one for %s already (%s): give one --image for each architecture", arch, images[arch].Name)
		}
		if err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("image %s: %w", path, err)
		}
		images[arch] = i
	}
	return images, closeAll, nil
}

// bootImage finds an OS file's parts.
func bootImage(f osfile.File) (arch string, i *netboot.Image, err error) {
	d, err := osfile.Describe(f)
	if err != nil {
		return "", nil, err
	}
	parsed, err := uki.Parse(f, int64(d.Size))
	if err != nil {
		return "", nil, err
	}
	arch, ok := map[uint16]string{0x8664: "amd64", 0xaa64: "arm64"}[parsed.Machine]
	if !ok {
		return "", nil, fmt.Errorf("it is for machines of kind %#x, which do not boot over the network", parsed.Machine)
	}
	i = &netboot.Image{
		Name: fmt.Sprintf("%s %s", d.Board, d.Version), SHA256: fmt.Sprintf("%x", d.Digest),
		EFI: io.NewSectionReader(f, 0, int64(d.Size)),
	}
	if i.Linux, err = parsed.Section(".linux"); err != nil {
		return "", nil, err
	}
	if i.Initrd, err = parsed.Section(".initrd"); err != nil {
		return "", nil, err
	}
	line, err := parsed.ReadSection(".cmdline")
	if err != nil {
		return "", nil, err
	}
	i.CommandLine = strings.Trim(string(line), "\x00\n ")
	return arch, i, i.Check()
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
