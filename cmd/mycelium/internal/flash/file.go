package flash

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Target is an open file or device to write to.
type Target struct {
	Disk
	file *os.File
	// direct says that the page cache is left out.
	direct bool
	// path is what a new file is to be called; it has another name until Commit.
	path string
	// finish is what a device needs in the end; it returns what is to be said of it.
	finish func() (string, error)
}

// ReadAt implements io.ReaderAt.
func (t *Target) ReadAt(b []byte, off int64) (int, error) {
	t.allow(b, off)
	return t.file.ReadAt(b, off)
}

// WriteAt implements io.WriterAt.
func (t *Target) WriteAt(b []byte, off int64) (int, error) {
	t.allow(b, off)
	return t.file.WriteAt(b, off)
}

// allow gives direct I/O up for good when b at off is not aligned for it: an image
// whose size is odd, or a map with small blocks.
func (t *Target) allow(b []byte, off int64) {
	if t.direct && (off%pageSize != 0 || len(b)%pageSize != 0) {
		t.direct = false
		setDirect(t.file, false)
	}
}

// OpenFile opens a regular file to write to: a new one of size bytes, which appears
// under its name by Finish, or one that exists, which is written like a disk.
func OpenFile(path string, size int64) (*Target, error) {
	st, err := os.Stat(path)
	switch {
	case err == nil && !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s is neither a file nor a disk", path)
	case err == nil:
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, fmt.Errorf("open the file: %w", err)
		}
		t := &Target{file: f, Disk: Disk{Name: path, Size: st.Size()}}
		t.Device, t.direct = t, setDirect(f, true)
		return t, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("open the file: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".flash*")
	if err != nil {
		return nil, fmt.Errorf("create the file: %w", err)
	}
	t := &Target{file: f, path: path, Disk: Disk{Name: path, Size: size, Blank: true}}
	t.Device = t
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(fmt.Errorf("create the file: %w", err), t.Abort())
	}
	t.direct = setDirect(f, true)
	return t, nil
}

// Finish makes what was written final and closes it. It returns what is to be said of it.
func (t *Target) Finish() (string, error) {
	if t.finish != nil {
		said, err := t.finish()
		if closeErr := t.file.Close(); !errors.Is(closeErr, os.ErrClosed) {
			err = errors.Join(err, closeErr)
		}
		return said, err
	}
	if t.path == "" {
		return "", t.file.Close()
	}
	if err := t.file.Close(); err != nil {
		return "", errors.Join(err, os.Remove(t.file.Name()))
	}
	if err := os.Rename(t.file.Name(), t.path); err != nil {
		return "", errors.Join(err, os.Remove(t.file.Name()))
	}
	return "", nil
}

// Abort closes it; a new file is removed.
func (t *Target) Abort() error {
	err := t.file.Close()
	if t.path != "" {
		err = errors.Join(err, os.Remove(t.file.Name()))
	}
	return err
}

// Sync implements Device.
func (t *Target) Sync() error {
	if err := t.file.Sync(); err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.ENOTTY) {
		return err
	}
	if !t.direct {
		dropCache(t.file)
	}
	return nil
}
