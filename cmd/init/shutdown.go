package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/pkg/api"
)

// action is how the machine's run ends.
type action int

const (
	actionReboot action = iota
	actionPowerOff
)

// Patience of the shutdown's steps.
const (
	podPatience     = 15 * time.Second
	serviceDeadline = 45 * time.Second
	// shutdownPatience is when a shutdown that hangs is ended by the watchdog.
	shutdownPatience = 2 * time.Minute
)

// finish ends everything in order and does not return: the services (so that
// the kubelet does not start again what is ended next), the pods, what is left;
// then clock, logs and file systems.
func (m *machine) finish(a action) {
	m.heart.beat(shutdownPatience)
	m.console.showLines(true)
	if m.updates != nil {
		m.updates.Leave("the machine was rebooted or shut down while the trial ran")
	}
	m.board.Update(func(s *api.Status) { s.Phase = "shutdown" })
	steps := []struct {
		name string
		run  func()
	}{
		{"stopping services", m.stopServices},
		{"stopping pods", m.stopPods},
		{"stopping what is left", m.killLeftovers},
		{"storing the clock and the logs", m.storeState},
		{"unmounting file systems", m.unmountAll},
	}
	for _, s := range steps {
		m.console.event(api.ConsoleEvent{Kind: api.EventShutdown, Text: s.name})
		s.run()
	}
	word, command := "rebooting", unix.LINUX_REBOOT_CMD_RESTART
	if a == actionPowerOff {
		word, command = "powering off", unix.LINUX_REBOOT_CMD_POWER_OFF
	}
	argument := ""
	if a == actionReboot && m.rebootArgument != nil {
		argument = m.rebootArgument()
	}
	m.console.event(api.ConsoleEvent{Kind: api.EventShutdown, Text: strings.TrimSpace(word + " " + argument)})
	m.console.flush(2 * time.Second)
	m.watchdog.disarm(m.log)
	unix.Sync()
	if err := reboot(command, argument); err != nil {
		m.console.print("reboot: " + err.Error())
	}
	select {}
}

// stopServices ends the services, the last started first.
func (m *machine) stopServices() {
	m.mu.Lock()
	stop := m.stop
	m.mu.Unlock()
	done := make(chan struct{})
	go func() {
		for _, f := range stop {
			f()
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(serviceDeadline):
		m.log.Error("a service does not end")
	}
}

// stopPods asks the processes of all pods to end, and kills after a while what
// has not.
func (m *machine) stopPods() {
	pods := filepath.Join(cgroupRoot, "kubepods")
	pids := cgroupPIDs(pods)
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGTERM) // one that has just ended
	}
	if !waitEmpty(pods, podPatience) {
		left := cgroupPIDs(pods)
		m.console.event(api.ConsoleEvent{Kind: api.EventShutdown, Text: fmt.Sprintf("killing %d of %d processes of pods that do not end", len(left), len(pids))})
		if err := killCgroup(pods); err != nil {
			m.log.Warn("pods", "error", err)
		}
		waitEmpty(pods, 5*time.Second)
	}
}

// killLeftovers ends what services left behind, such as the shims of containers.
func (m *machine) killLeftovers() {
	services := filepath.Join(cgroupRoot, "services")
	for _, pid := range cgroupPIDs(services) {
		_ = unix.Kill(pid, unix.SIGTERM)
	}
	if waitEmpty(services, 2*time.Second) {
		return
	}
	if err := killCgroup(services); err != nil {
		m.log.Warn("services", "error", err)
	}
	waitEmpty(services, 2*time.Second)
}

func (m *machine) storeState() {
	m.time.saveFloor()
	if err := saveSeed(seedPath); err != nil {
		m.log.Warn("no seed kept", "error", err)
	}
	m.log.Info("shutdown: logs end here")
	if err := m.logs.Close(); err != nil {
		m.console.print("logs: " + err.Error())
	}
}

// unmountRounds is how often the mounts are walked: unmounting one may free
// another.
const unmountRounds = 4

// unmountAll unmounts every file system that is on a disk, and what is mounted
// on it, the youngest mount first. What is still in use is made read-only.
func (m *machine) unmountAll() {
	unix.Sync()
	for range unmountRounds {
		left := 0
		for _, target := range mountsOnDisk() {
			if err := unix.Unmount(target, 0); err != nil {
				left++
			}
		}
		if left == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	var wg sync.WaitGroup
	for _, target := range mountsOnDisk() {
		m.console.event(api.ConsoleEvent{Kind: api.EventShutdown, Text: target + " is still in use: making it read-only"})
		wg.Go(func() { _ = unix.Mount("", target, "", unix.MS_REMOUNT|readonly, "") })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
	}
}

// mountsOnDisk returns the mount points at and below /state and /var and those
// of overlays (whose layers are there), the youngest first.
func mountsOnDisk() []string {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	var targets []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if t, ok := parseMountinfo(s.Text()); ok {
			targets = append([]string{t}, targets...)
		}
	}
	return targets
}

// parseMountinfo returns the mount point of a line of mountinfo (proc(5)) that
// must be unmounted before a shutdown.
func parseMountinfo(line string) (target string, ok bool) {
	before, after, found := strings.Cut(line, " - ")
	fields, kind := strings.Fields(before), strings.Fields(after)
	if !found || len(fields) < 5 || len(kind) < 1 {
		return "", false
	}
	target = unescapeMount(fields[4])
	for _, dir := range []string{"/state", "/var"} {
		if target == dir || strings.HasPrefix(target, dir+"/") {
			return target, true
		}
	}
	onRun := strings.HasPrefix(target, "/run/") && kind[0] != "tmpfs"
	return target, onRun
}

// unescapeMount undoes mountinfo's octal escapes of white space and backslash.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// reboot is reboot(2), with an argument for the firmware if there is one.
func reboot(command int, argument string) error {
	if argument == "" {
		return unix.Reboot(command)
	}
	text, err := unix.BytePtrFromString(argument)
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(unix.SYS_REBOOT, unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2,
		unix.LINUX_REBOOT_CMD_RESTART2, uintptr(unsafe.Pointer(text)), 0, 0)
	return errno
}
