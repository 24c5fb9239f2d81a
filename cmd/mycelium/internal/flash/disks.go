package flash

import (
	"errors"
	"fmt"
	"strings"
)

// Drive is a disk of this computer.
type Drive struct {
	// Name is the system's, such as sdb; Path is what is opened.
	Name, Path string
	// Model is what the disk calls itself, "" when it does not.
	Model string
	// Size is in bytes.
	Size int64
	// Bus is how it is attached: usb, mmc, nvme, ata, virtio, …
	Bus string
	// Removable says that the medium can be taken out, ReadOnly that it is write-protected.
	Removable, ReadOnly bool
	// Uses says what of the disk is in use, such as "/boot" or "swap".
	Uses []string
}

// ErrRefused says that a disk is none to write to without force.
var ErrRefused = errors.New("refused")

// External reports whether the disk is one that is carried about.
func (d Drive) External() bool { return d.Removable || d.Bus == "usb" || d.Bus == "mmc" }

// Check refuses a disk that is in use, always, and one that is built in unless forced.
func (d Drive) Check(force bool) error {
	switch {
	case d.Size == 0:
		return fmt.Errorf("%s has no medium in it", d.Path)
	case d.ReadOnly:
		return fmt.Errorf("%s is write-protected", d.Path)
	case len(d.Uses) > 0:
		return fmt.Errorf("%s is in use (%s): %w; if it is the right one, unmount it first: %s", d.Path, strings.Join(d.Uses, ", "), ErrRefused, d.unmount())
	case !d.External() && !force:
		return fmt.Errorf("%s (%s) is not removable, and neither on USB nor a memory card: %w; --force writes it all the same", d.Path, d.Describe(), ErrRefused)
	}
	return nil
}

// unmount is the command that takes the disk's file systems out of use.
func (d Drive) unmount() string {
	if strings.HasPrefix(d.Path, "/dev/r") {
		return "diskutil unmountDisk " + d.Name
	}
	return "umount " + d.Path + "?*"
}

// Describe says what kind of disk it is, in a few words.
func (d Drive) Describe() string {
	model := d.Model
	if model == "" {
		model = "unknown model"
	}
	return fmt.Sprintf("%s, %s, %s", model, Bytes(d.Size), d.Bus)
}

// Bytes writes a size as it stands on disks: in powers of ten.
func Bytes(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	f, i := float64(n), 0
	for f >= 999.5 && i < len(units)-1 {
		f, i = f/1000, i+1
	}
	if i == 0 || f >= 99.5 {
		return fmt.Sprintf("%.0f %s", f, units[i])
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
