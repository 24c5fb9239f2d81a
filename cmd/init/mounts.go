package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/pkg/efivar"
)

// mountPoint is one row of the mount tables.
type mountPoint struct {
	fstype, target string
	flags          uintptr
	data           string
	// optional: a kernel without this file system still boots.
	optional bool
}

const (
	oNoCTTY  = unix.O_NOCTTY | unix.O_CLOEXEC
	nodev    = unix.MS_NODEV
	nosuid   = unix.MS_NOSUID
	noexec   = unix.MS_NOEXEC
	noatime  = unix.MS_NOATIME
	readonly = unix.MS_RDONLY
)

// earlyMounts are made in the initramfs and moved to the root.
func earlyMounts() []mountPoint {
	return []mountPoint{
		{"devtmpfs", "/dev", nosuid | noexec, "mode=0755", false},
		{"proc", "/proc", nosuid | nodev | noexec, "", false},
		{"sysfs", "/sys", nosuid | nodev | noexec, "", false},
	}
}

// rootMounts are made once the root stands. Together with STATE on /state and
// DATA on /var (volumes.go) these are all places that can be written to.
func rootMounts() []mountPoint {
	return []mountPoint{
		// Containers' root file systems are mounted below /run: their own mounts
		// decide there about exec, suid and devices.
		{"tmpfs", "/run", nosuid | nodev, "mode=0755,size=20%", false},
		{"tmpfs", "/tmp", nosuid | nodev | noexec, "mode=1777,size=20%", false},
		{"devpts", "/dev/pts", nosuid | noexec, "mode=0620,gid=5,ptmxmode=0666", false},
		{"tmpfs", "/dev/shm", nosuid | nodev | noexec, "mode=1777,size=20%", false},
		{"mqueue", "/dev/mqueue", nosuid | nodev | noexec, "", true},
		{"hugetlbfs", "/dev/hugepages", nosuid | nodev, "", true},
		{"cgroup2", "/sys/fs/cgroup", nosuid | nodev | noexec, "nsdelegate,memory_recursiveprot", false},
		{"bpf", "/sys/fs/bpf", nosuid | nodev | noexec, "mode=0700", true},
		{"securityfs", "/sys/kernel/security", nosuid | nodev | noexec, "", true},
		{"efivarfs", efivar.Dir, nosuid | nodev | noexec | readonly, "", true},
	}
}

// mountEarly mounts what the initramfs needs and finds the consoles.
func (m *machine) mountEarly(context.Context) error {
	if err := mountAll(earlyMounts()); err != nil {
		return err
	}
	m.cmdline = parseCmdline(readLine("/proc/cmdline"))
	m.console.attach()
	m.startKernelLog()
	m.startWatchdog()
	// From here on PID 1 is the last that the kernel kills for memory.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0); err != nil {
		m.log.Warn("cannot protect init from the out-of-memory killer", "error", err)
	}
	return nil
}

// mountAll makes the mounts of a table, with their mount points where these
// can be made.
func mountAll(table []mountPoint) error {
	for _, p := range table {
		if err := os.MkdirAll(p.target, 0o755); err != nil {
			if p.optional {
				continue
			}
			return fmt.Errorf("make the mount point %s: %w", p.target, err)
		}
		err := unix.Mount(p.fstype, p.target, p.fstype, p.flags, p.data)
		if err != nil && !p.optional && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s on %s: %w", p.fstype, p.target, err)
		}
	}
	return nil
}
