package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// imageKind is what an image file holds.
type imageKind int

const (
	diskImage imageKind = iota
	osFile
)

// classify looks at the image's first bytes.
func classify(path string) (imageKind, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("open the image: %w", err)
	}
	defer f.Close()
	head := make([]byte, 4)
	if _, err := io.ReadFull(f, head); err != nil {
		return 0, fmt.Errorf("the image %s is empty or cut off: %w", path, err)
	}
	switch {
	case bytes.HasPrefix(head, []byte("MZ")):
		return osFile, nil
	case bytes.Equal(head, []byte("QFI\xfb")):
		return 0, fmt.Errorf("the image %s is qcow2; convert it with: qemu-img convert -O raw", path)
	}
	return diskImage, nil
}

// prepareDisk makes the node's disk from the image unless it has one, and says
// whether the machine starts an OS file beside the disk.
func prepareDisk(s NodeSpec) (esp bool, err error) {
	disk := filepath.Join(s.Dir, diskFile)
	a, err := archOf(s.Arch)
	if err != nil {
		return false, err
	}
	boot := filepath.Join(s.Dir, espDir, "EFI", "BOOT", a.program)
	if _, err := os.Stat(disk); err == nil {
		_, err := os.Stat(boot)
		return err == nil, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look for the disk: %w", err)
	}
	if s.Image == "" {
		return false, fmt.Errorf("node %s has no disk yet and no image to make it from", s.Name)
	}
	kind, err := classify(s.Image)
	if err != nil {
		return false, err
	}
	if kind == osFile {
		if err := os.MkdirAll(filepath.Dir(boot), 0o700); err != nil {
			return false, err
		}
		if err := copySparse(boot, s.Image, 0); err != nil {
			return false, err
		}
		return true, emptyFile(disk, s.DiskBytes)
	}
	return false, copySparse(disk, s.Image, s.DiskBytes)
}

func emptyFile(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make the disk: %w", err)
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// copySparse copies from to to, holes as holes, and grows the copy to size
// bytes unless size is 0. An interrupted copy leaves no file at to.
func copySparse(to, from string, size int64) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("open the image: %w", err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return fmt.Errorf("open the image: %w", err)
	}
	if size == 0 {
		size = info.Size()
	}
	if info.Size() > size {
		return fmt.Errorf("the image %s needs %d MiB, the disk has %d MiB: make the disk larger",
			from, (info.Size()+1<<20-1)>>20, size>>20)
	}
	out, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+".*")
	if err != nil {
		return fmt.Errorf("make the disk: %w", err)
	}
	err = errors.Join(copyData(out, in, info.Size()), out.Truncate(size))
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(out.Name(), to)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("copy %s to %s: %w", from, to, err), os.Remove(out.Name()))
	}
	return nil
}

// copyData copies the parts of in that are not holes.
func copyData(out, in *os.File, size int64) error {
	if err := cloneFile(out, in); err == nil {
		return nil // the file system shares the blocks
	}
	for at := int64(0); at < size; {
		start, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only holes from here on
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(int(in.Fd()), start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if _, err := in.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := out.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(out, in, end-start); err != nil {
			return err
		}
		at = end
	}
	return nil
}
