package main

import (
	"errors"
	"regexp"

	"github.com/digital-mycelium/os/cmd/init/internal/disk"
	"github.com/digital-mycelium/os/pkg/config"
)

// liveSystem is a system that runs from memory and leaves every disk alone, until
// it is told to install itself.
type liveSystem struct {
	// medium is what the system was started from; nil when that is no disk.
	medium *bootDisk
	// unsure says that another disk could be what the system was started from: then
	// nothing is installed that nobody orders now.
	unsure bool
	// loader are the partitions that the boot loader names.
	loader []string
}

// findLive says whether the system runs live, given the disk that it seems to have
// been started from. It does when
//
//   - the kernel's command line says so;
//   - the configuration on that disk has a section install, which an installed system
//     never has;
//   - there is no disk of ours.
func (m *machine) findLive(d *bootDisk) *liveSystem {
	return decideLive(d, m.cmdline.live || m.cmdline.install.order != "", bootPartitions(m.cmdline), m.isInstaller)
}

// decideLive is findLive; ordered says what the command line does.
func decideLive(d *bootDisk, ordered bool, loader []string, isInstaller func(*bootDisk) bool) *liveSystem {
	live := &liveSystem{loader: loader}
	var ambiguous *disk.AmbiguousError
	switch {
	case d.table != nil && isInstaller(d):
		live.medium = d
	case errors.As(d.err, &ambiguous):
		live.unsure = true
		for _, candidate := range ambiguous.Disks {
			c := &bootDisk{Disk: candidate, table: candidate.Table}
			if !isInstaller(c) {
				continue
			}
			if live.medium != nil {
				return nil // two sticks
			}
			live.medium = c
		}
		if live.medium == nil && !ordered {
			return nil
		}
	case ordered:
		// Our only disk need not be what the system was started from.
		if d.table != nil && disk.Names([]disk.Disk{d.Disk}, loader) {
			live.medium = d
		}
	case d.table != nil || !errors.Is(d.err, disk.ErrNone):
		return nil
	}
	return live
}

// isInstaller reports whether the disk's configuration makes it one to install from.
func (m *machine) isInstaller(d *bootDisk) bool {
	doc, err := d.configFile()
	if err != nil || doc == nil {
		return false
	}
	return documentIsLive(doc)
}

var installLine = regexp.MustCompile(`(?m)^install:`)

// documentIsLive reports whether a document is that of a medium to install from. One
// that is wrong and has a section install is: to make STATE and DATA on a stick that
// is to leave every disk alone would be worse.
func documentIsLive(doc []byte) bool {
	c, err := config.Parse(doc)
	if err != nil {
		return installLine.Match(doc)
	}
	return c.Install.IsLive()
}

// text says for people what it means.
func (l *liveSystem) text() string {
	if l.medium == nil {
		return "no disk: everything is kept in memory and lost at power-off"
	}
	return "started from " + l.medium.Name + " to try or to install: everything is kept in memory and lost at power-off, and disks are left alone"
}

// sourceDisk is the disk that the system was started from, whether it runs from
// that or from memory. Without one its table is nil.
func (m *machine) sourceDisk() *bootDisk {
	if m.live != nil && m.live.medium != nil {
		return m.live.medium
	}
	return m.disk
}
