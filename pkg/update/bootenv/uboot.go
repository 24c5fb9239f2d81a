package bootenv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"
)

// Disk is where U-Boot keeps its environment.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes what was written durable.
	Sync() error
}

// UBoot is U-Boot's redundant environment (CONFIG_SYS_REDUNDAND_ENVIRONMENT): two
// copies of Size bytes on a disk, each a CRC-32 of what follows its fifth byte, a
// counter of one byte, and NAME=VALUE strings that end with a zero byte, the last
// one with another. The copy that is whole and newer counts.
type UBoot struct {
	Disk Disk
	// Offsets of the two copies, in bytes.
	Offsets [2]int64
	// Size of each, in bytes (CONFIG_ENV_SIZE).
	Size int
}

// ubootHead is the length of CRC and counter.
const ubootHead = 5

// copyOf reads one copy; ErrDamaged when it is not whole.
func (u UBoot) copyOf(i int) (v map[string]string, counter byte, err error) {
	if u.Size <= ubootHead+2 || u.Size > 1<<20 {
		return nil, 0, fmt.Errorf("an environment of U-Boot with %d bytes", u.Size)
	}
	b := make([]byte, u.Size)
	if _, err := u.Disk.ReadAt(b, u.Offsets[i]); err != nil {
		return nil, 0, fmt.Errorf("read U-Boot's environment at %d: %w", u.Offsets[i], err)
	}
	v, err = parseUBoot(b)
	return v, b[4], err
}

func parseUBoot(b []byte) (map[string]string, error) {
	if len(b) < ubootHead+2 || binary.LittleEndian.Uint32(b) != crc32.ChecksumIEEE(b[ubootHead:]) {
		return nil, fmt.Errorf("%w: its checksum is another one", ErrDamaged)
	}
	v := map[string]string{}
	rest := b[ubootHead:]
	for len(rest) > 0 && rest[0] != 0 {
		line, after, ok := bytes.Cut(rest, []byte{0})
		name, value, isVariable := strings.Cut(string(line), "=")
		if !ok || !isVariable || name == "" {
			return nil, fmt.Errorf("%w: %.40q is no variable", ErrDamaged, line)
		}
		v[name] = value
		rest = after
	}
	return v, nil
}

// current returns the copy that counts.
func (u UBoot) current() (v map[string]string, which int, counter byte, err error) {
	first, n, err0 := u.copyOf(0)
	second, m, err1 := u.copyOf(1)
	switch {
	case err0 != nil && err1 != nil:
		return nil, 0, 0, err0
	case err1 != nil:
		return first, 0, n, nil
	case err0 != nil:
		return second, 1, m, nil
	case int8(m-n) > 0: // U-Boot's counter wraps around
		return second, 1, m, nil
	}
	return first, 0, n, nil
}

// Read implements Store.
func (u UBoot) Read() (map[string]string, error) {
	v, _, _, err := u.current()
	return v, err
}

// Write implements Store: it writes the copy that does not count.
func (u UBoot) Write(v map[string]string) error {
	_, which, counter, err := u.current()
	if err != nil {
		return err
	}
	text, err := u.join(v)
	if err != nil {
		return err
	}
	b := make([]byte, u.Size)
	b[4] = counter + 1
	copy(b[ubootHead:], text)
	binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[ubootHead:]))
	if _, err := u.Disk.WriteAt(b, u.Offsets[1-which]); err != nil {
		return fmt.Errorf("write U-Boot's environment at %d: %w", u.Offsets[1-which], err)
	}
	return u.Disk.Sync()
}

// join checks variables. U-Boot's own hold more kinds of characters than ours.
func (u UBoot) join(v map[string]string) ([]byte, error) {
	ours := map[string]string{}
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(v)) {
		value := v[name]
		if name == defaultVariable || name == onceVariable {
			ours[name] = value
			continue
		}
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("%.40q is no variable of U-Boot", name)
		}
		b = append(append(append(append(b, name...), '='), value...), 0)
	}
	text, err := lines(ours, 0)
	if err != nil {
		return nil, err
	}
	if b = append(b, text...); len(b)+1 > u.Size-ubootHead {
		return nil, fmt.Errorf("the variables of U-Boot take %d bytes, its environment has %d", len(b)+1, u.Size-ubootHead)
	}
	return b, nil
}
