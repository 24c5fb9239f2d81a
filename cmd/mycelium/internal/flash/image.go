// Package flash writes disk images onto disks: it decompresses while it writes,
// skips what the block map says need not be written, puts a configuration on the
// first partition on the way, and reads everything back.
package flash

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/digital-mycelium/os/pkg/bmap"
)

// Image is a disk image to be written. It is not safe for concurrent use.
type Image struct {
	// Path is where it was opened.
	Path string
	// Size is that of the disk image itself in bytes, not of the file.
	Size int64
	// Map says what needs to be written; nil when there is none beside the image.
	Map *bmap.Map

	file   *os.File
	packed bool
}

// maxWindow is the most memory that an image's decompression may take, in bytes:
// what zstd --ultra needs without --long.
const maxWindow = 128 << 20

// Open opens a disk image, plain or compressed with zstd, and the block map beside
// it: IMAGE.bmap, or without ".zst". The caller must close it.
func Open(path string) (*Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the image: %w", err)
	}
	i := &Image{Path: path, file: f}
	if err := i.measure(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the image %s: %w", path, err), f.Close())
	}
	if err := i.readMap(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return i, nil
}

// Close closes the image's file.
func (i *Image) Close() error { return i.file.Close() }

// measure finds out what the file is, and how large the image in it.
func (i *Image) measure() error {
	st, err := i.file.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return errors.New("it is no file")
	}
	head := make([]byte, zstd.HeaderMaxSize)
	n, err := i.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	head = head[:n]
	i.Size = st.Size()
	switch {
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		i.packed = true
		var h zstd.Header
		if err := h.Decode(head); err != nil {
			return fmt.Errorf("it is not whole: %w", err)
		}
		if i.Size = -1; h.HasFCS && h.FrameContentSize < 1<<60 {
			i.Size = int64(h.FrameContentSize)
		}
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}), bytes.HasPrefix(head, []byte("\xfd7zXZ")), bytes.HasPrefix(head, []byte("BZh")), bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return errors.New("it is compressed in a way that is not known here: unpack it, or compress it with zstd")
	}
	if i.Size == 0 {
		return errors.New("it is empty")
	}
	return nil
}

// readMap reads the block map beside the image, when there is one.
func (i *Image) readMap() error {
	for _, path := range []string{i.Path + ".bmap", strings.TrimSuffix(i.Path, ".zst") + ".bmap"} {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open the block map: %w", err)
		}
		i.Map, err = bmap.Parse(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if i.Size < 0 {
			i.Size = i.Map.ImageSize
		}
		if i.Size != i.Map.ImageSize {
			return fmt.Errorf("the block map %s is that of another image: of %d bytes, this one has %d", path, i.Map.ImageSize, i.Size)
		}
		return nil
	}
	if i.Size < 0 {
		return fmt.Errorf("%s does not say how large the image in it is: put its block map (%s.bmap) beside it, or unpack it", i.Path, strings.TrimSuffix(i.Path, ".zst"))
	}
	return nil
}

// stream is the image from its beginning on.
type stream struct {
	image *Image
	at    int64
	z     *zstd.Decoder
}

// stream begins to read the image. The caller must close it, and read no other
// stream of the same image meanwhile.
func (i *Image) stream() (*stream, error) {
	s := &stream{image: i}
	if !i.packed {
		return s, nil
	}
	if _, err := i.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the image: %w", err)
	}
	var err error
	if s.z, err = zstd.NewReader(i.file, zstd.WithDecoderMaxWindow(maxWindow)); err != nil {
		return nil, fmt.Errorf("read the image: %w", err)
	}
	return s, nil
}

func (s *stream) close() {
	if s.z != nil {
		s.z.Close()
	}
}

// readAt fills b from offset, which is not before the end of what was read last.
func (s *stream) readAt(b []byte, offset int64) error {
	var err error
	if s.z == nil {
		var n int
		if n, err = s.image.file.ReadAt(b, offset); n == len(b) {
			return nil
		}
	} else {
		if _, err = io.CopyN(io.Discard, s.z, offset-s.at); err == nil {
			_, err = io.ReadFull(s.z, b)
		}
		s.at = offset + int64(len(b))
	}
	switch {
	case err == nil:
		return nil
	case !isPathError(err):
		return s.image.damaged(err)
	}
	return fmt.Errorf("read the image: %w", err)
}

// damaged is the error for an image that is not what it was made as. The decoder
// tells a wrong bit and a missing end apart no better.
func (i *Image) damaged(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("the image %s is damaged or incomplete: %w: get it anew", i.Path, err)
}

// end expects nothing to follow after offset, and the file's own checksum to be right.
func (s *stream) end(offset int64) error {
	if s.z == nil {
		return nil
	}
	_, err := io.CopyN(io.Discard, s.z, s.image.Size-s.at)
	if err == nil {
		var n int64
		if n, err = io.Copy(io.Discard, io.LimitReader(s.z, 1)); err == nil && n > 0 {
			return fmt.Errorf("the image %s is longer than it says", s.image.Path)
		}
	}
	s.at = s.image.Size
	if err == nil {
		return nil
	}
	return s.image.damaged(err)
}

func isPathError(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path)
}
