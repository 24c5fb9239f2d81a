package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupRoot is where the unified hierarchy is mounted:
//
//	init/            PID 1 and what it runs for a moment (e2fsck)
//	services/NAME/   each supervised service
//	kubepods/        made by the kubelet
//
// Only the root has both processes (the kernel's) and children.
const cgroupRoot = "/sys/fs/cgroup"

// setupCgroups enables every controller for children and moves PID 1 into a
// group of its own.
func (m *machine) setupCgroups() error {
	own := filepath.Join(cgroupRoot, "init")
	services := filepath.Join(cgroupRoot, "services")
	for _, dir := range []string{own, services} {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the cgroup %s: %w", dir, err)
		}
	}
	if err := os.WriteFile(filepath.Join(own, "cgroup.procs"), []byte("1"), 0); err != nil {
		return fmt.Errorf("move init into its cgroup: %w", err)
	}
	for _, dir := range []string{cgroupRoot, services} {
		if err := enableControllers(dir); err != nil {
			return err
		}
	}
	// What init and its state use is not reclaimed for containers.
	if err := os.WriteFile(filepath.Join(own, "memory.min"), []byte("32M"), 0); err != nil {
		m.log.Warn("cannot protect init's memory", "error", err)
	}
	return nil
}

// enableControllers gives the children of the group at dir every controller
// that the group has itself.
func enableControllers(dir string) error {
	controllers := strings.Fields(readLine(filepath.Join(dir, "cgroup.controllers")))
	if len(controllers) == 0 {
		return fmt.Errorf("the cgroup %s has no controllers: the kernel lacks them", dir)
	}
	// In one write: the kernel waits for all processors at each.
	all := "+" + strings.Join(controllers, " +")
	if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(all), 0); err != nil {
		return fmt.Errorf("enable the cgroup controllers %s in %s: %w", all, dir, err)
	}
	return nil
}

// serviceCgroup makes and opens the group of a service; the caller closes it.
func serviceCgroup(name string) (*os.File, error) {
	dir := filepath.Join(cgroupRoot, "services", name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the cgroup of %s: %w", name, err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the cgroup of %s: %w", name, err)
	}
	return f, nil
}

// cgroupPIDs returns the processes in the group at dir and in all below it.
func cgroupPIDs(dir string) []int {
	var pids []int
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // a group that has just gone
		}
		for _, f := range strings.Fields(readLine(filepath.Join(path, "cgroup.procs"))) {
			var pid int
			if _, err := fmt.Sscan(f, &pid); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// killCgroup kills everything in the group at dir and below, at once.
func killCgroup(dir string) error {
	err := os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("kill the cgroup %s: %w", dir, err)
	}
	return nil
}

// waitEmpty waits until nothing runs in the group at dir; false after limit.
func waitEmpty(dir string, limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		events := readLine(filepath.Join(dir, "cgroup.events"))
		if !strings.Contains(events, "populated 1") {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// endStrays kills what an earlier life of a service left in its group at dir,
// as far as it runs the program exe, and waits until it is gone. Other programs
// (the shims that keep containers running) stay.
func endStrays(dir, exe string) {
	for range 50 {
		found := false
		for _, pid := range cgroupPIDs(dir) {
			if target, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && target == exe {
				found = true
				_ = unix.Kill(pid, unix.SIGKILL) // one that has just ended
			}
		}
		if !found {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}
