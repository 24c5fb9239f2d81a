package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// bootServer is "mycelium netboot serve" on a segment.
type bootServer struct {
	out  *os.File
	stop func()
}

// startBootServer starts it in a namespace and waits until it says that it answers.
func startBootServer(t *testing.T, s *shell, on *lab.Namespace, args ...string) *bootServer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := on.Command(ctx, s.program, append([]string{"netboot", "serve", "--interface", lab.SegmentInterface}, args...)...)
	cmd.Env = s.command(ctx).Env
	out, err := os.Create(filepath.Join(t.TempDir(), "serve.log"))
	must(t, "log", err)
	cmd.Stdout, cmd.Stderr = out, out
	must(t, "start the server", cmd.Start())
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	b := &bootServer{out: out, stop: func() {
		cancel()
		<-done
		done <- nil
	}}
	t.Cleanup(func() {
		b.stop()
		t.Logf("mycelium netboot serve %s\n%s", strings.Join(args, " "), b.said(t))
		out.Close()
	})
	b.wait(t, 30*time.Second, "answering")
	return b
}

func (b *bootServer) said(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(b.out.Name())
	must(t, "read what the server says", err)
	return string(text)
}

// wait waits until the server has said all of the words, in this order.
func (b *bootServer) wait(t *testing.T, d time.Duration, words ...string) {
	t.Helper()
	must(t, "the server", lab.Poll(within(t, d), "the server to say "+strings.Join(words, ", "), func(context.Context) (bool, string, error) {
		text := b.said(t)
		rest := text
		for _, w := range words {
			_, after, ok := strings.Cut(rest, w)
			if !ok {
				return false, text, nil
			}
			rest = after
		}
		return true, "", nil
	}))
}

// netMachine is a machine on a segment.
type netMachine struct {
	t       *testing.T
	console string // path of what its serial port said
	mac     string
	kill    func()
}

// netHardware is what differs between the machines.
type netHardware struct {
	// arch is qemu.AMD64 when empty; an arm64 machine has UEFI.
	arch string
	// mac's last byte, firmware, and more of QEMU's arguments.
	last     byte
	uefi     bool
	card     string
	argument []string
}

// platform returns QEMU's program, the machine, and its UEFI with the empty store of
// variables.
func (h netHardware) platform() (program string, machine []string, code, vars string) {
	if h.arch == qemu.ARM64 {
		return "qemu-system-aarch64", []string{"-machine", "virt,gic-version=max", "-device", "ramfb"},
			"/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd" // apt-get install qemu-efi-aarch64
	}
	return "qemu-system-x86_64", []string{"-machine", "q35", "-vga", "std"},
		"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd" // apt-get install ovmf
}

// startNetMachine starts a machine that has nothing but a network card.
func startNetMachine(t *testing.T, segment *lab.Segment, h netHardware) *netMachine {
	t.Helper()
	tap, err := segment.Tap(t.Context())
	must(t, "network port", err)
	dir := t.TempDir()
	m := &netMachine{t: t, console: filepath.Join(dir, "serial.log"), mac: fmt.Sprintf("52:54:00:77:00:%02x", h.last)}
	program, machine, code, empty := h.platform()
	args := append(
		machine,
		"-nodefaults", "-no-user-config", "-smp", "2", "-m", "2560", "-display", "none",
		"-serial", "file:"+m.console, "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
		"-netdev", "tap,id=net,script=no,downscript=no,ifname="+tap, "-device", h.card+",netdev=net,bootindex=1,mac="+m.mac,
	)
	a, _, err := qemu.DetectAcceleration(t.Context(), h.arch, qemu.Host{}, "")
	must(t, "find out how to run machines", err)
	if a == qemu.KVM {
		args = append(args, "-accel", "kvm", "-cpu", "host")
	} else {
		args = append(args, "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max")
	}
	if h.uefi {
		vars := filepath.Join(dir, "vars.fd")
		content, err := os.ReadFile(empty)
		must(t, "firmware", err)
		must(t, "firmware", os.WriteFile(vars, content, 0o644))
		args = append(args, "-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+code, "-drive", "if=pflash,unit=1,format=raw,file="+vars)
	}
	cmd := segment.Switch.Command(t.Context(), program, append(args, h.argument...)...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, "start the machine", cmd.Start())
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	m.kill = func() {
		_ = cmd.Process.Kill()
		<-done
		done <- nil
	}
	t.Cleanup(func() {
		m.kill()
		if t.Failed() {
			t.Logf("%s: QEMU says %q; console:\n%s", m.mac, said.String(), qemu.LastLines([]byte(m.text()), 40))
		}
	})
	return m
}

// text is what the serial port said, without what steers terminals.
func (m *netMachine) text() string {
	data, err := os.ReadFile(m.console)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.t.Error(err)
	}
	return qemu.Plain(data)
}

// wait waits for an event on the console.
func (m *netMachine) wait(d time.Duration, what string, is func(api.ConsoleEvent) bool) (event api.ConsoleEvent) {
	m.t.Helper()
	err := lab.Poll(within(m.t, d), m.mac+": "+what, func(context.Context) (bool, string, error) {
		text := m.text()
		for line := range strings.Lines(text) {
			if e, ok := api.ParseConsole(strings.TrimRight(line, "\r\n")); ok && is(e) {
				event = e
				return true, "", nil
			}
		}
		return false, qemu.LastLines([]byte(text), 5), nil
	})
	must(m.t, what, err)
	return event
}
