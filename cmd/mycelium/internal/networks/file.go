package networks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// WriteFile replaces path (mode 0600) in one step and makes it durable.
func WriteFile(path string, data []byte) error { return writeFile(path, data, os.Rename) }

// WriteNewFile is WriteFile for a file that must not exist (fs.ErrExist).
func WriteNewFile(path string, data []byte) error {
	return writeFile(path, data, func(from, to string) error {
		if err := os.Link(from, to); err != nil {
			return err
		}
		return os.Remove(from)
	})
}

func writeFile(path string, data []byte, place func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".write-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = place(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// makeDir makes the directory path and those above it, durably.
func makeDir(path string) error {
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		return nil
	}
	above := filepath.Dir(path)
	if above != path {
		if err := makeDir(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if fi, err := os.Stat(path); err != nil || !fi.IsDir() { // another program may have made it
		return &os.PathError{Op: "mkdir", Path: path, Err: unix.ENOTDIR}
	}
	return syncDir(above)
}

// readSmall reads a file of at most limit bytes that nobody but its owner can read.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: others can read it (mode %04o): set mode 0600", path, fi.Mode().Perm())
	}
	if fi.Size() > limit {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are expected", path, fi.Size(), limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// lock waits until no other program holds the file path, which it makes unless
// the directory is gone (fs.ErrNotExist). Closing the file releases the lock, as
// does the end of the program.
func lock(ctx context.Context, path string) (*os.File, error) {
	for {
		f, err := tryLock(path)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the other program that uses %s: %w", filepath.Dir(path), ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		// The directory may have been renamed, for its end, while this waited.
		var now fs.FileInfo
		if now, err = os.Stat(path); err == nil {
			var ours fs.FileInfo
			if ours, err = f.Stat(); err == nil && !os.SameFile(now, ours) {
				err = unix.EWOULDBLOCK
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
