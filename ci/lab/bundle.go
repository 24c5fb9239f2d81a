package lab

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// ReadTarZst returns the contents of all files in an archive, one after the other.
func ReadTarZst(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	defer z.Close()
	var text strings.Builder
	for r := tar.NewReader(z); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return text.String(), nil
		}
		if err == nil {
			fmt.Fprintf(&text, "== %s\n", head.Name)
			_, err = io.Copy(&text, r)
		}
		if err != nil {
			return "", fmt.Errorf("read %s: %w", path, err)
		}
	}
}
