package qemu

import (
	"fmt"
	"math"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// hostBootID returns what tells this boot of the host from others.
func hostBootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the host's boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// openProcess returns a handle that stays on the process with a number now.
func openProcess(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// signalProcess sends sig to what openProcess has opened.
func signalProcess(handle *os.File, sig unix.Signal) error {
	return unix.PidfdSendSignal(int(handle.Fd()), sig, nil, 0)
}

// cloneFile makes out share in's blocks, where the file system can.
func cloneFile(out, in *os.File) error { return unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) }

// closeOnExec keeps all open files but the first three from programs that are started.
func closeOnExec() error { return unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) }
