package image

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/image/debian"
	"github.com/digital-mycelium/os/initramfs"
	"github.com/digital-mycelium/os/rootfs/wpasupplicant"
)

// firmwarePath begins the Path of the components that drivers load.
const firmwarePath = "firmware/"

// driverFirmware is what the kernel's drivers load.
type driverFirmware struct {
	files []initramfs.Firmware
	// components are the packages that it is from, each with its files one behind the
	// other.
	components []component.Component
}

// fetchFirmware brings the files that the board's wireless drivers load, and the
// texts of their licences.
func (b *builder) fetchFirmware(ctx context.Context) (driverFirmware, error) {
	var d driverFirmware
	if !b.board.HasWiFi() {
		return d, nil
	}
	lock, err := debian.Load(filepath.Join(b.repo, debian.LockPath))
	if err != nil {
		return d, err
	}
	texts := map[string]bool{}
	for i, f := range b.board.WiFi.Firmware {
		deb, pkg, err := lock.Fetch(ctx, f.Package, b.board.Arch)
		if err != nil {
			return d, err
		}
		dir, err := debian.ExtractDir(ctx, deb)
		if err != nil {
			return d, err
		}
		files, err := chooseFirmware(filepath.Join(dir, "usr/lib/firmware"), f)
		if err != nil {
			return d, fmt.Errorf("package %s: %w", f.Package, err)
		}
		c := b.own(f.Package, pkg.Version, firmwarePath+f.Package, fmt.Sprintf("firmware-%d", i))
		c.Source, c.License = pkg.PURL(), f.License
		var all bytes.Buffer
		for _, file := range files {
			all.Write(file.Data)
		}
		if err := os.WriteFile(c.File, all.Bytes(), 0o644); err != nil {
			return d, err
		}
		d.components = append(d.components, c)
		d.files = append(d.files, files...)
		if texts[f.Package] {
			continue
		}
		texts[f.Package] = true
		text, err := os.ReadFile(filepath.Join(dir, "usr/share/doc", f.Package, "copyright"))
		if err != nil {
			return d, fmt.Errorf("package %s: licences: %w", f.Package, err)
		}
		d.files = append(d.files, initramfs.Firmware{Name: "LICENCES/" + f.Package, Data: text, Fixed: true})
	}
	_, err = measure(d.components)
	return d, err
}

// chooseFirmware reads the files below dir that f names. A package may have them
// as links.
func chooseFirmware(dir string, f board.DriverFirmware) ([]initramfs.Firmware, error) {
	var files []initramfs.Firmware
	seen := map[string]bool{}
	for _, pattern := range f.Files {
		found := 0
		err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			name, err := filepath.Rel(dir, p)
			if err != nil {
				return err
			}
			if ok, err := path.Match(pattern, name); err != nil || !ok {
				return err
			}
			found++
			if to, ok := f.Rename[name]; ok {
				name = to
			}
			if seen[name] {
				return nil
			}
			seen[name] = true
			data, err := os.ReadFile(p)
			files = append(files, initramfs.Firmware{Name: name, Data: data, Fixed: f.Fixed})
			return err
		})
		if err != nil {
			return nil, err
		}
		if found == 0 {
			return nil, fmt.Errorf("no file matches %s", pattern)
		}
	}
	return files, nil
}

// shareFirmware fills in how much of the OS file each package of firmware takes: of
// what they take together, in proportion to their sizes.
func shareFirmware(cs []component.Component, packed int64) {
	var raw int64
	for _, c := range cs {
		raw += c.RawSize
	}
	for i := range cs {
		cs[i].CompressedSize = packed * cs[i].RawSize / max(raw, 1)
	}
}

// buildSupplicant builds what does the handshakes with access points.
func (b *builder) buildSupplicant(ctx context.Context) ([]component.Component, error) {
	if !b.board.HasWiFi() {
		return nil, nil
	}
	return one(wpasupplicant.Build(ctx, b.repo, b.board.Arch))
}
