package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/digital-mycelium/os/pkg/gpt"
)

// Disk is the disk of a machine that is off, opened for surgery.
type Disk struct {
	file  *os.File
	table *gpt.Table
}

// Disk opens the machine's disk. The machine must be off; the caller must
// Close the disk before the machine starts.
func (m *Machine) Disk() (*Disk, error) {
	if running, err := m.Running(); err != nil || running {
		return nil, fmt.Errorf("disk of %s: the machine must be off (%w)", m.Name(), err)
	}
	return OpenDisk(m.DiskPath())
}

// OpenDisk opens a raw disk image.
func OpenDisk(path string) (*Disk, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open disk: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("size of disk: %w", err), f.Close())
	}
	table, err := gpt.Read(f, size)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("disk %s: %w", path, err), f.Close())
	}
	return &Disk{file: f, table: table}, nil
}

// Close writes the changes out.
func (d *Disk) Close() error { return errors.Join(d.file.Sync(), d.file.Close()) }

// Partition finds the partition with a label.
func (d *Disk) Partition(label string) (*Partition, error) {
	for _, p := range d.table.Partitions {
		if p.Name == label {
			return &Partition{
				disk: d.file, Offset: d.table.Offset(p), Size: d.table.Bytes(p), Label: label,
			}, nil
		}
	}
	return nil, fmt.Errorf("the disk has no partition %s", label)
}

// Partition is a partition of a [Disk]. Offsets are bytes from its start.
type Partition struct {
	disk *os.File
	// Offset and Size are in bytes of the disk.
	Offset, Size int64
	Label        string
}

// ReadAt implements [io.ReaderAt].
func (p *Partition) ReadAt(b []byte, off int64) (int, error) {
	return io.NewSectionReader(p.disk, p.Offset, p.Size).ReadAt(b, off)
}

// WriteAt implements [io.WriterAt]; it never writes beyond the partition.
func (p *Partition) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) > p.Size {
		return 0, fmt.Errorf("write at %d, %d bytes: beyond partition %s of %d bytes", off, len(b), p.Label, p.Size)
	}
	return p.disk.WriteAt(b, p.Offset+off)
}

// Sum is the SHA-256 of the partition's bytes.
func (p *Partition) Sum() (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(p.disk, p.Offset, p.Size)); err != nil {
		return "", fmt.Errorf("checksum of %s: %w", p.Label, err)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// Check asks e2fsck whether the file system in the partition is clean; it
// changes nothing. The error holds what e2fsck found.
func (p *Partition) Check(ctx context.Context) error {
	const tool = "e2fsck"
	if _, err := exec.LookPath(tool); err != nil {
		return fmt.Errorf("%w: apt-get install e2fsprogs", err)
	}
	name := fmt.Sprintf("%s?offset=%d", p.disk.Name(), p.Offset)
	out, err := exec.CommandContext(ctx, tool, "-f", "-n", name).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s of %s: %w\n%s", tool, p.Label, err, out)
	}
	return nil
}

// Dirty reports whether the file system in the partition was not unmounted:
// its journal has to be replayed.
func (p *Partition) Dirty() (bool, error) {
	b := make([]byte, superblockSize)
	if _, err := p.ReadAt(b, superblockOffset); err != nil {
		return false, err
	}
	if _, err := parseSuperblock(b); err != nil {
		return false, fmt.Errorf("partition %s: %w", p.Label, err)
	}
	const incompatRecover, stateValid = 0x4, 0x1
	return b[0x60]&incompatRecover != 0 || b[0x3a]&stateValid == 0, nil
}

// Remove deletes a file of the ext4 file system in the partition.
func (p *Partition) Remove(ctx context.Context, path string) error {
	if _, err := p.debugfs(ctx, "-w", "-R", "rm "+path); err != nil {
		return fmt.Errorf("remove %s from %s: %w", path, p.Label, err)
	}
	return nil
}

// ReadFile returns a file of the ext4 file system in the partition.
func (p *Partition) ReadFile(ctx context.Context, path string) ([]byte, error) {
	out, err := p.debugfs(ctx, "-R", "cat "+path)
	if err == nil && len(out) == 0 {
		err = errors.New("it is empty, or not there") // debugfs' status tells neither
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", path, p.Label, err)
	}
	return out, nil
}

// debugfs runs debugfs on the partition and returns what it printed.
func (p *Partition) debugfs(ctx context.Context, args ...string) ([]byte, error) {
	const tool = "debugfs"
	if _, err := exec.LookPath(tool); err != nil {
		return nil, fmt.Errorf("%w: apt-get install e2fsprogs", err)
	}
	args = append(args, fmt.Sprintf("%s?offset=%d", p.disk.Name(), p.Offset))
	cmd := exec.CommandContext(ctx, tool, args...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", tool, err, complaints.Bytes())
	}
	return out, nil
}

// PutFile writes a file of the FAT file system in the partition, as whoever
// holds the disk can on any computer.
func (p *Partition) PutFile(ctx context.Context, name string, content []byte) error {
	if _, err := p.mtool(ctx, bytes.NewReader(content), "mcopy", "-o", "-", "::"+name); err != nil {
		return fmt.Errorf("write %s to %s: %w", name, p.Label, err)
	}
	return nil
}

// RemoveFile deletes a file of the FAT file system in the partition.
func (p *Partition) RemoveFile(ctx context.Context, name string) error {
	if _, err := p.mtool(ctx, nil, "mdel", "::"+name); err != nil {
		return fmt.Errorf("remove %s from %s: %w", name, p.Label, err)
	}
	return nil
}

// GetFile reads a file of the FAT file system in the partition.
func (p *Partition) GetFile(ctx context.Context, name string) ([]byte, error) {
	out, err := p.mtool(ctx, nil, "mcopy", "::"+name, "-")
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", name, p.Label, err)
	}
	return out, nil
}

// mtool runs one of mtools on the partition and returns what it printed.
func (p *Partition) mtool(ctx context.Context, stdin io.Reader, tool string, args ...string) ([]byte, error) {
	if _, err := exec.LookPath(tool); err != nil {
		return nil, fmt.Errorf("%w: apt-get install mtools", err)
	}
	args = append([]string{"-i", fmt.Sprintf("%s@@%d", p.disk.Name(), p.Offset)}, args...)
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Stdin = stdin
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", tool, err, out)
	}
	return out, nil
}
