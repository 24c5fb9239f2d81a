package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// sysctl is one kernel setting.
type sysctl struct {
	name, value string
	// optional: not every kernel has it.
	optional bool
}

// sysctls are the kernel settings: hardening first, then what Kubernetes needs.
func sysctls() []sysctl {
	return []sysctl{
		// The kernel keeps its addresses and messages to itself.
		{"kernel.kptr_restrict", "2", false},
		{"kernel.dmesg_restrict", "1", false},
		{"kernel.perf_event_paranoid", "3", true},
		{"kernel.unprivileged_bpf_disabled", "1", true},
		{"net.core.bpf_jit_harden", "2", true},
		{"kernel.kexec_load_disabled", "1", true},
		{"kernel.yama.ptrace_scope", "1", true},
		{"kernel.sysrq", "0", true},
		{"kernel.randomize_va_space", "2", false},
		{"dev.tty.ldisc_autoload", "0", true},
		{"vm.unprivileged_userfaultfd", "0", true},
		{"fs.protected_symlinks", "1", false},
		{"fs.protected_hardlinks", "1", false},
		{"fs.protected_fifos", "2", false},
		{"fs.protected_regular", "2", false},
		{"fs.suid_dumpable", "0", false},
		// No host believes a stranger about routes.
		{"net.ipv4.conf.all.accept_redirects", "0", false},
		{"net.ipv4.conf.default.accept_redirects", "0", false},
		{"net.ipv4.conf.all.send_redirects", "0", false},
		{"net.ipv4.conf.default.send_redirects", "0", false},
		{"net.ipv4.conf.all.accept_source_route", "0", false},
		{"net.ipv4.conf.default.accept_source_route", "0", false},
		{"net.ipv6.conf.all.accept_redirects", "0", true},
		{"net.ipv6.conf.default.accept_redirects", "0", true},
		{"net.ipv4.tcp_syncookies", "1", true},
		// Loose: a pod's answer may leave by another interface than it came.
		{"net.ipv4.conf.all.rp_filter", "2", false},
		{"net.ipv4.conf.default.rp_filter", "2", false},
		// Router advertisements count although the node forwards for its pods.
		{"net.ipv6.conf.all.accept_ra", "2", true},
		{"net.ipv6.conf.default.accept_ra", "2", true},
		{"net.ipv4.ip_forward", "1", false},
		{"net.bridge.bridge-nf-call-iptables", "1", true},
		{"net.bridge.bridge-nf-call-ip6tables", "1", true},
		// What the kubelet's --protect-kernel-defaults asks for.
		{"vm.overcommit_memory", "1", false},
		{"vm.panic_on_oom", "0", false},
		{"kernel.panic", "10", false},
		{"kernel.panic_on_oops", "1", false},
		{"kernel.keys.root_maxkeys", "1000000", true},
		{"kernel.keys.root_maxbytes", "25000000", true},
		// Many containers in one kernel.
		{"fs.inotify.max_user_instances", "8192", true},
		{"fs.inotify.max_user_watches", "524288", true},
		{"kernel.pid_max", "4194304", true},
		{"vm.max_map_count", "262144", false},
	}
}

// memorySysctls are the settings that depend on the machine's memory, in bytes.
// Transparent huge pages make the kernel keep tens of MiB free that a node of
// 1 GiB needs; half a percent is what it kept before them.
func memorySysctls(total uint64) []sysctl {
	return []sysctl{
		{"vm.min_free_kbytes", strconv.FormatUint(max(8<<10, total>>10/200), 10), false},
		{"vm.watermark_boost_factor", "0", true},
	}
}

// sysctlPath returns the file of a setting. Only the first dot before a name
// with dashes matters: interface names with dots do not stand in the table.
func sysctlPath(name string) string {
	return "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
}

// applySysctls writes the table. Settings that this kernel does not have are
// left out when they may be.
func (m *machine) applySysctls(context.Context) error {
	var errs []error
	for _, s := range append(sysctls(), memorySysctls(readMeminfo().Total)...) {
		err := os.WriteFile(sysctlPath(s.name), []byte(s.value), 0)
		if errors.Is(err, fs.ErrNotExist) && s.optional {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("set %s to %s: %w", s.name, s.value, err))
		}
	}
	// Containers get these limits from containerd, and that from here.
	// (package syscall: it stops Go from lowering the limit for children)
	limit := &syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, limit); err != nil {
		errs = append(errs, fmt.Errorf("raise the limit of open files: %w", err))
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		errs = append(errs, fmt.Errorf("turn core dumps off: %w", err))
	}
	return errors.Join(errs...)
}
