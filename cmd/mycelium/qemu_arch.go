package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image"
	"github.com/digital-mycelium/os/image/sbom"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// imageArch says which machine an image is for: an OS file says so itself, a disk
// image by its board in the bill of materials beside it. An image without one is
// for amd64.
func imageArch(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open the image: %w", err)
	}
	defer f.Close()
	head := make([]byte, 2)
	if _, err := io.ReadFull(f, head); err != nil {
		return "", fmt.Errorf("the image %s is empty: %w", path, err)
	}
	if string(head) == "MZ" {
		return qemu.OSFileArch(path)
	}
	manifest := filepath.Join(filepath.Dir(path), image.Manifest)
	data, err := os.ReadFile(manifest)
	if errors.Is(err, fs.ErrNotExist) {
		return qemu.AMD64, nil
	}
	if err != nil {
		return "", err
	}
	bill, err := sbom.Read(data)
	if err != nil {
		return "", fmt.Errorf("%s, which says what the image is for: %w", manifest, err)
	}
	b, err := board.Load(bill.Board)
	if err != nil {
		return "", fmt.Errorf("%s, which says what the image is for: %w", manifest, err)
	}
	return b.Arch, nil
}
