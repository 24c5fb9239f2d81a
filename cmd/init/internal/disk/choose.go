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

// Choose returns the disk that the machine booted from: the one with the
// partition that the boot loader names (unique GUIDs, best first), else the
// only one with our partitions. Without any it returns ErrNone.
func Choose(disks []Disk, loader []string) (Disk, error) {
	for _, id := range loader {
		i := slices.IndexFunc(disks, func(d Disk) bool {
			return isOurs(d.Table) && slices.ContainsFunc(d.Table.Partitions, func(p gpt.Partition) bool {
				return strings.EqualFold(p.ID.String(), id)
			})
		})
		if i >= 0 {
			return disks[i], nil
		}
	}
	var ours []Disk
	for _, d := range disks {
		if isOurs(d.Table) {
			ours = append(ours, d)
		}
	}
	switch len(ours) {
	case 0:
		return Disk{}, ErrNone
	case 1:
		return ours[0], nil
	}
	names := make([]string, len(ours))
	for i, d := range ours {
		names[i] = d.Name
	}
	return Disk{}, fmt.Errorf("%s all hold the partitions of Digital Mycelium OS and the boot loader does not say which one is meant: remove or erase all but one", strings.Join(names, ", "))
}
