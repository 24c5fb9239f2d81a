package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/disk"
	"github.com/digital-mycelium/os/pkg/efivar"
	"github.com/digital-mycelium/os/pkg/gpt"
	"github.com/digital-mycelium/os/pkg/mbr"
	"github.com/digital-mycelium/os/pkg/update/tryboot"
)

// bootDisk is the disk that holds our partitions. Without one its table is nil
// and err says why.
type bootDisk struct {
	disk.Disk
	table *gpt.Table
	err   error
}

// partition returns the path of a partition's device.
func (d *bootDisk) partition(p gpt.Partition) string { return partitionPath(d.Name, p.Number) }

// partitionPath names a partition as the kernel does: vda1, nvme0n1p1.
func partitionPath(disk string, number int) string {
	sep := ""
	if c := disk[len(disk)-1]; c >= '0' && c <= '9' {
		sep = "p"
	}
	return "/dev/" + disk + sep + strconv.Itoa(number)
}

// How long disks may take to appear: longer when the loader says that there is one.
const (
	diskPatience       = 2 * time.Second
	loaderDiskPatience = 15 * time.Second
)

// findBootDisk looks for the boot disk until it appears or patience ends.
func findBootDisk(ctx context.Context, log *slog.Logger, c cmdline) *bootDisk {
	loader := bootPartitions(c)
	patience := diskPatience
	if len(loader) > 0 || startedFromDisk(tryboot.Bootloader) {
		patience = loaderDiskPatience
	}
	for end := time.Now().Add(patience); ; {
		disks := readDisks(log)
		d, err := disk.Choose(disks, loader)
		late := time.Now().After(end)
		if err == nil && len(loader) > 0 && !late && !disk.Names(disks, loader) {
			err = disk.ErrNone // it is another one, which is slow to appear: a USB stick
		}
		if err == nil {
			log.Info("boot disk found", "disk", d.Name, "size", d.Size, "table_damage", d.Table.Damage)
			return &bootDisk{Disk: d, table: d.Table}
		}
		if !errors.Is(err, disk.ErrNone) || late || !sleep(ctx, 50*time.Millisecond) {
			return &bootDisk{err: err}
		}
	}
}

// bootPartitions returns the unique GUIDs of the partitions that the machine was
// started from, as far as firmware, boot loader and command line say.
func bootPartitions(c cmdline) []string {
	loader := loaderPartitions()
	if c.partition != "" {
		loader = append(loader, c.partition)
	}
	return loader
}

// loaderPartitions returns the unique GUIDs of the partitions that the stub and
// the boot loader were read from, as systemd's Boot Loader Interface has them.
func loaderPartitions() []string {
	var ids []string
	for _, name := range []string{"StubDevicePartUUID", "LoaderDevicePartUUID"} {
		b, err := efivar.Read(efivar.Dir, name, efivar.Loader, 1<<10)
		if err != nil {
			continue
		}
		if id := decodeUTF16(b); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// decodeUTF16 decodes a little-endian, zero-terminated EFI string.
func decodeUTF16(b []byte) string {
	var units []uint16
	for i := 0; i+1 < len(b); i += 2 {
		u := uint16(b[i]) | uint16(b[i+1])<<8
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}

// readDisks reads the partition table of every disk that has one.
func readDisks(log *slog.Logger) []disk.Disk {
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		return nil
	}
	var disks []disk.Disk
	for _, e := range entries {
		name := e.Name()
		sectors, _ := strconv.ParseInt(readLine("/sys/block/"+name+"/size"), 10, 64)
		if sectors == 0 || !isDisk(name) {
			continue
		}
		size := sectors * 512 // the unit of sysfs, whatever the disk's own
		t, err := readTable(name, size)
		if err != nil {
			if !errors.Is(err, gpt.ErrNoTable) {
				log.Warn("cannot read a partition table", "disk", name, "error", err)
			}
			continue
		}
		disks = append(disks, disk.Disk{Name: name, Size: size, Table: t})
	}
	return disks
}

func readTable(name string, size int64) (*gpt.Table, error) {
	f, err := os.Open("/dev/" + name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := gpt.Read(f, size)
	if !errors.Is(err, gpt.ErrNoTable) {
		return t, err
	}
	if t, err = mbr.View(f, size); errors.Is(err, mbr.ErrNoTable) {
		return nil, gpt.ErrNoTable
	}
	return t, err
}

// Operations of the BLKPG ioctl (linux/blkpg.h).
const (
	blkpgAdd    = 1
	blkpgResize = 3
)

// tellKernel adds or resizes one partition in the kernel's view of a disk,
// which works while others of the disk are in use.
func tellKernel(f *os.File, op int32, t *gpt.Table, p gpt.Partition) error {
	part := struct {
		start, length  int64
		number         int32
		device, volume [64]byte
		_              [4]byte
	}{start: t.Offset(p), length: t.Bytes(p), number: int32(p.Number)}
	arg := struct {
		op, flags, size int32
		data            unsafe.Pointer
	}{op: op, size: int32(unsafe.Sizeof(part)), data: unsafe.Pointer(&part)}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg))); errno != 0 {
		return fmt.Errorf("tell the kernel about partition %d: %w", p.Number, errno)
	}
	return nil
}

// blockDevice is a partition as disk.Format writes it.
type blockDevice struct {
	*os.File
	size int64
}

// openBlockDevice opens a partition for reading and writing. The caller closes it.
func openBlockDevice(path string) (*blockDevice, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the partition: %w", err)
	}
	size, err := f.Seek(0, 2)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("measure %s: %w", path, err), f.Close())
	}
	return &blockDevice{f, size}, nil
}

func (b *blockDevice) Size() int64 { return b.size }

// Zero asks the disk to zero the range, which costs it nothing when it can
// unmap; what is not whole sectors is written.
func (b *blockDevice) Zero(off, n int64) error {
	const sector = 4096
	first := min((off+sector-1)/sector*sector, off+n)
	last := max(first, (off+n)/sector*sector)
	for _, edge := range [][2]int64{{off, first}, {last, off + n}} {
		if length := edge[1] - edge[0]; length > 0 {
			if _, err := b.WriteAt(make([]byte, length), edge[0]); err != nil {
				return err
			}
		}
	}
	if last == first {
		return nil
	}
	if errno := b.onRange(unix.BLKZEROOUT, first, last-first); errno != 0 {
		return fmt.Errorf("zero %d bytes: %w", last-first, errno)
	}
	return nil
}

// onRange asks the disk to do something to a range of bytes.
func (b *blockDevice) onRange(request uintptr, off, n int64) unix.Errno {
	extent := [2]uint64{uint64(off), uint64(n)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, b.Fd(), request, uintptr(unsafe.Pointer(&extent)))
	return errno
}

// Discard gives the range up: erased for good where the disk can, else unmapped,
// else zeroed by the disk itself. Not by writing: that would take hours.
func (b *blockDevice) Discard(off, n int64) (secure bool, err error) {
	if b.onRange(unix.BLKSECDISCARD, off, n) == 0 {
		return true, nil
	}
	if b.onRange(unix.BLKDISCARD, off, n) == 0 {
		return false, nil
	}
	err = unix.Fallocate(int(b.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		return false, errors.ErrUnsupported
	}
	return false, err
}
