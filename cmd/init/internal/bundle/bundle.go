// Package bundle writes a support bundle: a tar file, compressed by zstd, of texts
// without secrets. One text at a time is in memory.
package bundle

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/digital-mycelium/os/cmd/init/internal/redact"
)

// MaxText is the length of the longest text in bytes. What is longer is cut.
const MaxText = 1 << 20

// Section is one file of a bundle. Collect returns its text, which may hold
// secrets, and beside it an error when it is not all there.
type Section struct {
	Name    string
	Collect func(ctx context.Context) (string, error)
}

// Write writes the sections to w, as files in the folder dir, and what failed as
// errors.txt. It returns the error of w or ctx.
func Write(ctx context.Context, w io.Writer, dir string, sections []Section, r *redact.Redactor) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(256<<10))
	if err != nil {
		return fmt.Errorf("compress the support bundle: %w", err)
	}
	t := tar.NewWriter(z)
	add := func(name, text string) error {
		text = r.Text(cut(text))
		h := &tar.Header{Name: dir + "/" + name, Mode: 0o600, Size: int64(len(text)), ModTime: time.Now().Truncate(time.Second), Format: tar.FormatPAX}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("write the support bundle: %w", err)
		}
		if _, err := io.WriteString(t, text); err != nil {
			return fmt.Errorf("write the support bundle: %w", err)
		}
		return nil
	}
	var failed strings.Builder
	for _, s := range sections {
		text, err := s.Collect(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(&failed, "%s: %v\n", s.Name, err)
		}
		if text == "" && err != nil {
			continue
		}
		if err := add(s.Name, text); err != nil {
			return err
		}
	}
	if failed.Len() > 0 {
		if err := add("errors.txt", failed.String()); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("write the support bundle: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("write the support bundle: %w", err)
	}
	return nil
}

// cut shortens what is too long, at the end of a line: half a secret would not be
// recognised.
func cut(text string) string {
	if len(text) <= MaxText {
		return text
	}
	kept := text[:MaxText]
	kept = kept[:strings.LastIndexByte(kept, '\n')+1]
	return fmt.Sprintf("%s(%d bytes more are left out)\n", kept, len(text)-len(kept))
}
