package install

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/disklayout"
)

// Disk is a disk of the machine.
type Disk struct {
	// Name is the kernel's, such as sda.
	Name, Model, Serial string
	// Size and SectorSize are in bytes.
	Size       int64
	SectorSize int
	Removable  bool
	ReadOnly   bool
	// Medium says that the system was started from it.
	Medium bool
	Content
}

// String describes the disk for people: "sda (Samsung SSD 980, 465 GiB)".
func (d Disk) String() string {
	if d.Model == "" {
		return fmt.Sprintf("%s (%s)", d.Name, Size(d.Size))
	}
	return fmt.Sprintf("%s (%s, %s)", d.Name, printable(d.Model), Size(d.Size))
}

// Order is what is to be installed on.
type Order struct {
	// Disk is as in config.Install.
	Disk string
	Wipe bool
}

// ParseOrder reads "auto", "DISK", "wipe:auto" and "wipe:DISK", as the kernel's
// command line has them.
func ParseOrder(s string) (Order, error) {
	disk, wipe := strings.CutPrefix(s, "wipe:")
	if !config.ValidDisk(disk) {
		return Order{}, fmt.Errorf("%q names no disk: write auto, a name like sda, serial:..., model:..., size:smallest or size:largest, each with wipe: before it to give up what is there", s)
	}
	return Order{Disk: disk, Wipe: wipe}, nil
}

// The reasons of a refusal.
var (
	// ErrNoDisk says that there is no disk that the order names, perhaps not yet.
	ErrNoDisk = errors.New("there is no such disk")
	// ErrRefused says that the disk, or one of several, cannot be taken.
	ErrRefused = errors.New("nothing is installed")
)

// minData is what must be left for DATA, in bytes.
const minData = 256 * mib

// Choose returns the disk that the order names and that l can be installed on.
//
// "auto" is the only disk that is blank, unfinished or ours; removable ones do not
// count. With Wipe it is also the only disk, whatever it holds. The medium is no disk
// to install on, ever.
func Choose(disks []Disk, o Order, l disklayout.Layout) (Disk, error) {
	named, err := find(disks, o, l)
	if err != nil {
		return Disk{}, err
	}
	if reason := unfit(named, l); reason != "" {
		return Disk{}, fmt.Errorf("%w: %s %s", ErrRefused, named, reason)
	}
	switch {
	case o.Wipe || named.Kind == Blank || named.Kind == Unfinished:
	case named.Kind == Foreign:
		return Disk{}, fmt.Errorf("%w: %s holds %s: order to wipe it if that can go", ErrRefused, named, named.Text)
	default:
		if err := l.Keeps(named.Table); err != nil {
			return Disk{}, fmt.Errorf("%w: %s holds an installation with another layout, whose data cannot be kept (%w): order to wipe it if that can go", ErrRefused, named, err)
		}
	}
	return named, nil
}

// unfit says why nothing can be installed on d, "" when something can.
func unfit(d Disk, l disklayout.Layout) string {
	switch {
	case d.Medium:
		return "is what the system was started from"
	case d.ReadOnly:
		return "is read-only"
	case d.SectorSize != 512:
		return fmt.Sprintf("has sectors of %d bytes: only those with 512 are known", d.SectorSize)
	case d.Size < l.Bytes()+minData:
		return fmt.Sprintf("is too small: %s are needed", Size(l.Bytes()+minData))
	}
	return ""
}

// find returns the disk that the order names, whatever is on it.
func find(disks []Disk, o Order, l disklayout.Layout) (Disk, error) {
	if key, value, rule := strings.Cut(o.Disk, ":"); rule {
		return byRule(disks, key, value, l)
	}
	if o.Disk == "auto" {
		return auto(disks, l)
	}
	for _, d := range disks {
		if d.Name == o.Disk {
			return d, nil
		}
	}
	return Disk{}, fmt.Errorf("%w: %s; there %s", ErrNoDisk, o.Disk, list(disks))
}

func byRule(disks []Disk, key, value string, l disklayout.Layout) (Disk, error) {
	found := slices.DeleteFunc(slices.Clone(disks), func(d Disk) bool {
		switch key {
		case "serial":
			return !strings.HasPrefix(d.Serial, value)
		case "model":
			return !strings.HasPrefix(d.Model, value)
		}
		return unfit(d, l) != "" || d.Removable
	})
	if key == "size" && len(found) > 1 {
		slices.SortFunc(found, func(a, b Disk) int { return cmp.Compare(a.Size, b.Size) })
		if value == "largest" {
			slices.Reverse(found)
		}
		if found[0].Size != found[1].Size {
			found = found[:1]
		}
	}
	switch len(found) {
	case 0:
		return Disk{}, fmt.Errorf("%w: %s:%s; there %s", ErrNoDisk, key, value, list(disks))
	case 1:
		return found[0], nil
	}
	return Disk{}, fmt.Errorf("%w: %s:%s is more than one disk: %s", ErrRefused, key, value, list(found))
}

func auto(disks []Disk, l disklayout.Layout) (Disk, error) {
	fit := slices.DeleteFunc(slices.Clone(disks), func(d Disk) bool { return unfit(d, l) != "" || d.Removable })
	free := slices.DeleteFunc(slices.Clone(fit), func(d Disk) bool { return d.Kind == Foreign })
	switch {
	case len(free) == 1:
		return free[0], nil
	case len(fit) == 0:
		return Disk{}, fmt.Errorf("%w: none that could be installed on; there %s", ErrNoDisk, list(disks))
	case len(free) == 0 && len(fit) == 1:
		return fit[0], nil // refused without wipe, with what is on it
	case len(free) == 0:
		return Disk{}, fmt.Errorf("%w: no disk is blank, name one of: %s", ErrRefused, list(fit))
	}
	return Disk{}, fmt.Errorf("%w: more than one disk could be meant, name one of: %s", ErrRefused, list(free))
}

// list names disks and what is on them, for an error.
func list(disks []Disk) string {
	if len(disks) == 0 {
		return "is no disk at all"
	}
	texts := make([]string, len(disks))
	for i, d := range disks {
		texts[i] = fmt.Sprintf("%s with %s", d, d.Text)
		if d.Medium {
			texts[i] += ", which the system was started from"
		}
	}
	return "are " + strings.Join(texts, "; ")
}
