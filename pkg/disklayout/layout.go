// Package disklayout puts an operating system onto a disk: partition table, boot
// loader, the system's file in its slot. One description, Layout, made from a
// board's data, serves both who builds an image file (Write) and a running system
// that installs itself onto a disk of the machine (Install), which may hold data
// to keep and may lose its power at any moment.
//
// The package does its I/O through interfaces and needs no privileges.
package disklayout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/digital-mycelium/os/pkg/gpt"
)

// Names that an installed disk has them by.
const (
	// OSFile is where a slot has the operating system's file.
	OSFile = "EFI/Linux/os.efi"
	// ConfigFile is the machine's configuration on the EFI partition.
	ConfigFile = "mycelium.yaml"
	// InstalledFile, on the EFI partition, says which installation this is, see
	// Content.Mark. A disk that was written as an image has none.
	InstalledFile = "mycelium.installed"
	// LayoutFile is the Layout within the directory of its sources.
	LayoutFile = "layout.json"
)

// EmptyMarker begins the first sector of a partition that is to hold an ext4 file
// system and holds nothing yet, whatever stands behind: the running system makes
// the file system. ext4 does not use its first 1024 bytes.
const EmptyMarker = "mycelium-os: a file system is being made here; it holds nothing yet\n"

// installMarker begins the first sector of a disk while it is being installed.
const installMarker = "mycelium-os: an installation is being made here; this disk holds nothing\n"

const (
	mib = 1 << 20
	// tableEnd is the first sector behind the table's front copy.
	tableEnd   = 34
	sectorSize = 512
)

// Layout describes a disk.
type Layout struct {
	// StartMiB is where the first partition may begin at the earliest; 0 is 1, right
	// behind the table.
	StartMiB int64 `json:"startMiB,omitempty"`
	// Partitions stand one behind the other, on boundaries of a MiB. The system adds
	// DATA in what is left.
	Partitions []Partition `json:"partitions"`
	// Files go on the EFI partition.
	Files []File `json:"files"`
	// Raw pieces go where no file system is: a BIOS' boot code.
	Raw []Raw `json:"raw,omitempty"`
	// Firmware is what the machine's processor reads from the disk itself, in the
	// disk's order. It needs StartMiB.
	Firmware []Firmware `json:"firmware,omitempty"`
}

// Partition is one partition of a Layout.
type Partition struct {
	Label string `json:"label"`
	// Type is a name that gpt.TypeByName knows. The partition of type xbootldr is
	// the slot that gets the operating system's file.
	Type    string `json:"type"`
	SizeMiB int64  `json:"sizeMiB"`
}

// File is a file of the EFI partition.
type File struct {
	// Name is its path there, slash-separated.
	Name string `json:"name"`
	// Source is the path that its content is read from.
	Source string `json:"source"`
	// Keep says that an installation which keeps data keeps this file, too: a boot
	// loader's note of the slot that it starts.
	Keep bool `json:"keep,omitempty"`
}

// Raw is a piece at a place of the disk.
type Raw struct {
	Source string `json:"source"`
	// Offset is in bytes. At 0 a piece has at most 440 bytes: the rest of the first
	// sector is the partition table's.
	Offset int64 `json:"offset"`
}

// Parse reads a Layout in JSON. A field that it does not know is an error.
func Parse(b []byte) (Layout, error) {
	var l Layout
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return Layout{}, fmt.Errorf("read the disk's layout: %w", err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Layout{}, errors.New("read the disk's layout: something follows it")
	}
	if err := l.Validate(); err != nil {
		return Layout{}, fmt.Errorf("the disk's layout: %w", err)
	}
	return l, nil
}

// Encode returns l in JSON, the same bytes every time.
func (l Layout) Encode() ([]byte, error) {
	if err := l.Validate(); err != nil {
		return nil, fmt.Errorf("the disk's layout: %w", err)
	}
	b, err := json.MarshalIndent(l, "", "  ")
	return append(b, '\n'), err
}

// Validate returns everything that is wrong with l, one error a line.
func (l Layout) Validate() error {
	var errs []error
	if l.StartMiB < 0 || l.StartMiB > 1024 {
		errs = append(errs, fmt.Errorf("startMiB %d: want 0 to 1024", l.StartMiB))
	}
	labels, types := map[string]bool{}, map[string]int{}
	for _, p := range l.Partitions {
		if _, err := gpt.TypeByName(p.Type); err != nil {
			errs = append(errs, fmt.Errorf("partition %q: %w", p.Label, err))
		}
		if p.Label == "" || labels[p.Label] {
			errs = append(errs, fmt.Errorf("partition label %q is empty or used twice", p.Label))
		}
		if p.SizeMiB <= 0 || p.SizeMiB > 1<<20 {
			errs = append(errs, fmt.Errorf("partition %q: %d MiB, want 1 to %d", p.Label, p.SizeMiB, 1<<20))
		}
		labels[p.Label] = true
		types[p.Type]++
	}
	for _, want := range []string{"esp", "xbootldr", "state"} {
		if types[want] != 1 {
			errs = append(errs, fmt.Errorf("%d partitions of type %s, want one", types[want], want))
		}
	}
	names := map[string]bool{ConfigFile: true, InstalledFile: true}
	for _, f := range l.Files {
		if !fs.ValidPath(f.Name) || f.Name == "." || !fs.ValidPath(f.Source) || f.Source == "." {
			errs = append(errs, fmt.Errorf("file %q from %q: want relative paths without dots", f.Name, f.Source))
		}
		if names[f.Name] {
			errs = append(errs, fmt.Errorf("file %q stands twice, or is not the layout's", f.Name))
		}
		names[f.Name] = true
	}
	for _, r := range l.Raw {
		if !fs.ValidPath(r.Source) || r.Source == "." || r.Offset < 0 || r.Offset%sectorSize != 0 || r.Offset > 1<<40 {
			errs = append(errs, fmt.Errorf("raw piece %q at %d: want a relative path without dots and a multiple of %d", r.Source, r.Offset, sectorSize))
		}
	}
	return errors.Join(append(errs, l.validateFirmware()...)...)
}

// Bytes is the size of the smallest disk that the layout fits on, without DATA.
func (l Layout) Bytes() int64 {
	total := (max(l.StartMiB, 1) + 1) * mib // the table's two copies, each within an alignment unit
	for _, p := range l.Partitions {
		total += p.SizeMiB * mib
	}
	return total
}

// IDs makes the identifiers of a disk and its partitions: "disk", or "partition"
// and a label.
type IDs func(what, label string) gpt.GUID

// RandomIDs are new ones each time, so that no two installations can be confused.
func RandomIDs(string, string) gpt.GUID { return gpt.RandomGUID() }

// Table lays the partitions out on a disk of size bytes.
func (l Layout) Table(size int64, ids IDs) (*gpt.Table, error) {
	t, err := gpt.New(ids("disk", ""), sectorSize, size)
	if err != nil {
		return nil, err
	}
	if l.StartMiB > 0 {
		t.FirstUsable = uint64(l.StartMiB * mib / sectorSize) // nobody shall put a partition before it
	}
	for _, p := range l.Partitions {
		typ, err := gpt.TypeByName(p.Type)
		if err != nil {
			return nil, err
		}
		if _, err := t.AddPartition(gpt.Partition{Type: typ, ID: ids("partition", p.Label), Name: p.Label}, p.SizeMiB*mib); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Keeps says why what is in STATE and DATA of a disk with the table old cannot be
// kept by an installation with this layout; nil when it can. The partitions must
// lie where the layout has them, and nothing but DATA may be beside them.
func (l Layout) Keeps(old *gpt.Table) error {
	if old.SectorSize != sectorSize {
		return fmt.Errorf("the disk has sectors of %d bytes", old.SectorSize)
	}
	fresh, err := l.Table(old.DiskBytes(), RandomIDs)
	if err != nil {
		return err
	}
	want := map[string]gpt.Partition{}
	for _, p := range fresh.Partitions {
		want[p.Name] = p
	}
	for _, p := range old.Partitions {
		if p.Type == gpt.Data && p.Name == "DATA" {
			continue
		}
		f, ok := want[p.Name]
		if !ok {
			return fmt.Errorf("partition %d (%q) is none of this system's", p.Number, p.Name)
		}
		if p.First != f.First || p.Last != f.Last || kind(p.Type) != kind(f.Type) {
			return fmt.Errorf("partition %s is another one than this system's: %d MiB at %d MiB", p.Name, old.Bytes(p)/mib, old.Offset(p)/mib)
		}
		delete(want, p.Name)
	}
	for name := range want {
		return fmt.Errorf("there is no partition %s", name)
	}
	return nil
}

// kind takes the two types of a slot for one.
func kind(t gpt.GUID) gpt.GUID {
	if t == gpt.Slot {
		return gpt.XBOOTLDR
	}
	return t
}
