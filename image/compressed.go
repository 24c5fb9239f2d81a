package image

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/digital-mycelium/os/image/blockmap"
	"github.com/digital-mycelium/os/image/cache"
)

// The files that Build leaves besides when Options.Compress is set.
const (
	// Compressed is the disk image in one zstd frame that names its size.
	Compressed = DiskImage + ".zst"
	// BlockMap says which blocks of the disk image need to be written (pkg/bmap).
	BlockMap = DiskImage + ".bmap"
	// Checksums is as sha256sum writes and checks it.
	Checksums = "SHA256SUMS"
)

// compress makes what is handed on out of the disk image in the output directory,
// and returns the compressed image's size in words.
func (b *builder) compress() (string, error) {
	image, err := os.Open(filepath.Join(b.out, DiskImage))
	if err != nil {
		return "", err
	}
	defer image.Close()
	st, err := image.Stat()
	if err != nil {
		return "", err
	}
	m, err := blockmap.New(image, st.Size())
	if err != nil {
		return "", fmt.Errorf("map the disk image: %w", err)
	}
	err = b.write(Compressed, st.Mode().Perm(), func(w io.Writer) error { return compress(w, image, st.Size()) })
	if err != nil {
		return "", err
	}
	if err := b.write(BlockMap, st.Mode().Perm(), m.Write); err != nil {
		return "", err
	}
	err = b.write(Checksums, 0o644, func(w io.Writer) error {
		for _, name := range []string{OSFile, DiskImage, Compressed, BlockMap, Manifest} {
			sum, err := cache.SumFile(filepath.Join(b.out, name))
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%s  %s\n", sum, name); err != nil {
				return err
			}
		}
		return nil
	})
	return fmt.Sprintf("%s, %d MiB to write", sizeOf(filepath.Join(b.out, Compressed)), m.MappedBlocks()*m.BlockSize>>20), err
}

// compress writes size bytes of r as one zstd frame, the same bytes every time.
// Most of an image is compressed already: a higher level gains nothing.
func compress(w io.Writer, r io.Reader, size int64) error {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return err
	}
	z.ResetContentSize(w, size)
	if _, err := io.Copy(z, io.LimitReader(r, size)); err != nil {
		return errors.Join(fmt.Errorf("compress the disk image: %w", err), z.Close())
	}
	return z.Close()
}

// dropOld removes what compress left for an older disk image: it would not fit the
// one that is about to be made.
func (b *builder) dropOld() error {
	for _, name := range []string{Compressed, BlockMap, Checksums} {
		if err := os.Remove(filepath.Join(b.out, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what an older disk image left: %w", err)
		}
	}
	return nil
}

// write makes a file of the output directory, which appears when it is whole.
func (b *builder) write(name string, mode fs.FileMode, content func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(b.out, name+".tmp*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", name, err), f.Close(), os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := errors.Join(content(w), w.Flush(), f.Chmod(mode)); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(b.out, name))
}

// commandLine is the kernel's.
func (b *builder) commandLine() string {
	line := b.board.CommandLine + " mycelium.board=" + b.board.Name
	if b.kernelArgs != "" {
		line += " " + b.kernelArgs
	}
	return line
}

// checkKernelArgs refuses arguments that would start something else than the OS
// file's own init, or that are not arguments.
func checkKernelArgs(args string) error {
	for _, c := range args {
		if c < ' ' || c > '~' {
			return fmt.Errorf("kernel arguments: %q is not printable ASCII", c)
		}
	}
	for _, arg := range strings.Fields(args) {
		key, _, _ := strings.Cut(strings.Trim(arg, `"`), "=")
		switch key {
		case "init", "rdinit", "initrd", "root", "noinitrd", "--":
			return fmt.Errorf("kernel argument %s: the system would not start with it", arg)
		}
		if strings.HasPrefix(key, "mycelium.") {
			return fmt.Errorf("kernel argument %s: the build sets those itself", arg)
		}
	}
	return nil
}
