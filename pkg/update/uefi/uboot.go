package uefi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/digital-mycelium/os/pkg/durable"
)

// UBootFile is the name of the file in the root of the EFI system partition in which
// U-Boot keeps its EFI variables (CONFIG_EFI_VARIABLE_FILE_STORE, its default).
const UBootFile = "ubootefi.var"

// IsUBoot reports whether a boot loader's or boot stub's variable LoaderFirmwareInfo
// in the directory dir names U-Boot.
func IsUBoot(dir string) bool {
	value, err := variables(dir).get("LoaderFirmwareInfo", loader)
	return err == nil && strings.HasPrefix(decodeUTF16(value), "Das U-Boot ")
}

// ubootFile is U-Boot's file of variables by its path. U-Boot reads it when its EFI
// part starts, takes nothing from a file whose checksum is another one, and replaces
// it when a variable changes before an operating system runs. A running system
// cannot change U-Boot's variables but there.
//
// The layout is that of include/efi_variable.h, all little-endian: eight zero bytes,
// the magic number, the file's length and the CRC-32 of what follows these 24 bytes;
// for each variable the length of its value, its attributes, a time, the vendor, the
// name in UTF-16 with a zero at its end, the value, and zeros up to a multiple of
// eight.
type ubootFile string

const (
	ubootMagic = 0x0161566966456255 // "UbEfiVa" and version 1
	ubootHead  = 24
	// ubootEntry is a variable without its name and value.
	ubootEntry = 32
	// ubootLimit is the size that U-Boot never gave its buffer (128 KiB by default).
	ubootLimit = 1 << 20
)

// errUBoot says that a file of variables is none.
var errUBoot = errors.New("U-Boot's file of EFI variables is damaged")

// ubootVariable is one variable.
type ubootVariable struct {
	name       string
	attributes uint32
	time       uint64
	vendor     [16]byte
	value      []byte
}

// parseUBootFile reads the variables in their order.
func parseUBootFile(b []byte) ([]ubootVariable, error) {
	le := binary.LittleEndian
	if len(b) < ubootHead || le.Uint64(b) != 0 || le.Uint64(b[8:]) != ubootMagic {
		return nil, fmt.Errorf("%w: it does not begin as one", errUBoot)
	}
	if n := le.Uint32(b[16:]); int64(n) != int64(len(b)) || le.Uint32(b[20:]) != crc32.ChecksumIEEE(b[ubootHead:]) {
		return nil, fmt.Errorf("%w: its length or checksum is another one", errUBoot)
	}
	var list []ubootVariable
	for at := ubootHead; at < len(b); {
		v, n, err := parseUBootVariable(b[at:])
		if err != nil {
			return nil, fmt.Errorf("%w: at byte %d: %w", errUBoot, at, err)
		}
		list = append(list, v)
		at += n
	}
	return list, nil
}

// parseUBootVariable reads the variable that b begins with, and says how many bytes
// it takes.
func parseUBootVariable(b []byte) (v ubootVariable, n int, err error) {
	if len(b) < ubootEntry+2 {
		return v, 0, io.ErrUnexpectedEOF
	}
	le := binary.LittleEndian
	v.attributes, v.time = le.Uint32(b[4:]), le.Uint64(b[8:])
	copy(v.vendor[:], b[16:])
	v.name = decodeUTF16(b[ubootEntry:])
	head := ubootEntry + len(utf16z(v.name))
	length := int64(le.Uint32(b))
	if v.name == "" || int64(head)+length > int64(len(b)) || le.Uint16(b[head-2:]) != 0 {
		return v, 0, errors.New("a name or value is cut short")
	}
	end := head + int(length)
	v.value = slices.Clone(b[head:end])
	return v, min(align8(end), len(b)), nil
}

func align8(n int) int { return (n + 7) &^ 7 }

// formatUBootFile is the reverse of parseUBootFile.
func formatUBootFile(list []ubootVariable) []byte {
	le := binary.LittleEndian
	b := make([]byte, ubootHead)
	for _, v := range list {
		b = le.AppendUint32(b, uint32(len(v.value)))
		b = le.AppendUint32(b, v.attributes)
		b = le.AppendUint64(b, v.time)
		b = append(b, v.vendor[:]...)
		b = append(append(b, utf16z(v.name)...), v.value...)
		b = append(b, make([]byte, align8(len(b))-len(b))...)
	}
	le.PutUint64(b[8:], ubootMagic)
	le.PutUint32(b[16:], uint32(len(b)))
	le.PutUint32(b[20:], crc32.ChecksumIEEE(b[ubootHead:]))
	return b
}

// globalVendor is the constant global as it stands in a file.
func globalVendor() [16]byte {
	return [16]byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
}

// read returns the variables; none when there is no file, or one that U-Boot would
// not read either.
func (u ubootFile) read() ([]ubootVariable, error) {
	f, err := os.Open(string(u))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read U-Boot's EFI variables: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, ubootLimit))
	if err != nil {
		return nil, fmt.Errorf("read U-Boot's EFI variables: %w", err)
	}
	list, err := parseUBootFile(b)
	if errors.Is(err, errUBoot) {
		return nil, nil
	}
	return list, err
}

// checkUBoot fails when the file is not the one that U-Boot has read: it takes that of
// the first EFI system partition that it finds, which may be another disk's, and a
// U-Boot may have been built to keep its variables elsewhere. Its BootOrder, which a
// running system does not change, is then another one than the file's.
func (f *Firmware) checkUBoot() error {
	if f.UBoot == "" {
		return nil
	}
	running, err := variables(f.Variables).get("BootOrder", global)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	kept, err := ubootFile(f.UBoot).value("BootOrder")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !slices.Equal(running, kept) {
		return fmt.Errorf("U-Boot does not keep its EFI variables in %s of this disk (its BootOrder is %x, the file's %x): "+
			"it cannot be asked to start another slot once; is there a second disk with an EFI system partition?", UBootFile, running, kept)
	}
	return nil
}

// names implements keeper.
func (u ubootFile) names() ([]string, error) {
	list, err := u.read()
	var names []string
	for _, v := range list {
		if v.vendor == globalVendor() {
			names = append(names, v.name)
		}
	}
	return names, err
}

// value implements keeper.
func (u ubootFile) value(name string) ([]byte, error) {
	list, err := u.read()
	if err != nil {
		return nil, err
	}
	if i := find(list, name); i >= 0 {
		return list[i].value, nil
	}
	return nil, fmt.Errorf("read the EFI variable %s of U-Boot: %w", name, fs.ErrNotExist)
}

func find(list []ubootVariable, name string) int {
	return slices.IndexFunc(list, func(v ubootVariable) bool { return v.vendor == globalVendor() && v.name == name })
}

// set implements keeper.
func (u ubootFile) set(name string, value []byte) error {
	list, err := u.read()
	if err != nil {
		return err
	}
	if i := find(list, name); i >= 0 {
		list[i].value = value
	} else {
		list = append(list, ubootVariable{name: name, attributes: attributes, vendor: globalVendor(), value: value})
	}
	return u.write(list)
}

// remove implements keeper.
func (u ubootFile) remove(name string) error {
	list, err := u.read()
	if err != nil {
		return err
	}
	i := find(list, name)
	if i < 0 {
		return nil
	}
	return u.write(slices.Delete(list, i, i+1))
}

func (u ubootFile) write(list []ubootVariable) error {
	if err := durable.WriteFile(string(u), formatUBootFile(list), 0o644); err != nil {
		return fmt.Errorf("write U-Boot's EFI variables: %w", err)
	}
	return nil
}
