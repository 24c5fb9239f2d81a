package mount

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Exit statuses of mount(8) and umount(8).
const (
	exitOK    = 0
	exitUsage = 1
	exitFail  = 32
)

// Main is mount: it carries out args (without the program's name) and returns
// the exit status, after a message on stderr when that is not 0.
func Main(args []string, stderr io.Writer) int {
	r, err := ParseMount(args)
	if err != nil {
		fmt.Fprintf(stderr, "mount: %v\n", err)
		return exitUsage
	}
	if err := Mount(r); err != nil {
		fmt.Fprintf(stderr, "mount: %v\n", err)
		return exitFail
	}
	return exitOK
}

// Mount carries r out.
func Mount(r Request) error {
	for _, c := range Plan(r) {
		if c.Type == "" && c.Source != "" && c.Flags&(unix.MS_BIND|unix.MS_REMOUNT) == 0 {
			if err := mountAnyType(c); err != nil {
				return err
			}
			continue
		}
		if err := c.do(); err != nil {
			return err
		}
	}
	return nil
}

func (c Call) do() error {
	if err := unix.Mount(c.Source, c.Target, c.Type, c.Flags, c.Data); err != nil {
		return fmt.Errorf("%v: %w", c, err)
	}
	return nil
}

func mountAnyType(c Call) error {
	content, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return fmt.Errorf("find file system types to try: %w", err)
	}
	for _, t := range BlockTypes(string(content)) {
		c.Type = t
		err := c.do()
		if err == nil || !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return fmt.Errorf("%s: no file system that this kernel knows", c.Source)
}

// UmountMain is umount: it carries out args (without the program's name) and
// returns the exit status, after a message on stderr when that is not 0. The
// kubelet relies on the words "not mounted" in it.
func UmountMain(args []string, stderr io.Writer) int {
	u, err := ParseUmount(args)
	if err != nil {
		fmt.Fprintf(stderr, "umount: %v\n", err)
		return exitUsage
	}
	status := exitOK
	for _, target := range u.Targets {
		if err := unix.Unmount(target, u.Flags); err != nil {
			fmt.Fprintln(stderr, umountMessage(target, err))
			status = exitFail
		}
	}
	return status
}

func umountMessage(target string, err error) string {
	switch {
	case errors.Is(err, unix.EINVAL):
		return fmt.Sprintf("umount: %s: not mounted.", target)
	case errors.Is(err, unix.ENOENT):
		return fmt.Sprintf("umount: %s: no mount point specified.", target)
	case errors.Is(err, unix.EBUSY):
		return fmt.Sprintf("umount: %s: target is busy.", target)
	}
	return fmt.Sprintf("umount: %s: %v.", target, err)
}
