// Package efivar reads the variables of a UEFI firmware as Linux shows them: efivarfs is
// a directory with a file NAME-VENDOR for each, of four bytes of attributes and the value.
//
// Source: Linux, Documentation/filesystems/efivarfs.rst.
package efivar

import (
	"fmt"
	"os"
	"path/filepath"
)

// Dir is where Linux mounts efivarfs.
const Dir = "/sys/firmware/efi/efivars"

// Vendors: the UEFI Specification's own variables (3.3, EFI_GLOBAL_VARIABLE), and those of
// systemd's Boot Loader Interface.
const (
	Global = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
	Loader = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
)

// Path is a variable's file in dir.
func Path(dir, name, vendor string) string { return filepath.Join(dir, name+"-"+vendor) }

// Read returns the value of a variable in dir, of fewer than limit bytes with its
// attributes; fs.ErrNotExist when there is none.
func Read(dir, name, vendor string, limit int) ([]byte, error) {
	f, err := os.Open(Path(dir, name, vendor))
	if err != nil {
		return nil, fmt.Errorf("read the EFI variable %s: %w", name, err)
	}
	defer f.Close()
	b := make([]byte, limit)
	n, err := f.Read(b) // in one call: efivarfs asks the firmware anew in each
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the EFI variable %s: %w", name, err)
	case n < 4:
		return nil, fmt.Errorf("read the EFI variable %s: it has %d bytes, want attributes and a value", name, n)
	case n == limit:
		return nil, fmt.Errorf("read the EFI variable %s: it has %d bytes or more", name, n)
	}
	return b[4:n:n], nil
}
