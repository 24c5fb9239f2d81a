package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// firmwareDir is where the kernel looks for firmware, in the initramfs and in the
	// root after it.
	firmwareDir = "/lib/firmware"
	// firmwareList names the files in it that are of no use once the boot is over and
	// no driver has read them (initramfs.FixedList).
	firmwareList = "FIXED"
	// firmwarePatience is how long after the boot drivers may still ask for such a file.
	firmwarePatience = time.Minute
)

// keepFirmware makes the initramfs' firmware that of the new root: adapters that are
// plugged in later want it, and cards that begin anew. It returns what is to be kept of
// the initramfs for that.
func keepFirmware() ([]string, error) {
	if _, err := os.Stat(firmwareDir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err := unix.Mount(firmwareDir, newRoot+firmwareDir, "", unix.MS_BIND, ""); err != nil {
		return nil, fmt.Errorf("take the firmware along: %w", err)
	}
	return []string{filepath.Dir(firmwareDir)}, nil
}

// freeFirmware gives back the memory of firmware for cards that are not there.
func (m *machine) freeFirmware(ctx context.Context) {
	if _, err := os.Stat(filepath.Join(firmwareDir, firmwareList)); err != nil || !sleep(ctx, firmwarePatience) {
		return
	}
	freed, err := dropUnread(firmwareDir, firmwareList)
	m.log.Info("firmware of cards that are not there given up", "bytes", freed, "error", err)
}

// dropUnread deletes the files below dir that the file list there names and that
// nobody has read, and the list. It returns how many bytes they had.
func dropUnread(dir, list string) (freed int64, err error) {
	f, err := os.Open(filepath.Join(dir, list))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var errs []error
	s := bufio.NewScanner(f)
	for s.Scan() {
		if !filepath.IsLocal(s.Text()) {
			errs = append(errs, fmt.Errorf("%s names %q", list, s.Text()))
			continue
		}
		path := filepath.Join(dir, s.Text())
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || wasRead(st) {
			continue
		}
		if err := os.Remove(path); err != nil {
			errs = append(errs, err)
			continue
		}
		freed += st.Size
	}
	return freed, errors.Join(append(errs, s.Err(), os.Remove(filepath.Join(dir, list)))...)
}

// wasRead reports whether a file was read after it was written. The file system of
// the initramfs notes every reading.
func wasRead(st unix.Stat_t) bool { return st.Atim.Nano() > st.Mtim.Nano() }
