// Package disk decides about the node's disk: which one it is, what changes in
// its partition table, whether a partition may be formatted or must be
// repaired. It does its I/O through interfaces and mounts nothing.
package disk

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/digital-mycelium/os/pkg/gpt"
)

// Disk is a block device that holds a partition table.
type Disk struct {
	// Name is the kernel's, e.g. "vda".
	Name string
	// Size is in bytes.
	Size  int64
	Table *gpt.Table
}

// ErrNone says that no disk holds the node's partitions.
var ErrNone = errors.New("no disk with the partitions of Digital Mycelium OS")

// isOurs reports whether the table has the partitions that only our images have.
func isOurs(t *gpt.Table) bool {
	_, state := t.Find(gpt.State, "")
	return state
}

// AmbiguousError says that several disks hold our partitions and that nobody knows
// which one is meant.
type AmbiguousError struct {
	// Disks are the disks that could be meant.
	Disks []Disk
	// Copies says that the boot loader names a partition that stands on all of them.
	Copies bool
}

func (e *AmbiguousError) Error() string {
	names := make([]string, len(e.Disks))
	for i, d := range e.Disks {
		names[i] = d.Name
	}
	list := strings.Join(names, ", ")
	if e.Copies {
		return fmt.Sprintf("%s are copies of one image and have the same identifiers: remove or erase all but one", list)
	}
	return fmt.Sprintf("%s all hold the partitions of Digital Mycelium OS and the boot loader does not say which one is meant: remove or erase all but one", list)
}

// Names reports whether one of the disks has a partition that the boot loader names.
func Names(disks []Disk, loader []string) bool {
	return slices.ContainsFunc(disks, func(d Disk) bool {
		return slices.ContainsFunc(loader, func(id string) bool { return d.has(id) })
	})
}

// has reports whether the disk has the partition with the unique GUID id.
func (d Disk) has(id string) bool {
	return slices.ContainsFunc(d.Table.Partitions, func(p gpt.Partition) bool { return strings.EqualFold(p.ID.String(), id) })
}

// Choose returns the disk that the machine booted from: the one with the
// partition that the boot loader names (unique GUIDs, best first), else the
// only one with our partitions. Without any it returns ErrNone, with several that
// could be meant an *AmbiguousError.
func Choose(disks []Disk, loader []string) (Disk, error) {
	ours := slices.DeleteFunc(slices.Clone(disks), func(d Disk) bool { return !isOurs(d.Table) })
	for _, id := range loader {
		named := slices.DeleteFunc(slices.Clone(ours), func(d Disk) bool { return !d.has(id) })
		switch len(named) {
		case 0:
			continue
		case 1:
			return named[0], nil
		}
		return Disk{}, &AmbiguousError{Disks: named, Copies: true}
	}
	switch len(ours) {
	case 0:
		return Disk{}, ErrNone
	case 1:
		return ours[0], nil
	}
	return Disk{}, &AmbiguousError{Disks: ours}
}
