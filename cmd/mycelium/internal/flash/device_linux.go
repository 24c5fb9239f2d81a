package flash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// cdromEject is CDROMEJECT of <linux/cdrom.h>, which SCSI and USB disks know as well.
const cdromEject = 0x5309

// OpenDrive opens a disk to write to. Nothing else may use it meanwhile. Without the
// right to open it, udisks is asked, as desktops do, which asks the user.
func OpenDrive(ctx context.Context, d Drive) (*Target, error) {
	f, err := os.OpenFile(d.Path, os.O_RDWR|unix.O_EXCL|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrPermission) {
		var udisksErr error
		if f, udisksErr = openByUDisks(ctx, systemBus, d.Name); udisksErr != nil {
			return nil, fmt.Errorf("%w, and udisks does not give it: %w", err, udisksErr)
		}
		err = nil
	}
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("open the disk: something uses %s: unmount its file systems first", d.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the disk: %w", err)
	}
	return newDevice(f, d)
}

// newDevice takes an open disk, which it closes when it is none.
func newDevice(f *os.File, d Drive) (*Target, error) {
	st, err := f.Stat()
	if err == nil && st.Mode().Type() != fs.ModeDevice {
		err = fmt.Errorf("%s is no disk", d.Path)
	}
	size := int64(0)
	if err == nil {
		size, err = f.Seek(0, io.SeekEnd)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the disk: %w", err), f.Close())
	}
	t := &Target{file: f, Disk: Disk{Name: d.Path, Size: size}}
	t.Device, t.direct = t, setDirect(f, true)
	t.finish = func() (string, error) { return finish(f, d) }
	return t, nil
}

// finish lets the kernel read the new partition table and takes the disk out of use.
// Nothing depends on either: everything is on the disk.
func finish(f *os.File, d Drive) (string, error) {
	if d.Bus == "usb" && d.Removable && unix.IoctlSetInt(int(f.Fd()), cdromEject, 0) == nil {
		return d.Path + " is ejected: take it out.", nil
	}
	if err := unix.IoctlSetInt(int(f.Fd()), unix.BLKRRPART, 0); err != nil {
		return d.Path + " can be taken out. (This computer may still see its old partitions until then.)", nil
	}
	if d.External() {
		return d.Path + " can be taken out.", nil
	}
	return "", nil
}
