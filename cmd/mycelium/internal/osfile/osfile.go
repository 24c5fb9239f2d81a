// Package osfile reads what OS files say of themselves.
package osfile

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"github.com/digital-mycelium/os/image/uki"
	"github.com/digital-mycelium/os/pkg/api"
)

// maxOSRelease bounds os-release(5) in an OS file, in bytes.
const maxOSRelease = 16 << 10

// File is a file, or what can be read like one.
type File interface {
	io.ReaderAt
	io.Seeker
}

// Description is what an OS file says of itself.
type Description struct {
	// Version is its VERSION_ID, Board its VARIANT_ID; that may be empty.
	Version, Board string
	// Digest is the file's SHA-256, Size its length in bytes.
	Digest [32]byte
	Size   uint64
}

// Describe reads a whole OS file of at most api.MaxOSFile bytes.
func Describe(r File) (Description, error) {
	length, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return Description{}, err
	}
	if length > api.MaxOSFile {
		return Description{}, fmt.Errorf("it has %d MiB, a slot holds %d: is it an image of a whole disk?", length>>20, api.MaxOSFile>>20)
	}
	image, err := uki.Parse(r, length)
	if err != nil {
		return Description{}, fmt.Errorf("it is no OS file: %w", err)
	}
	section, err := image.Section(".osrel")
	if err != nil {
		return Description{}, fmt.Errorf("it is no OS file: %w", err)
	}
	release, err := parseOSRelease(io.LimitReader(section, maxOSRelease))
	if err != nil {
		return Description{}, err
	}
	if release["ID"] != "mycelium" || release["VERSION_ID"] == "" {
		return Description{}, fmt.Errorf("it is not of Digital Mycelium OS: its os-release says ID=%q VERSION_ID=%q", release["ID"], release["VERSION_ID"])
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(r, 0, length)); err != nil {
		return Description{}, fmt.Errorf("read it: %w", err)
	}
	return Description{
		Version: release["VERSION_ID"], Board: release["VARIANT_ID"],
		Digest: [32]byte(hash.Sum(nil)), Size: uint64(length),
	}, nil
}

// parseOSRelease reads os-release(5): assignments of a shell, one a line.
func parseOSRelease(r io.Reader) (map[string]string, error) {
	out := map[string]string{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		if strings.ContainsAny(value, "\\$`\"'") {
			return nil, fmt.Errorf("its os-release has a %s that a shell would have to read", name)
		}
		out[name] = value
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read its os-release: %w", err)
	}
	return out, nil
}
