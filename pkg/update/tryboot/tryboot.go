// Package tryboot lets the firmware of a Raspberry Pi start an operating system's
// slot once, or by itself, by way of its file autoboot.txt.
//
// The file stands on the first partition and names the partition that the firmware
// reads everything else from, one for ordinary starts and one for a start that was
// asked for with the flag tryboot, which the firmware forgets:
//
//	[all]
//	tryboot_a_b=1
//	boot_partition=2
//	[tryboot]
//	boot_partition=3
//
// The flag is the argument of the reboot, so that a trial is asked for by Argument
// and not before: until the machine is rebooted, nothing has changed.
// Source: Raspberry Pi documentation, "autoboot.txt" and "tryboot" (config.txt).
package tryboot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/digital-mycelium/os/pkg/update"
)

// Bootloader is where the kernel shows what the firmware did, as a device tree has it.
const Bootloader = "/proc/device-tree/chosen/bootloader"

// size is what autoboot.txt takes: one sector, the most that the firmware reads of
// it, and what a card writes whole or not at all.
const size = 512

// ErrDamaged says that autoboot.txt is not one of this package.
var ErrDamaged = errors.New("autoboot.txt is damaged")

// Firmware is the update.Firmware of a Raspberry Pi. It is not safe for concurrent
// use.
type Firmware struct {
	// Autoboot is the path of autoboot.txt.
	Autoboot string
	// Bootloader is the directory of the firmware's answers.
	Bootloader string
	// Partitions are the numbers of the slots' partitions, from 1, by their names.
	Partitions map[string]int

	once bool
}

var _ update.Firmware = (*Firmware)(nil)

// Argument is what the reboot system call must be given (LINUX_REBOOT_CMD_RESTART2);
// empty for an ordinary reboot.
func (f *Firmware) Argument() string {
	if f.once {
		return "0 tryboot"
	}
	return ""
}

// name returns the slot on a partition.
func (f *Firmware) name(partition int) (string, error) {
	for name, p := range f.Partitions {
		if p == partition {
			return name, nil
		}
	}
	return "", fmt.Errorf("partition %d is none of the slots %v", partition, f.Partitions)
}

// Running implements update.Firmware.
func (f *Firmware) Running() (string, error) {
	path := filepath.Join(f.Bootloader, "partition")
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if len(b) != 4 {
		return "", fmt.Errorf("%s: %d bytes, want a number of 4", path, len(b))
	}
	return f.name(int(binary.BigEndian.Uint32(b)))
}

// Default implements update.Firmware.
func (f *Firmware) Default() (string, error) {
	b, err := read(f.Autoboot)
	if err != nil {
		return "", err
	}
	p, err := parse(b)
	if err != nil {
		return "", fmt.Errorf("%s: %w", f.Autoboot, err)
	}
	return f.name(p)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, size+1))
}

// SetDefault implements update.Firmware: the file is overwritten where it stands.
func (f *Firmware) SetDefault(slot string) (err error) {
	def, ok := f.Partitions[slot]
	if !ok || len(f.Partitions) != 2 {
		return fmt.Errorf("there is no slot %q among the two of %v", slot, f.Partitions)
	}
	other := 0
	for name, p := range f.Partitions {
		if name != slot {
			other = p
		}
	}
	file, err := os.OpenFile(f.Autoboot, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if info, err := file.Stat(); err != nil || info.Size() != size {
		return errors.Join(err, fmt.Errorf("%s: %w: not %d bytes long", f.Autoboot, ErrDamaged, size))
	}
	if _, err := file.WriteAt(Format(def, other), 0); err != nil {
		return err
	}
	f.once = false // it would start the other one now
	return file.Sync()
}

// TryOnce implements update.Firmware. The caller reboots with Argument.
func (f *Firmware) TryOnce(slot string) error {
	def, err := f.Default()
	if err != nil {
		return err
	}
	if _, ok := f.Partitions[slot]; !ok || slot == def {
		return fmt.Errorf("slot %q cannot be tried: the slots are %v, and %s is started by itself", slot, f.Partitions, def)
	}
	f.once = true
	return nil
}

// Untry implements update.Firmware.
func (f *Firmware) Untry() error {
	f.once = false
	return nil
}

// Format returns the content of autoboot.txt, 512 bytes, with the partition that is
// started by itself and the one of a trial.
func Format(def, trial int) []byte {
	text := fmt.Sprintf("[all]\ntryboot_a_b=1\nboot_partition=%d\n[tryboot]\nboot_partition=%d\n", def, trial)
	return append([]byte(text), bytes.Repeat([]byte("#"), size-len(text))...)
}

var variable = regexp.MustCompile(`^([a-z_]+)=([0-9]{1,3})$`)

// parse returns the partition of ordinary starts.
func parse(b []byte) (int, error) {
	if len(b) != size {
		return 0, fmt.Errorf("%w: not %d bytes long", ErrDamaged, size)
	}
	section, def, ab := "", 0, false
	for line := range strings.SplitSeq(string(b), "\n") {
		switch m := variable.FindStringSubmatch(line); {
		case line == "" || line[0] == '#':
		case line == "[all]" || line == "[tryboot]":
			section = line
		case m == nil:
			return 0, fmt.Errorf("%w: %.40q", ErrDamaged, line)
		case section == "[all]" && m[1] == "boot_partition":
			def, _ = strconv.Atoi(m[2]) // three digits
		case section == "[all]" && m[1] == "tryboot_a_b":
			ab = m[2] == "1"
		}
	}
	if def == 0 || !ab {
		return 0, fmt.Errorf("%w: it does not say which partition to start, or tryboot_a_b=1", ErrDamaged)
	}
	return def, nil
}
