package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	rootImage = "/root.img"
	newRoot   = "/newroot"
)

// rootFormats tell a root image's file system from its magic number.
func rootFormats() []struct {
	fstype string
	offset int64
	magic  []byte
} {
	return []struct {
		fstype string
		offset int64
		magic  []byte
	}{
		{"squashfs", 0, []byte("hsqs")},
		{"erofs", 1024, []byte{0xe2, 0xe1, 0xf5, 0xe0}},
	}
}

// switchRoot mounts the root image and makes it the root of this process and
// all that follow. The image stays in the memory that the initramfs took; all
// else there is given back.
func (m *machine) switchRoot(context.Context) error {
	fstype, err := rootFormat(rootImage)
	if err != nil {
		return err
	}
	loop, err := attachLoop(rootImage)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(newRoot, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", newRoot, err)
	}
	if err := unix.Mount(loop, newRoot, fstype, nosuid|nodev|readonly, ""); err != nil {
		return fmt.Errorf("mount the root image (%s) from %s: %w", fstype, loop, err)
	}
	for _, p := range earlyMounts() {
		if err := unix.Mount(p.target, newRoot+p.target, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s to the root (does the root have this directory?): %w", p.target, err)
		}
	}
	kept, err := keepFirmware()
	if err != nil { // a boot without Wi-Fi goes before none
		m.log.Warn("cannot keep the firmware", "error", err)
	}
	if err := emptyInitramfs("/", kept...); err != nil {
		m.log.Warn("cannot free the initramfs", "error", err)
	}
	if err := enterRoot(); err != nil {
		return err
	}
	if err := mountAll(rootMounts()); err != nil {
		return err
	}
	m.prefetch(k3sPath)
	return m.setupCgroups()
}

// prefetch reads a file of the root in the background, so that it is unpacked
// into the page cache on a processor that has nothing else to do during the
// boot.
func (m *machine) prefetch(path string) {
	m.spawn(func() {
		// The thread alone is nice, and ends with this function.
		runtime.LockOSThread()
		if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 15); err != nil {
			m.log.Info("reading ahead at full priority", "error", err)
		}
		f, err := os.Open(path)
		if err != nil {
			return // whoever needs it says so
		}
		defer f.Close()
		begin := time.Now()
		buf := make([]byte, 256<<10)
		for err == nil {
			_, err = f.Read(buf)
		}
		m.log.Info("read ahead", "file", path, "seconds", time.Since(begin).Seconds())
	})
}

// enterRoot makes newRoot the root. All threads share it.
func enterRoot() error {
	if err := unix.Chdir(newRoot); err != nil {
		return fmt.Errorf("enter the root: %w", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root to /: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter the root: %w", err)
	}
	// Kubernetes' mounts must spread between the node and its containers.
	if err := unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make the mounts shared: %w", err)
	}
	return nil
}

// rootFormat returns the type of the file system in the image at path.
func rootFormat(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open the root image: %w", err)
	}
	defer f.Close()
	for _, format := range rootFormats() {
		got := make([]byte, len(format.magic))
		if _, err := f.ReadAt(got, format.offset); err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the root image: %w", err)
		}
		if bytes.Equal(got, format.magic) {
			return format.fstype, nil
		}
	}
	return "", fmt.Errorf("%s is neither squashfs nor erofs", path)
}

// attachLoop attaches the file at path, read-only, to a free loop device and
// returns the device's path.
//
// Direct I/O is not asked for: the initramfs is memory already and has none;
// the kernel reads from its pages without keeping a copy.
func attachLoop(path string) (string, error) { return attachLoopRange(path, 0, 0) }

// attachLoopRange is attachLoop for size bytes from offset on; 0 means all.
func attachLoopRange(path string, offset, size int64) (string, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("find a loop device (does the kernel have any?): %w", err)
	}
	defer control.Close()
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return "", fmt.Errorf("find a free loop device: %w", err)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	device := fmt.Sprintf("/dev/loop%d", n)
	loop, err := os.Open(device)
	if err != nil {
		return "", err
	}
	defer loop.Close()
	cfg := unix.LoopConfig{Fd: uint32(file.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_READ_ONLY, Offset: uint64(offset), Sizelimit: uint64(size)}}
	copy(cfg.Info.File_name[:], path)
	if err := unix.IoctlLoopConfigure(int(loop.Fd()), &cfg); err != nil {
		return "", fmt.Errorf("attach %s to %s: %w", path, device, err)
	}
	return device, nil
}

// emptyInitramfs deletes everything on the file system of dir but kept. The root image's
// memory stays as long as the loop device holds it, this program's as long as
// it runs.
func emptyInitramfs(dir string, kept ...string) error {
	var top unix.Stat_t
	if err := unix.Lstat(dir, &top); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Dev != top.Dev {
			continue // a mount: the new root
		}
		if slices.Contains(kept, path) {
			continue
		}
		if e.IsDir() {
			errs = append(errs, emptyInitramfs(path))
		}
		if err := os.Remove(path); err != nil && path != newRoot {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
