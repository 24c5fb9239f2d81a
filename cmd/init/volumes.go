package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/disk"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/gpt"
)

// volume is a writable partition.
type volume struct {
	label  string
	typ    gpt.GUID
	target string
	flags  uintptr
	// memory is the size of the tmpfs that stands in for the partition.
	memory string
	// templates are the images that it may begin as, best first.
	templates []string
}

func stateVolume() volume {
	return volume{"STATE", gpt.State, "/state", nosuid | nodev | noexec | noatime, "size=16m", []string{"/share/ext4-state.img.zst", "/share/ext4.img.zst"}}
}

func dataVolume() volume {
	return volume{"DATA", gpt.Data, "/var", nosuid | nodev | noatime, "size=60%", []string{"/share/ext4-data.img.zst", "/share/ext4.img.zst"}}
}

// mountedVolume is what became of a volume.
type mountedVolume struct {
	api.Volume
	target string
}

// stateDirs and dataDirs are made on each boot.
func stateDirs() []string { return []string{"/state/rancher"} }

func dataDirs() []string {
	return []string{"/var/lib", "/var/lib/mycelium", "/var/lib/rancher/k3s/agent/images", "/var/lib/kubelet", "/var/lib/cni", "/var/log", "/var/tmp", "/var/cache"}
}

func (m *machine) mountState(ctx context.Context) error {
	err := m.mountVolume(ctx, stateVolume())
	if err == nil {
		err = m.finishReset(ctx)
	}
	if err := makeDirs(stateDirs()); err != nil {
		return err
	}
	if seedErr := useSeed(seedPath); seedErr != nil {
		m.log.Warn("no seed kept", "error", seedErr)
	}
	return err
}

func (m *machine) mountData(ctx context.Context) error {
	err := m.mountVolume(ctx, dataVolume())
	m.reserve = newReserve(m)
	m.reserve.atBoot()
	if err := makeDirs(dataDirs()); err != nil {
		return err
	}
	if err := os.Chmod("/var/tmp", 0o777|fs.ModeSticky); err != nil {
		return err
	}
	if err := os.Symlink("/run", "/var/run"); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("link /var/run: %w", err)
	}
	if logErr := m.logs.Persist("/var/log"); logErr != nil {
		m.log.Warn("logs stay in memory", "error", logErr)
	}
	return err
}

func makeDirs(dirs []string) error {
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make the directory: %w", err)
		}
	}
	return nil
}

// mountVolume mounts v, or memory in its place, and notes what became of it.
// A volume that is there and cannot be used keeps Kubernetes off: running
// without it would look like a new, empty node to its owner and its cluster.
func (m *machine) mountVolume(ctx context.Context, v volume) error {
	result := mountedVolume{Volume: api.Volume{Label: v.label, State: "missing"}, target: v.target}
	err := m.openVolume(ctx, v, &result.Volume)
	if result.State == "missing" || result.State == "corrupt" {
		if memErr := unix.Mount("tmpfs", v.target, "tmpfs", v.flags&^noatime, "mode=0755,"+v.memory); memErr != nil {
			err = errors.Join(err, fmt.Errorf("mount memory on %s: %w", v.target, memErr))
		}
	}
	if err != nil {
		m.block(v.label + " cannot be used")
	}
	m.volumes = append(m.volumes, result)
	m.board.Update(func(s *api.Status) { s.Volumes = append(s.Volumes[:len(s.Volumes):len(s.Volumes)], result.Volume) })
	return err
}

// openVolume mounts v's partition and sets out's Device and State. Without a
// disk, or without that partition on it, State stays "missing".
func (m *machine) openVolume(ctx context.Context, v volume, out *api.Volume) error {
	if m.disk.table == nil {
		return nil // prepareDisk has said why
	}
	p, ok := m.disk.table.Find(v.typ, v.label)
	if !ok {
		return fmt.Errorf("the disk %s has no partition %s", m.disk.Name, v.label)
	}
	out.Device = m.disk.partition(p)
	state, err := m.readyVolume(ctx, v, out.Device)
	if err != nil {
		out.State = "corrupt"
		return fmt.Errorf("%s on %s is damaged and not used: %w; save what is on it with another machine, or erase the partition to begin anew", v.label, out.Device, err)
	}
	mount := func() error { return unix.Mount(out.Device, v.target, "ext4", v.flags, "errors=remount-ro") }
	err = mount()
	if err != nil && m.e2fsck(ctx, out.Device, "-f") == nil {
		err = mount() // it was not as clean as it looked
	}
	if err != nil {
		out.State = "corrupt"
		return fmt.Errorf("%s on %s is damaged and not used: it cannot be mounted: %w", v.label, out.Device, err)
	}
	out.State = state
	if state == "repaired" {
		m.board.SetProblem("repaired/"+v.label, v.label+" was damaged and has been repaired from a copy of its superblock: look after its disk")
	}
	if err := m.fitFileSystem(v, out.Device, state == "created"); err != nil {
		// The file system works in the size that it has.
		m.log.Warn("file system not fitted to its partition", "volume", v.label, "error", err)
	}
	return nil
}

// readyVolume makes or checks the file system on device and returns the state
// that it can be mounted in.
func (m *machine) readyVolume(ctx context.Context, v volume, device string) (state string, err error) {
	f, err := openBlockDevice(device)
	if err != nil {
		return "", err
	}
	in, err := disk.Inspect(f, f.size)
	if err != nil {
		return "", errors.Join(err, f.Close())
	}
	m.log.Info("volume inspected", "volume", v.label, "device", device, "finding", in.Finding, "backups", len(in.Backups))
	if in.Finding == disk.HalfWiped {
		if err := m.wipe(f, v.typ); err != nil {
			return "", errors.Join(err, f.Close())
		}
		in.Finding = disk.Unfinished
	}
	if in.Finding == disk.Blank || in.Finding == disk.Unfinished {
		err := formatVolume(f, v)
		return "created", errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	return m.checkVolume(ctx, device, in)
}

// checkVolume decides by the finding which checks to run, and runs them.
func (m *machine) checkVolume(ctx context.Context, device string, in disk.Inspection) (string, error) {
	var problem error
	switch in.Finding {
	case disk.Clean:
		return "mounted", nil
	case disk.Foreign:
		return "", errors.New("it holds something that is no ext4 file system, and no copy of a superblock was found")
	case disk.Unclean:
		if problem = m.e2fsck(ctx, device); problem == nil {
			return "mounted", nil
		}
	case disk.Damaged:
		problem = errors.New("its superblock is lost")
	}
	for _, b := range in.Backups[:min(len(in.Backups), maxBackups)] {
		err := m.restore(ctx, device, b)
		if err == nil {
			m.log.Warn("file system repaired from a copy of its superblock", "device", device, "block", b.Block)
			return "repaired", nil
		}
		problem = fmt.Errorf("it could not be repaired, with its own superblock nor with copies of it: %w", err)
	}
	return "", problem
}

// maxBackups is how many copies of the superblock are tried: more help only
// when the disk is lost anyway.
const maxBackups = 3

// restore checks the whole file system from a copy of its superblock.
func (m *machine) restore(ctx context.Context, device string, b disk.Backup) error {
	args := []string{"-f", "-b", strconv.FormatInt(b.Block, 10), "-B", strconv.FormatInt(b.BlockSize, 10)}
	err := m.e2fsck(ctx, device, args...)
	if err == nil {
		return nil
	}
	dev, openErr := openBlockDevice(device)
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	changed, clearErr := disk.ClearRecover(dev, b)
	if clearErr = errors.Join(clearErr, dev.Close()); clearErr != nil || !changed {
		return errors.Join(err, clearErr)
	}
	return m.e2fsck(ctx, device, args...)
}

// e2fsckRepaired is set in e2fsck's exit status when it corrected errors, and
// e2fsckReboot when a mounted root file system was changed.
const (
	e2fsckRepaired = 1
	e2fsckReboot   = 2
)

// e2fsck makes every repair that is safe without asking; an error means that
// some damage is not of that kind.
func (m *machine) e2fsck(ctx context.Context, device string, args ...string) error {
	cmd := exec.CommandContext(ctx, "/sbin/e2fsck", append([]string{"-p"}, append(args, device)...)...)
	begin := time.Now()
	out, err := m.procs.output(cmd)
	m.log.Info("e2fsck", "args", cmd.Args[1:], "seconds", time.Since(begin).Seconds(), "error", err, "output", string(out))
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 && exit.ExitCode()&^(e2fsckRepaired|e2fsckReboot) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("e2fsck: %w: %s", err, lastLine(string(out)))
	}
	return nil
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// formatVolume makes the file system that v begins as.
func formatVolume(f *blockDevice, v volume) error {
	for _, path := range v.templates {
		template, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open the file system's template: %w", err)
		}
		err = formatFrom(f, template)
		return errors.Join(err, template.Close())
	}
	return fmt.Errorf("the root has no template of a file system (%s)", strings.Join(v.templates, " or "))
}

func formatFrom(f *blockDevice, template io.Reader) error {
	// Without the checksum: hashing a quarter of a gigabyte of zeros would take
	// an emulated machine seconds, and the OS file as a whole is verified.
	z, err := zstd.NewReader(template, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.IgnoreChecksum(true))
	if err != nil {
		return fmt.Errorf("read the file system's template: %w", err)
	}
	defer z.Close()
	return disk.Format(f, z)
}

// freeBytes returns the size of the file system at path and what is free.
func freeBytes(path string) (size, free uint64) {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Clean(path), &st); err != nil {
		return 0, 0
	}
	return st.Blocks * uint64(st.Bsize), st.Bavail * uint64(st.Bsize)
}

// isReadOnly reports whether the file system at path refuses to be written.
func isReadOnly(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Flags&unix.ST_RDONLY != 0
}

// isTmpfs reports whether the file system at path is memory.
func isTmpfs(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.TMPFS_MAGIC
}
