// Package durable writes small files such that a power cut leaves the old
// content or the new, never a part of either.
//
// A file is written beside its place, synced and renamed. The name of that
// temporary file follows from the file's, so that a crash leaves at most one,
// which the next write of the same file clears away. Writers in one directory
// wait for each other, also across processes.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// WriteFile makes data the content of the file path, which need not exist, with
// exactly the mode perm.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, os.Rename)
}

// CreateFile is WriteFile for a file that must not exist (fs.ErrExist).
func CreateFile(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, renameNew)
}

// renameNew renames a file unless there is one of the new name.
func renameNew(from, to string) error {
	err := renameNoReplace(from, to)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		if err != nil {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
		return nil
	}
	// The file system does not know how (NFS), but has links.
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}

// Temporary returns the name under which a file is written before it gets its own.
func Temporary(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
}

func write(path string, data []byte, perm fs.FileMode, place func(from, to string) error) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer dir.Close() // and unlock
	if err := lock(dir); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	temp := Temporary(path)
	err = writeNew(temp, data, perm)
	if err == nil {
		err = place(temp, path)
	}
	if err != nil {
		if left := os.Remove(temp); !errors.Is(left, fs.ErrNotExist) {
			err = errors.Join(err, left)
		}
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync the directory of %s: %w", path, err)
	}
	return nil
}

// lock waits until no other writer has the directory.
func lock(dir *os.File) error {
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("flock", err)
		}
	}
}

// writeNew writes a file of its own, whatever a crash has left of that name.
func writeNew(path string, data []byte, perm fs.FileMode) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = exactMode(f, perm)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// exactMode undoes the umask. A file system without modes (FAT) is not asked
// for what it shows already.
func exactMode(f *os.File, perm fs.FileMode) error {
	fi, err := f.Stat()
	if err != nil || fi.Mode().Perm() == perm {
		return err
	}
	return f.Chmod(perm)
}

// SyncDir makes what was created, renamed or removed in the directory path durable.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// MkdirAll makes the directory path and those above it that are missing, with
// the mode perm before the umask. A directory that is there keeps its mode.
func MkdirAll(path string, perm fs.FileMode) error {
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		return nil
	}
	above := filepath.Dir(path)
	if above != path {
		if err := MkdirAll(above, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if fi, err := os.Stat(path); err != nil || !fi.IsDir() { // another program may have made it
		return &os.PathError{Op: "mkdir", Path: path, Err: unix.ENOTDIR}
	}
	return SyncDir(above)
}
