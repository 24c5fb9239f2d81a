package qemu

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestProbeGuestRunsOnTCG(t *testing.T) {
	host, err := Host{}.resolve(AMD64, BIOS)
	if err != nil {
		t.Fatal(err)
	}
	reason, err := runProbe(t.Context(), host.Binary, TCG)
	if err != nil || reason != "" {
		t.Fatalf("the probe guest must run under emulation: %q, %v", reason, err)
	}
}

func TestProbeROM(t *testing.T) {
	rom := probeROM()
	if len(rom) != 64<<10 || rom[0xfff0] != 0xea {
		t.Fatal("the ROM has no jump at the reset vector")
	}
}

// exitError is what a process that ends with status gives.
func exitError(t *testing.T, status string) error {
	t.Helper()
	err := exec.Command("sh", "-c", "exit "+status).Run()
	if err == nil {
		t.Fatal("no error")
	}
	return err
}

func TestJudgeProbe(t *testing.T) {
	tests := []struct {
		name      string
		wait      error
		limit     error
		complaint string
		want      string // part of the reason; "" means it ran
	}{
		{"ran", exitError(t, "85"), nil, "warning: no such feature", ""},
		{"internal error", exitError(t, "1"), context.Canceled, "KVM internal error. Suberror: 1", "KVM internal error"},
		{"hangs", errors.New("signal: killed"), context.DeadlineExceeded, "", "did not end"},
		{"refused", exitError(t, "1"), nil, "failed to initialize kvm: Permission denied", "Permission denied"},
		{"wrong status", exitError(t, "3"), nil, "", "exit status 3"},
		{"no status", nil, nil, "", "without a result"},
	}
	for _, tt := range tests {
		got := judgeProbe(tt.wait, tt.limit, tt.complaint)
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: reason %q, want one with %q", tt.name, got, tt.want)
		}
	}
}

func TestWatchProbeStopsAtAnInternalError(t *testing.T) {
	stopped := 0
	last := watchProbe(strings.NewReader("warning: x\nKVM internal error. Suberror: 1\nEAX=0\n"), func() { stopped++ })
	if last != "KVM internal error. Suberror: 1" || stopped != 1 {
		t.Fatalf("last %q, stopped %d times", last, stopped)
	}
	last = watchProbe(strings.NewReader("one\ntwo\n"), func() { stopped++ })
	if last != "two" || stopped != 1 {
		t.Fatalf("last %q, stopped %d times", last, stopped)
	}
}

// fakeEmulator returns a host whose QEMU is a script that counts its calls and
// ends with status.
func fakeEmulator(t *testing.T, status string) (host Host, calls func() int) {
	t.Helper()
	dir := t.TempDir()
	script := filepath.Join(dir, "qemu")
	count := filepath.Join(dir, "count")
	text := "#!/bin/sh\necho x >> " + count + "\nexit " + status + "\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return Host{Binary: script}, func() int {
		data, err := os.ReadFile(count)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.Count(string(data), "x")
	}
}

func TestDetectAccelerationRemembers(t *testing.T) {
	host, calls := fakeEmulator(t, "85")
	cache := t.TempDir()
	first, _, err := DetectAcceleration(t.Context(), AMD64, host, cache)
	if err != nil {
		t.Fatal(err)
	}
	asked := calls() // 0 on a host without /dev/kvm
	second, _, err := DetectAcceleration(t.Context(), AMD64, host, cache)
	if err != nil || second != first || calls() != asked {
		t.Fatalf("second answer %v, %v after %d calls; first %v after %d", second, err, calls(), first, asked)
	}
}

func TestRecallNeedsTheSameBootAndQEMU(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.json")
	want := verdict{BootID: "b", Binary: "/q", Acceleration: KVM}
	if err := remember(file, want); err != nil {
		t.Fatal(err)
	}
	if v, ok := recall(file, want); !ok || v.Acceleration != KVM {
		t.Fatalf("not recalled: %+v", v)
	}
	for name, other := range map[string]verdict{
		"boot": {BootID: "c", Binary: "/q"},
		"qemu": {BootID: "b", Binary: "/r"},
	} {
		if _, ok := recall(file, other); ok {
			t.Errorf("another %s: recalled", name)
		}
	}
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := recall(file, verdict{}); ok {
		t.Error("an empty verdict was recalled")
	}
}

func TestHostSaysWhatToInstall(t *testing.T) {
	for name, h := range map[string]Host{
		"emulator": {Binary: "/no/such/qemu"},
		"firmware": {FirmwareCode: "/no/such/code.fd"},
	} {
		for arch, firmware := range map[string]Firmware{AMD64: UEFI, ARM64: UBoot} {
			_, err := h.resolve(arch, firmware)
			if err == nil || !strings.Contains(err.Error(), "apt-get install") {
				t.Errorf("%s, %s: error %v does not say what to install", name, arch, err)
			}
		}
	}
}

// TestForeignArchitecture: another processor's programs are translated, whatever
// /dev/kvm there is.
func TestForeignArchitecture(t *testing.T) {
	other := ARM64
	if runtime.GOARCH == ARM64 {
		other = AMD64
	}
	a, reason, err := DetectAcceleration(t.Context(), other, Host{Binary: "/bin/sh"}, t.TempDir())
	if err != nil || a != TCG || !strings.Contains(reason, other) {
		t.Errorf("%s on %s: %q, %q, %v", other, runtime.GOARCH, a, reason, err)
	}
}
