package initramfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

// FirmwareDir is where the kernel looks for firmware.
const FirmwareDir = "lib/firmware"

// FixedList is a file in FirmwareDir with the names of what is Fixed, one a line.
const FixedList = "FIXED"

// packFirmware returns the compressed archive of the files; nothing without any.
func packFirmware(ctx context.Context, files []Firmware) ([]byte, error) {
	if len(files) == 0 {
		return nil, nil
	}
	records, err := firmwareRecords(files)
	if err != nil {
		return nil, fmt.Errorf("pack the firmware: %w", err)
	}
	data, err := archive(records...)
	if err != nil {
		return nil, fmt.Errorf("pack the firmware: %w", err)
	}
	packed, err := compress(ctx, data, firmwarePreset)
	if err != nil {
		return nil, fmt.Errorf("compress the firmware: %w", err)
	}
	return packed, nil
}

// firmwareRecords returns the directories, and the files in the order of their names.
// What has the content of one before is a link to that.
func firmwareRecords(files []Firmware) ([]cpio.Record, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b Firmware) int { return strings.Compare(a.Name, b.Name) })
	var list bytes.Buffer
	var records []cpio.Record
	made, first := map[string]bool{}, map[[sha256.Size]byte]string{}
	for i, f := range files {
		if !fs.ValidPath(f.Name) || f.Name == "." || f.Name == FixedList {
			return nil, fmt.Errorf("%q is no path below /%s", f.Name, FirmwareDir)
		}
		if i > 0 && files[i-1].Name == f.Name {
			return nil, fmt.Errorf("%s is there twice", f.Name)
		}
		if f.Fixed {
			fmt.Fprintln(&list, f.Name)
		}
		name := path.Join(FirmwareDir, f.Name)
		records = append(records, directories(path.Dir(name), made)...)
		sum := sha256.Sum256(f.Data)
		same, twice := first[sum]
		if !twice {
			first[sum] = name
			records = append(records, cpio.StaticFile(name, string(f.Data), 0o444))
			continue
		}
		target, err := filepath.Rel(path.Dir(name), same)
		if err != nil {
			return nil, err
		}
		records = append(records, cpio.Symlink(name, target))
	}
	return append(records, cpio.StaticFile(path.Join(FirmwareDir, FixedList), list.String(), 0o444)), nil
}

// directories returns the directory dir and those above that are not made yet.
func directories(dir string, made map[string]bool) (records []cpio.Record) {
	if dir == "." || made[dir] {
		return nil
	}
	made[dir] = true
	return append(directories(path.Dir(dir), made), cpio.Directory(dir, 0o755))
}
