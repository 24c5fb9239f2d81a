package flash

import (
	"fmt"
	"strings"

	"howett.net/plist"
)

// What "diskutil list -plist external physical" and "diskutil info -plist DISK" of
// macOS print, as far as it is needed.
type (
	diskutilList struct {
		Disks []diskutilDisk `plist:"AllDisksAndPartitions"`
	}
	diskutilDisk struct {
		Device     string         `plist:"DeviceIdentifier"`
		Size       int64          `plist:"Size"`
		Mount      string         `plist:"MountPoint"`
		Partitions []diskutilDisk `plist:"Partitions"`
		Volumes    []diskutilDisk `plist:"APFSVolumes"`
	}
	diskutilInfo struct {
		Model     string `plist:"MediaName"`
		Bus       string `plist:"BusProtocol"`
		Removable bool   `plist:"RemovableMedia"`
		Writable  bool   `plist:"WritableMedia"`
	}
)

// parseDiskutilList reads the list of external disks.
func parseDiskutilList(data []byte) ([]Drive, error) {
	var l diskutilList
	if _, err := plist.Unmarshal(data, &l); err != nil {
		return nil, fmt.Errorf("read diskutil's list of disks: %w", err)
	}
	var list []Drive
	for _, d := range l.Disks {
		if !strings.HasPrefix(d.Device, "disk") || d.Size < 0 {
			continue
		}
		// The raw device is not cached and many times as fast.
		list = append(list, Drive{Name: d.Device, Path: "/dev/r" + d.Device, Size: d.Size, Uses: d.mounts()})
	}
	return list, nil
}

// mounts returns where the disk, its partitions and volumes are mounted.
func (d diskutilDisk) mounts() (list []string) {
	if d.Mount != "" {
		list = append(list, d.Mount)
	}
	for _, p := range append(d.Partitions[:len(d.Partitions):len(d.Partitions)], d.Volumes...) {
		list = append(list, p.mounts()...)
	}
	return list
}

// addDiskutilInfo fills in what is known of one disk.
func (d *Drive) addDiskutilInfo(data []byte) error {
	var i diskutilInfo
	if _, err := plist.Unmarshal(data, &i); err != nil {
		return fmt.Errorf("read what diskutil says of %s: %w", d.Name, err)
	}
	d.Model, d.Removable, d.ReadOnly = strings.TrimSpace(i.Model), i.Removable, !i.Writable
	switch bus := strings.ToLower(i.Bus); bus {
	case "secure digital":
		d.Bus = "mmc"
	default:
		d.Bus = bus
	}
	return nil
}
