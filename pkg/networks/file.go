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
