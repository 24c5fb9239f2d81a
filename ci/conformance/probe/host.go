package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// killByName needs the host's process namespace.
func killByName(args []string) error {
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return err
	}
	killed := 0
	for _, link := range links {
		pid, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err != nil || pid == os.Getpid() || pid == 1 {
			continue
		}
		// The first argument names a program that is several in one.
		cmdline, err := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
		if err != nil {
			continue // it ended meanwhile
		}
		first, _, _ := strings.Cut(string(cmdline), "\x00")
		first, _, _ = strings.Cut(first, " ")
		if filepath.Base(first) != arg(args, 0, "") {
			continue
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			return fmt.Errorf("kill %d: %w", pid, err)
		}
		fmt.Println("killed", pid, first)
		killed++
	}
	if killed == 0 {
		return errors.New("no such process")
	}
	return nil
}

// freeze stops every thread of PID 1 as a debugger would, for ever: what a
// dead lock or a bug in its run time would do to it. It needs a privileged
// container in the host's process namespace.
func freeze([]string) error {
	runtime.LockOSThread() // the tracer is a thread
	stopped := map[int]bool{}
	for again := true; again; {
		again = false
		tasks, err := filepath.Glob("/proc/1/task/[0-9]*")
		if err != nil {
			return err
		}
		for _, task := range tasks {
			id, err := strconv.Atoi(filepath.Base(task))
			if err != nil || stopped[id] {
				continue
			}
			if err := unix.PtraceSeize(id); err != nil {
				return fmt.Errorf("trace thread %d: %w", id, err)
			}
			if err := unix.PtraceInterrupt(id); err != nil {
				return fmt.Errorf("stop thread %d: %w", id, err)
			}
			stopped[id], again = true, true // one that still ran may have made another
		}
	}
	fmt.Println("froze", len(stopped), "threads of PID 1")
	return sleep(nil)
}
