package bootenv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/digital-mycelium/os/pkg/durable"
)

// GRUB is the environment block of GRUB in a file of that path, as grub-editenv
// makes it: 1024 bytes, of which the variables must fit into the first sector,
// which a disk writes whole or not at all. GRUB writes into the same blocks without
// knowing the file system; so does Write.
type GRUB string

const (
	grubSize   = 1024
	grubHeader = "# GRUB Environment Block\n"
	sector     = 512
)

// Read implements Store.
func (g GRUB) Read() (map[string]string, error) {
	f, err := os.Open(string(g))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, grubSize+1))
	if err != nil {
		return nil, err
	}
	v, err := parseGRUB(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", string(g), err)
	}
	return v, nil
}

// parseGRUB reads an environment block: a header, then lines NAME=VALUE and
// comments; the padding is a comment too. Values in which a backslash keeps the
// character behind it are none of ours.
func parseGRUB(b []byte) (map[string]string, error) {
	if len(b) != grubSize {
		return nil, fmt.Errorf("%w: not %d bytes long", ErrDamaged, grubSize)
	}
	rest, ok := strings.CutPrefix(string(b), grubHeader)
	if !ok {
		return nil, fmt.Errorf("%w: it begins with %q", ErrDamaged, b[:len(grubHeader)])
	}
	v := map[string]string{}
	for line := range strings.SplitSeq(rest, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, isVariable := strings.Cut(line, "=")
		if !isVariable || !validName.MatchString(name) || strings.ContainsRune(value, '\\') {
			return nil, fmt.Errorf("%w: %.40q is no variable", ErrDamaged, line)
		}
		v[name] = value
	}
	return v, nil
}

// block is the environment block that holds variables.
func (g GRUB) block(v map[string]string) ([]byte, error) {
	text, err := lines(v, '\n')
	if err != nil {
		return nil, err
	}
	b := append([]byte(grubHeader), text...)
	if len(b) > sector {
		return nil, fmt.Errorf("%s: the variables take %d bytes, a sector has %d", string(g), len(b), sector)
	}
	return append(b, bytes.Repeat([]byte("#"), grubSize-len(b))...), nil
}

// Make puts a new block in the place of one that is missing or damaged, so that slot is
// started by itself. The directory must be there.
func (g GRUB) Make(slot string) error {
	b, err := g.block(map[string]string{defaultVariable: slot, onceVariable: ""})
	if err != nil {
		return err
	}
	return durable.WriteFile(string(g), b, 0o755) // a mode that FAT has
}

// Write implements Store.
func (g GRUB) Write(v map[string]string) (err error) {
	b, err := g.block(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(string(g), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if info, err := f.Stat(); err != nil || info.Size() != grubSize {
		return errors.Join(err, fmt.Errorf("%s: %w: not %d bytes long", string(g), ErrDamaged, grubSize))
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Sync()
}
