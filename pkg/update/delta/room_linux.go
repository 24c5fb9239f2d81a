package delta

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// allocate makes f size bytes long, and has the file system set the room aside
// where it can.
func allocate(f *os.File, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return nil // the writes will tell
		}
		return os.NewSyscallError("fallocate", err)
	}
}

// free is how many bytes the file system of f has room for, as far as it says.
func free(f *os.File) int64 {
	var fs unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &fs) != nil {
		return 0
	}
	return int64(fs.Bavail) * fs.Bsize
}
