package flash

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Drives lists the disks of this computer.
func Drives(context.Context) ([]Drive, error) { return drivesIn("/") }

// notDisks are names of block devices that are no disks.
func notDisks() []string {
	return []string{"loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "drbd", "zd", "bcache"}
}

// drivesIn lists the disks that the system whose root is at root has.
func drivesIn(root string) ([]Drive, error) {
	entries, err := os.ReadDir(filepath.Join(root, "sys/block"))
	if err != nil {
		return nil, fmt.Errorf("list the disks: %w", err)
	}
	uses, err := readUses(root)
	if err != nil {
		return nil, fmt.Errorf("find out which disks are in use: %w", err)
	}
	var list []Drive
	for _, e := range entries {
		name := e.Name()
		if slices.ContainsFunc(notDisks(), func(prefix string) bool {
			rest, ok := strings.CutPrefix(name, prefix)
			return ok && (strings.HasSuffix(prefix, "-") || rest == "" || rest[0] >= '0' && rest[0] <= '9')
		}) || strings.Contains(name, "boot") { // an eMMC's boot areas are no disks
			continue
		}
		d, err := readDrive(root, name, uses)
		if err != nil {
			return nil, fmt.Errorf("look at the disk %s: %w", name, err)
		}
		list = append(list, d)
	}
	return list, nil
}

func readDrive(root, name string, uses map[string][]string) (Drive, error) {
	dir := filepath.Join(root, "sys/block", name)
	d := Drive{
		Name: name, Path: "/dev/" + strings.ReplaceAll(name, "!", "/"),
		Removable: attribute(dir, "removable") == "1", ReadOnly: attribute(dir, "ro") == "1",
	}
	sectors, err := strconv.ParseInt(attribute(dir, "size"), 10, 64)
	if err != nil {
		return d, err
	}
	d.Size = sectors * 512
	d.Model = strings.Join(strings.Fields(attribute(dir, "device/vendor")+" "+attribute(dir, "device/model")+" "+attribute(dir, "device/name")), " ")
	if strings.HasPrefix(d.Model, "0x") { // a PCI vendor's number
		_, d.Model, _ = strings.Cut(d.Model, " ")
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return d, err
	}
	d.Bus = bus(real)
	d.Uses, err = usesOf(root, real, uses, 0)
	return d, err
}

// bus tells from a device's place in sysfs how it is attached.
func bus(path string) string {
	for _, b := range []struct{ part, name string }{
		{"/usb", "usb"}, {"/mmc_host/", "mmc"}, {"/nvme", "nvme"}, {"/virtio", "virtio"}, {"/ata", "ata"}, {"/host", "scsi"},
	} {
		if strings.Contains(path, b.part) {
			return b.name
		}
	}
	return "other"
}

// usesOf collects what uses a block device: itself, its partitions, and what was built
// out of them (LVM, RAID, encryption).
func usesOf(root, dir string, uses map[string][]string, depth int) ([]string, error) {
	if depth > 8 {
		return nil, errors.New("devices built of each other")
	}
	list := slices.Clone(uses[attribute(dir, "dev")])
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(dir, e.Name(), "partition")); err != nil {
			continue
		}
		more, err := usesOf(root, filepath.Join(dir, e.Name()), uses, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	holders, err := os.ReadDir(filepath.Join(dir, "holders"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, h := range holders {
		real, err := filepath.EvalSymlinks(filepath.Join(dir, "holders", h.Name()))
		if err != nil {
			return nil, err
		}
		more, err := usesOf(root, real, uses, depth+1)
		if err != nil {
			return nil, err
		}
		if len(more) == 0 {
			more = []string{h.Name()}
		}
		list = append(list, more...)
	}
	return list, nil
}

func attribute(dir, name string) string {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return "" // not every disk has every one
	}
	return strings.TrimSpace(string(data))
}

// readUses returns what is mounted or swapped to, by the device's numbers "8:1".
func readUses(root string) (map[string][]string, error) {
	uses := map[string][]string{}
	mounts, err := os.ReadFile(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return nil, err
	}
	names, err := deviceNumbers(root)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 7 {
			continue
		}
		number, point := fields[2], unescape(fields[4])
		// btrfs and others show a number of their own; the source names the device.
		if i := slices.Index(fields, "-"); i > 0 && i+2 < len(fields) {
			if n, ok := names[filepath.Base(unescape(fields[i+2]))]; ok && strings.HasPrefix(fields[i+2], "/dev/") {
				number = n
			}
		}
		if !slices.Contains(uses[number], point) {
			uses[number] = append(uses[number], point)
		}
	}
	swaps, err := os.ReadFile(filepath.Join(root, "proc/swaps"))
	if errors.Is(err, fs.ErrNotExist) {
		return uses, nil // a kernel without
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(swaps)) {
		path, _, _ := strings.Cut(line, " ")
		if n, ok := names[filepath.Base(unescape(path))]; ok && strings.HasPrefix(path, "/dev/") {
			uses[n] = append(uses[n], "swap")
		}
	}
	return uses, nil
}

// deviceNumbers returns the numbers of all block devices by their names.
func deviceNumbers(root string) (map[string]string, error) {
	names := map[string]string{}
	dir := filepath.Join(root, "sys/class/block")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		names[e.Name()] = attribute(filepath.Join(dir, e.Name()), "dev")
		if mapped := attribute(filepath.Join(dir, e.Name(), "dm"), "name"); mapped != "" {
			names[mapped] = names[e.Name()]
		}
	}
	return names, nil
}

// unescape undoes the octal escapes of /proc/self/mountinfo.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
