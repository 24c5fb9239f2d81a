package flash

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"
)

// Drives lists the external disks of this computer.
func Drives(ctx context.Context) ([]Drive, error) {
	out, err := exec.CommandContext(ctx, "/usr/sbin/diskutil", "list", "-plist", "external", "physical").Output()
	if err != nil {
		return nil, fmt.Errorf("list the disks with diskutil: %w", err)
	}
	list, err := parseDiskutilList(out)
	if err != nil {
		return nil, err
	}
	for i := range list {
		out, err := exec.CommandContext(ctx, "/usr/sbin/diskutil", "info", "-plist", list[i].Name).Output()
		if err != nil {
			return nil, fmt.Errorf("ask diskutil about %s: %w", list[i].Name, err)
		}
		if err := list[i].addDiskutilInfo(out); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// OpenDrive opens a disk to write to. Without the right to, authopen asks the user for
// a password.
func OpenDrive(ctx context.Context, d Drive) (*Target, error) {
	f, err := os.OpenFile(d.Path, os.O_RDWR|unix.O_EXLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrPermission) {
		f, err = authopen(ctx, d.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the disk: %w", err)
	}
	t := &Target{file: f, Disk: Disk{Name: d.Path, Size: d.Size}}
	t.Device, t.direct = t, setDirect(f, true)
	t.finish = func() (string, error) {
		// It must be closed before, and is closed twice.
		if err := errors.Join(f.Close(), exec.Command("/usr/sbin/diskutil", "eject", d.Name).Run()); err != nil { //nolint:noctx // all is written: it is not to be interrupted
			return d.Path + " can be taken out.", nil
		}
		return d.Path + " is ejected: take it out.", nil
	}
	return t, nil
}

// authopen lets macOS' program of that name, which may open disks, ask the user and
// hand the open disk over (authopen(1)).
func authopen(ctx context.Context, path string) (*os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "authopen"), os.NewFile(uintptr(fds[1]), "authopen")
	defer ours.Close()
	cmd := exec.CommandContext(ctx, "/usr/libexec/authopen", "-stdoutpipe", "-o", strconv.Itoa(os.O_RDWR|unix.O_EXLOCK), path)
	cmd.Stdout, cmd.Stderr = theirs, os.Stderr
	if err := errors.Join(cmd.Run(), theirs.Close()); err != nil {
		return nil, fmt.Errorf("authopen: %w", err)
	}
	data, control := make([]byte, 16), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(ours.Fd()), data, control, 0)
	if err != nil {
		return nil, fmt.Errorf("authopen: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.New("authopen gave no open disk")
	}
	rights, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(rights) != 1 {
		return nil, errors.New("authopen gave no open disk")
	}
	return os.NewFile(uintptr(rights[0]), path), nil
}
