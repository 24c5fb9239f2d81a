package qemu

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Acceleration is how QEMU runs the guest's instructions.
type Acceleration string

// KVM uses the processor's virtualisation; TCG translates, which works
// everywhere and is about twenty times slower.
const (
	KVM Acceleration = "kvm"
	TCG Acceleration = "tcg"
)

// arguments are QEMU's, with the processor to translate for.
func (a Acceleration) arguments(cpu string) []string {
	if a == KVM {
		return []string{"-accel", "kvm", "-cpu", "host"}
	}
	return []string{"-accel", "tcg,thread=multi,tb-size=1024", "-cpu", cpu}
}

// probeTimeout is how long the probe guest may take. It takes 0.1 s where it
// works; a host that needs longer is too slow to prefer to translation.
const probeTimeout = 3 * time.Second

// probeCode is guest/probe.asm assembled.
//
//go:embed guest/probe.bin
var probeCode []byte

// verdict is what a probe found, kept because it holds until the host boots
// again or QEMU changes.
type verdict struct {
	BootID       string       `json:"bootID"`
	Binary       string       `json:"binary"`
	Modified     time.Time    `json:"modified"`
	Acceleration Acceleration `json:"acceleration"`
	// Reason is why it is not KVM.
	Reason string `json:"reason,omitempty"`
}

// DetectAcceleration returns KVM when a guest of the architecture really runs on
// it, and TCG with the reason otherwise: on amd64 a /dev/kvm that opens proves
// nothing, because thin hypervisors refuse instructions that every firmware uses.
// The answer is remembered in cacheDir (default: the user's cache directory) until
// the host boots again.
func DetectAcceleration(ctx context.Context, architecture string, host Host, cacheDir string) (a Acceleration, reason string, err error) {
	if architecture == "" {
		architecture = AMD64
	}
	host, err = host.resolve(architecture, BIOS)
	if err != nil {
		return "", "", err
	}
	if why := foreign(architecture); why != "" {
		return TCG, why, nil
	}
	if cacheDir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", "", fmt.Errorf("find the user's cache directory: %w", err)
		}
		cacheDir = filepath.Join(user, "mycelium")
	}
	want := verdict{Binary: host.Binary}
	if want.BootID, err = hostBootID(); err != nil {
		return "", "", err
	}
	info, err := os.Stat(host.Binary)
	if err != nil {
		return "", "", err
	}
	want.Modified = info.ModTime().UTC()
	file := filepath.Join(cacheDir, "acceleration.json")
	if v, ok := recall(file, want); ok {
		return v.Acceleration, v.Reason, nil
	}
	want.Acceleration, want.Reason, err = probe(ctx, host.Binary)
	if err != nil {
		return "", "", err
	}
	return want.Acceleration, want.Reason, remember(file, want)
}

// recall returns the kept verdict when it is about the same boot and QEMU.
func recall(file string, want verdict) (verdict, bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return verdict{}, false // not there or not readable: probe again
	}
	var v verdict
	if json.Unmarshal(data, &v) != nil {
		return verdict{}, false
	}
	same := v.BootID == want.BootID && v.Binary == want.Binary && v.Modified.Equal(want.Modified)
	return v, same && (v.Acceleration == KVM || v.Acceleration == TCG)
}

func remember(file string, v verdict) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("keep the acceleration probe's answer: %w", err)
	}
	return writeFile(file, data)
}

// probe decides by running the probe guest; err is only for what keeps it from
// being tried at all.
func probe(ctx context.Context, binary string) (Acceleration, string, error) {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return TCG, fmt.Sprintf("KVM cannot be opened: %v", err), nil
	}
	if err := device.Close(); err != nil {
		return "", "", err
	}
	if runtime.GOARCH != AMD64 {
		return KVM, "", nil // the probe guest is a program for amd64
	}
	reason, err := runProbe(ctx, binary, KVM)
	if err != nil {
		return "", "", err
	}
	if reason != "" {
		return TCG, "a probe guest does not run on KVM: " + reason, nil
	}
	return KVM, "", nil
}

// probeROM returns the 64 KiB ROM that the processor starts in: the code at
// its beginning, a jump there at the reset vector.
func probeROM() []byte {
	const size, resetVector = 64 << 10, 0xfff0
	rom := make([]byte, size)
	copy(rom, probeCode)
	copy(rom[resetVector:], []byte{0xea, 0x00, 0x00, 0x00, 0xf0}) // jmp f000:0000
	return rom
}

// probeStatus is QEMU's exit status when the probe guest got to its end.
const probeStatus = 0x2a<<1 | 1

// runProbe returns why the probe guest does not run with a, or "" when it does.
func runProbe(ctx context.Context, binary string, a Acceleration) (reason string, err error) {
	dir, err := os.MkdirTemp("", "mycelium-probe")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	rom := filepath.Join(dir, "probe.rom")
	if err := os.WriteFile(rom, probeROM(), 0o600); err != nil {
		return "", err
	}
	limited, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	args := append(a.arguments("max"), "-machine", "q35", "-m", "16", "-nodefaults", "-no-user-config",
		"-display", "none", "-no-reboot", "-bios", rom, "-device", "isa-debug-exit,iobase=0xf4,iosize=4")
	cmd := exec.CommandContext(limited, binary, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start %s: %w", binary, err)
	}
	complaint := watchProbe(stderr, cancel)
	err = cmd.Wait()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return judgeProbe(err, limited.Err(), complaint), nil
}

// watchProbe reads the probe's messages to the end and returns the last one.
// When QEMU reports an internal error of KVM, on which it would pause the guest
// for ever, it calls stop.
func watchProbe(stderr io.Reader, stop func()) string {
	var last string
	var once sync.Once
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "KVM internal error") {
			last = line
			once.Do(stop)
		}
		if last == "" || !strings.HasPrefix(last, "KVM") {
			last = line
		}
	}
	return last
}

// judgeProbe turns the probe's end into a reason; "" means that it ran.
func judgeProbe(wait, limit error, complaint string) string {
	var exit *exec.ExitError
	if errors.As(wait, &exit) && exit.ExitCode() == probeStatus {
		return ""
	}
	switch {
	case strings.HasPrefix(complaint, "KVM internal error"):
		return complaint
	case errors.Is(limit, context.DeadlineExceeded):
		return fmt.Sprintf("it did not end within %v", probeTimeout)
	case complaint != "":
		return complaint
	case wait != nil:
		return wait.Error()
	}
	return "it ended without a result"
}
