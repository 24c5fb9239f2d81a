package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/api"
)

func TestInstall(t *testing.T) {
	f := newFarm(t, 1)
	f.nodes[0].change(func(s *api.Status) {
		s.Disks = []api.Disk{{Name: "sda", Model: "Samsung SSD", Size: 500 << 30}, {Name: "sdb", Size: 8 << 30, Removable: true, Boot: true}}
	})
	f.refused("", "install", "accepts 1 arg")
	f.refused("", "install node-1", "name the disk to install on with --disk")
	f.refused("", "install node-1 --disk sda --wipe --keep-data", "none of the others can be")
	f.refused("", "install node-1 --disk sdx", "without --disk its disks are listed")
	f.refused("", "install node-1 --disk sda", "sda holds Windows")
	f.refused("", "install node-1 --disk /dev/sda", "is no disk")
	f.refused("", "install node-1 --disk sdb --after eject", "nothing that comes after")
	f.refused("no\n", "install node-1 --disk sda --wipe", "nothing is done")
	if did := f.nodes[0].done(); did != nil {
		t.Errorf("the node did %q", did)
	}
	_, log := f.run("install node-1 --disk sda --wipe --yes")
	for _, want := range []string{" 40 % sda: writing the system", "100 % sda: installed", "reboots: remove what it was started from"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
	f.run("install node-1 --disk sdb --keep-data --after stay")
	if did := f.nodes[0].done(); !slices.Equal(did, []string{"install sda true reboot", "install sdb false stay"}) {
		t.Errorf("the node did %q", did)
	}
}
