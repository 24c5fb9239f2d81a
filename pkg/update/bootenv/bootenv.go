// Package bootenv lets a boot loader with a script start an operating system's
// slot once, or by itself, by way of two variables that it keeps: GRUB in its
// environment block, U-Boot in its environment.
//
//	slot   the slot that is started by itself
//	try    the slot that is started next, once; empty for none
//
// The boot loader's script takes try away, and saves that, before it starts what it
// names. In GRUB's language:
//
//	load_env
//	if [ -n "$try" ]; then
//	  set boot="$try"
//	  set try=
//	  save_env try
//	else
//	  set boot="$slot"
//	fi
//
// It tells the kernel's command line which slot it has started.
package bootenv

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/digital-mycelium/os/pkg/update"
)

// The variables' names.
const (
	defaultVariable = "slot"
	onceVariable    = "try"
)

// Store keeps variables where the boot loader finds them.
type Store interface {
	// Read returns all variables. ErrDamaged says that there are none that can be
	// trusted.
	Read() (map[string]string, error)
	// Write replaces them durably: after a power cut Read returns the old or the new.
	Write(map[string]string) error
}

// ErrDamaged says that what stands in a Store's place is no environment.
var ErrDamaged = errors.New("the boot loader's environment is damaged")

// Firmware is the update.Firmware of such a boot loader. It is not safe for
// concurrent use.
type Firmware struct {
	Store Store
	// Started is the slot that the kernel's command line names.
	Started string
	// Slots are the slots' names.
	Slots []string
}

var _ update.Firmware = (*Firmware)(nil)

// Running implements update.Firmware.
func (f *Firmware) Running() (string, error) {
	if !slices.Contains(f.Slots, f.Started) {
		return "", fmt.Errorf("the boot loader says that it has started slot %q, this machine has %q", f.Started, f.Slots)
	}
	return f.Started, nil
}

// Default implements update.Firmware.
func (f *Firmware) Default() (string, error) {
	v, err := f.Store.Read()
	if err != nil {
		return "", err
	}
	if !slices.Contains(f.Slots, v[defaultVariable]) {
		return "", fmt.Errorf("the boot loader would start slot %q, this machine has %q", v[defaultVariable], f.Slots)
	}
	return v[defaultVariable], nil
}

// SetDefault implements update.Firmware.
func (f *Firmware) SetDefault(slot string) error { return f.set(defaultVariable, slot) }

// TryOnce implements update.Firmware.
func (f *Firmware) TryOnce(slot string) error { return f.set(onceVariable, slot) }

// Untry implements update.Firmware.
func (f *Firmware) Untry() error {
	v, err := f.Store.Read()
	if err != nil || v[onceVariable] == "" {
		return err
	}
	v[onceVariable] = ""
	return f.Store.Write(v)
}

func (f *Firmware) set(variable, slot string) error {
	if !slices.Contains(f.Slots, slot) {
		return fmt.Errorf("there is no slot %q", slot)
	}
	v, err := f.Store.Read()
	if err != nil {
		return err
	}
	if v[variable] == slot {
		return nil
	}
	v[variable] = slot
	return f.Store.Write(v)
}

var validName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// lines checks variables and joins them, sorted, each ended by end, which no
// value may hold.
func lines(v map[string]string, end byte) ([]byte, error) {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(v)) {
		value := v[name]
		if !validName.MatchString(name) {
			return nil, fmt.Errorf("%.40q is no name of a variable", name)
		}
		for i := range len(value) {
			if value[i] == end || value[i] < ' ' || value[i] == '\\' {
				return nil, fmt.Errorf("the value of %s, %.40q, holds a character that the boot loader does not keep", name, value)
			}
		}
		b = append(append(append(append(b, name...), '='), value...), end)
	}
	return b, nil
}
