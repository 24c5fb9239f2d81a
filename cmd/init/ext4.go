package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctls of ext4 (fs/ext4/ext4.h).
const (
	ext4ResizeFS  = 0x40086610 // _IOW('f', 16, __u64)
	ext4SetFSUUID = 0x4008662c // _IOW('f', 44, struct fsuuid)
)

// minResize is what a partition must be larger than its file system by for
// that to be grown, in bytes: less than a block group cannot always be used.
const minResize = 16 << 20

// fitFileSystem grows the mounted file system to its partition, and gives a new
// one an identity of its own. The kernel does both while it is mounted.
func (m *machine) fitFileSystem(v volume, device string, created bool) error {
	dir, err := os.Open(v.target)
	if err != nil {
		return err
	}
	defer dir.Close()
	if created {
		if err := setUUID(dir); err != nil {
			m.log.Info("file system keeps its template's UUID", "volume", v.label, "error", err)
		}
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return fmt.Errorf("measure the file system: %w", err)
	}
	dev, err := os.Open(device)
	if err != nil {
		return err
	}
	size, err := dev.Seek(0, 2)
	if err := errors.Join(err, dev.Close()); err != nil {
		return fmt.Errorf("measure the partition: %w", err)
	}
	// statfs leaves out what the file system itself takes, a few percent.
	if have := int64(st.Blocks) * st.Bsize; size-have < minResize+have/16 {
		return nil
	}
	// A large disk takes minutes: the first part is enough to begin with.
	if size <= growAtOnce {
		return m.grow(v, size, st.Bsize)
	}
	if have := int64(st.Blocks) * st.Bsize; have < growAtOnce/2 {
		if err := m.grow(v, growAtOnce, st.Bsize); err != nil {
			return err
		}
	}
	m.spawn(func() {
		if err := m.grow(v, size, st.Bsize); err != nil {
			m.log.Warn("file system not grown to its partition", "volume", v.label, "error", err)
		}
	})
	return nil
}

// growAtOnce is how large a file system becomes before the boot goes on, in
// bytes. The rest follows while it is in use.
const growAtOnce = 16 << 30

// grow makes the mounted file system size bytes large.
func (m *machine) grow(v volume, size, blockSize int64) error {
	dir, err := os.Open(v.target)
	if err != nil {
		return err
	}
	defer dir.Close()
	begin := time.Now()
	blocks := uint64(size / blockSize)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), ext4ResizeFS, uintptr(unsafe.Pointer(&blocks))); errno != 0 {
		return fmt.Errorf("grow the file system to %d blocks: %w", blocks, errno)
	}
	m.log.Info("file system grown", "volume", v.label, "bytes", size, "seconds", time.Since(begin).Seconds())
	return nil
}

// setUUID gives the file system that dir is on a random UUID (version 4).
func setUUID(dir *os.File) error {
	arg := struct {
		length, flags uint32
		uuid          [16]byte
	}{length: 16}
	if _, err := rand.Read(arg.uuid[:]); err != nil {
		return err
	}
	arg.uuid[6] = arg.uuid[6]&0x0f | 0x40
	arg.uuid[8] = arg.uuid[8]&0x3f | 0x80
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), ext4SetFSUUID, uintptr(unsafe.Pointer(&arg))); errno != 0 {
		return errno
	}
	return nil
}
