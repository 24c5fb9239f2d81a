package main

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// trySyscalls makes system calls that a profile may refuse, and prints what came back.
func trySyscalls(args []string) error {
	runtime.LockOSThread() // some change the calling thread
	attempts := map[string]func() error{
		"unshare-user": func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"mount":        func() error { return unix.Mount("none", "/tmp", "tmpfs", 0, "") },
		"keyctl":       func() error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true); return err },
		"userfaultfd":  userfaultfd,
		"chown":        func() error { return unix.Chown(path, 1, 1) },
		"chroot":       func() error { return unix.Chroot("/") },
		"settime":      func() error { return unix.ClockSettime(unix.CLOCK_REALTIME, &unix.Timespec{Sec: 1}) },
		"setuid":       func() error { return unix.Setuid(12345) },
		"raw-socket":   rawSocket,
	}
	for _, name := range args {
		try, ok := attempts[name]
		if !ok {
			return fmt.Errorf("no such system call here: %s", name)
		}
		fmt.Printf("%s: %v\n", name, result(try()))
	}
	return nil
}

func result(err error) string {
	if err == nil {
		return "allowed"
	}
	return err.Error()
}

func userfaultfd() error {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|1 /* UFFD_USER_MODE_ONLY */, 0, 0)
	if errno != 0 {
		return errno
	}
	// A descriptor that answers the API handshake is a real one.
	api := struct{ api, features, ioctls uint64 }{api: 0xaa}
	const uffdioAPI = 0xc018aa3f
	_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, uffdioAPI, uintptr(unsafe.Pointer(&api)))
	_ = unix.Close(int(fd))
	if errno != 0 {
		return errno
	}
	return nil
}

func rawSocket() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}
