package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process identifies one process of one boot of the host, so that a process
// that later gets the same number is never taken for it.
type process struct {
	PID int `json:"pid"`
	// Started is the process' start in clock ticks since boot (proc(5), stat field 22).
	Started uint64 `json:"started"`
	// BootID is the host's boot.
	BootID string `json:"bootID"`
}

// errGone says that a recorded process is no more.
var errGone = errors.New("the process is gone")

// identify records the running process pid.
func identify(pid int) (process, error) {
	boot, err := hostBootID()
	if err != nil {
		return process{}, err
	}
	state, started, err := readStat(pid)
	if err != nil {
		return process{}, err
	}
	if state == 'Z' || state == 'X' {
		return process{}, errGone
	}
	return process{PID: pid, Started: started, BootID: boot}, nil
}

// readStat returns a process' state letter and start time; errGone when there
// is no such process.
func readStat(pid int) (state byte, started uint64, err error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, 0, errGone
	}
	if err != nil {
		return 0, 0, fmt.Errorf("look at process %d: %w", pid, err)
	}
	return parseStat(string(b))
}

// parseStat reads proc(5)'s stat. The command name may itself hold spaces and
// parentheses, so fields count from the last parenthesis.
func parseStat(line string) (state byte, started uint64, err error) {
	end := strings.LastIndexByte(line, ')')
	if end < 0 {
		return 0, 0, fmt.Errorf("process status %q has no command name", line)
	}
	fields := strings.Fields(line[end+1:])
	const stateField, startField = 0, 22 - 3 // the manual counts from 1, state is its third
	if len(fields) <= startField {
		return 0, 0, fmt.Errorf("process status %q is too short", line)
	}
	started, err = strconv.ParseUint(fields[startField], 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("process status: start time: %w", err)
	}
	return fields[stateField][0], started, nil
}

// open returns a handle on the process that stays on it whatever happens to
// its number; errGone when it has ended. The caller must close the handle.
func (p process) open() (*os.File, error) {
	if p.PID <= 0 {
		return nil, errGone
	}
	boot, err := hostBootID()
	if err != nil {
		return nil, err
	}
	if boot != p.BootID {
		return nil, errGone
	}
	handle, err := openProcess(p.PID)
	if errors.Is(err, unix.ESRCH) {
		return nil, errGone
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", p.PID, err)
	}
	// The handle is on whoever has the number now; the start time says whether that is ours.
	state, started, err := readStat(p.PID)
	if err == nil && (started != p.Started || state == 'Z' || state == 'X') {
		err = errGone
	}
	if err != nil {
		return nil, errors.Join(err, handle.Close())
	}
	return handle, nil
}

// running reports whether the recorded process still runs.
func (p process) running() (bool, error) {
	handle, err := p.open()
	if errors.Is(err, errGone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, handle.Close()
}

// signal sends sig; a process that has ended is no error.
func (p process) signal(sig unix.Signal) error {
	handle, err := p.open()
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer handle.Close()
	err = signalProcess(handle, sig)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return nil
}

// wait returns when the process has ended, or with ctx's error.
func (p process) wait(ctx context.Context) error {
	handle, err := p.open()
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer handle.Close()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		const slice = 100 * time.Millisecond // how late ctx's end may be noticed
		fds := []unix.PollFd{{Fd: int32(handle.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(slice.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", p.PID, err)
		}
		if n > 0 {
			return nil
		}
	}
}

// writeFile writes data to path (mode 0600) by way of a temporary file beside it.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}
