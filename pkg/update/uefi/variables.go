package uefi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/digital-mycelium/os/pkg/efivar"
)

// The vendors of the variables that are used here: the UEFI Specification's own, and
// systemd's Boot Loader Interface.
const (
	global = efivar.Global
	loader = efivar.Loader
)

// attributes of a variable: non-volatile, for boot services and at run time.
const attributes = 1 | 2 | 4

// maxVariable is the size in bytes that no variable here has.
const maxVariable = 64 << 10

// variables is a directory as efivarfs shows it: a file NAME-VENDOR holds four
// bytes of attributes, little-endian, and the value.
type variables string

// Variables is where Linux mounts efivarfs.
const Variables = efivar.Dir

func (v variables) path(name, vendor string) string {
	return efivar.Path(string(v), name, vendor)
}

// get returns a variable's value; fs.ErrNotExist when there is none.
func (v variables) get(name, vendor string) ([]byte, error) {
	return efivar.Read(string(v), name, vendor, maxVariable)
}

// names implements keeper.
func (v variables) names() ([]string, error) {
	files, err := os.ReadDir(string(v))
	if err != nil {
		return nil, fmt.Errorf("list the EFI variables: %w", err)
	}
	var names []string
	for _, file := range files {
		if name, ok := strings.CutSuffix(file.Name(), "-"+global); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// value implements keeper.
func (v variables) value(name string) ([]byte, error) { return v.get(name, global) }

// set stores a variable of the global vendor and reads it back: there are
// firmwares that say that they did.
func (v variables) set(name string, value []byte) error {
	b := binary.LittleEndian.AppendUint32(nil, attributes)
	b = append(b, value...)
	if err := v.write(v.path(name, global), b); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%w: the firmware has no room for variables left: reset its settings, or remove old boot entries", err)
		}
		return fmt.Errorf("write the EFI variable %s: %w", name, err)
	}
	got, err := v.get(name, global)
	if err != nil {
		return err
	}
	if string(got) != string(value) {
		return fmt.Errorf("write the EFI variable %s: the firmware keeps %x instead of %x", name, got, value)
	}
	return nil
}

// write writes in one call, as efivarfs wants it.
func (v variables) write(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// remove deletes a variable of the global vendor, if it is there.
func (v variables) remove(name string) error {
	if err := os.Remove(v.path(name, global)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete the EFI variable %s: %w", name, err)
	}
	return nil
}
