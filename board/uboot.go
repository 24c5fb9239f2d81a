package board

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// UBoot is U-Boot on the disk itself, for boards whose processor reads its first
// program from there. Machines that are of one board but for their U-Boot are its
// variants; a disk image is for one of them.
type UBoot struct {
	// Package is the one of the prerequisites' lock that holds U-Boot.
	Package string `yaml:"package"`
	// Files are what a variant's folder has for the disk, in the disk's order.
	Files    []UBootFile    `yaml:"files"`
	Variants []UBootVariant `yaml:"variants"`
}

// UBootFile is a part of U-Boot and the place on the disk where the part before it
// looks for it.
type UBootFile struct {
	// Name is the file's in the variant's folder.
	Name string `yaml:"name"`
	// Sector of 512 bytes that it begins at.
	Sector int64 `yaml:"sector"`
	// Magic is what the part before it knows it by: its first bytes, in hexadecimal.
	Magic string `yaml:"magic"`
}

// UBootVariant is one machine.
type UBootVariant struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	// Folder is the machine's in the package, relative.
	Folder string `yaml:"folder"`
}

// File returns where a file of a variant stands in the package.
func (u *UBoot) File(v UBootVariant, f UBootFile) PackageFile {
	return PackageFile{Package: u.Package, Path: path.Join(v.Folder, f.Name)}
}

// Variant returns the variant called name, or the first when name is empty.
func (u *UBoot) Variant(name string) (UBootVariant, error) {
	for _, v := range u.Variants {
		if name == "" || v.Name == name {
			return v, nil
		}
	}
	return UBootVariant{}, fmt.Errorf("no variant %q; there are: %s", name, strings.Join(u.VariantNames(), ", "))
}

// VariantNames returns the variants' names in their order.
func (u *UBoot) VariantNames() []string {
	names := make([]string, len(u.Variants))
	for i, v := range u.Variants {
		names[i] = v.Name
	}
	return names
}

// validate checks the block against where the disk's first partition begins.
func (u *UBoot) validate(startMiB int64) (errs []error) {
	if u.Package == "" {
		errs = append(errs, errors.New("firmware.uboot.package is empty"))
	}
	if len(u.Files) == 0 || len(u.Variants) == 0 {
		errs = append(errs, errors.New("firmware.uboot: files and variants are both required"))
	}
	last := int64(33) // the partition table's last sector
	for _, f := range u.Files {
		if f.Sector <= last || f.Sector >= startMiB<<11 {
			errs = append(errs, fmt.Errorf("firmware.uboot.files: %s begins at sector %d, want one behind %d and before the first partition (disk.startMiB %d)",
				f.Name, f.Sector, last, startMiB))
		}
		if f.Name != path.Base(f.Name) || !fs.ValidPath(f.Name) || f.Name == "." {
			errs = append(errs, fmt.Errorf("firmware.uboot.files: %q is no file's name", f.Name))
		}
		if magic, err := hex.DecodeString(f.Magic); err != nil || len(magic) == 0 {
			errs = append(errs, fmt.Errorf("firmware.uboot.files: %s: magic %q: want bytes in hexadecimal", f.Name, f.Magic))
		}
		last = f.Sector
	}
	names := map[string]bool{}
	for _, v := range u.Variants {
		if v.Name == "" || names[v.Name] {
			errs = append(errs, fmt.Errorf("firmware.uboot.variants: the name %q is empty or used twice", v.Name))
		}
		names[v.Name] = true
		errs = append(errs, validPaths(v.Folder)...)
	}
	return errs
}
