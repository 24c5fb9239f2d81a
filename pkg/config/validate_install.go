package config

import (
	"regexp"
	"slices"
	"strings"
)

// diskName is what the kernel calls a disk: sda, nvme0n1, mmcblk0.
var diskName = regexp.MustCompile(`^[a-z][a-z0-9]{0,31}$`)

// ValidDisk reports whether s names a disk as Install.Disk does.
func ValidDisk(s string) bool {
	key, value, rule := strings.Cut(s, ":")
	switch {
	case !rule:
		return diskName.MatchString(s)
	case key == "size":
		return value == "smallest" || value == "largest"
	}
	return (key == "serial" || key == "model") && strings.TrimSpace(value) != "" && len(value) <= 64
}

func (d *decoder) validateInstall(i Install) {
	if i.Disk != "" && !ValidDisk(i.Disk) {
		d.at("install.disk", "auto, a name like sda, serial:..., model:..., size:smallest or size:largest", "%q is no disk", i.Disk)
	}
	if i.After != "" && !slices.Contains([]string{AfterReboot, AfterPowerOff, AfterStay}, i.After) {
		d.at("install.after", "reboot, poweroff or stay", "%q is nothing to do", i.After)
	}
	if i.Wipe && i.Disk == "" {
		d.at("install.wipe", "set install.disk", "there is no disk to wipe")
	}
	if i.After != "" && i.Disk == "" {
		d.at("install.after", "set install.disk", "there is nothing that it comes after")
	}
}
