package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// host is the computer that the machines are emulated on.
type host struct {
	CPU       string `json:"cpu"`
	CPUs      int    `json:"cpus"`
	MemoryMiB uint64 `json:"memoryMiB"`
	Kernel    string `json:"kernel"`
	QEMU      string `json:"qemu"`
}

func (h host) String() string {
	return fmt.Sprintf("%s, %d CPUs, %d MiB, Linux %s, %s", h.CPU, h.CPUs, h.MemoryMiB, h.Kernel, h.QEMU)
}

// describeHost says what the benchmark runs on.
func describeHost(ctx context.Context) (host, error) {
	h := host{CPUs: runtime.NumCPU(), CPU: runtime.GOARCH}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return h, err
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			h.CPU = strings.TrimSpace(value)
			break
		}
	}
	if text, err = os.ReadFile("/proc/meminfo"); err != nil {
		return h, err
	}
	total, err := meminfo(string(text), "MemTotal")
	if err != nil {
		return h, err
	}
	h.MemoryMiB = total >> 20
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return h, err
	}
	h.Kernel = unix.ByteSliceToString(name.Release[:])
	out, err := exec.CommandContext(ctx, "qemu-system-x86_64", "--version").Output()
	if err != nil {
		return h, fmt.Errorf("ask QEMU for its version (apt-get install qemu-system-x86): %w", err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	h.QEMU = strings.Replace(first, "QEMU emulator version", "QEMU", 1)
	return h, nil
}
