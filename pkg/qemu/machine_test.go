package qemu

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// testTimeout bounds what a tiny guest needs a second for.
const testTimeout = 2 * time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// sectorImage returns a disk image that starts testdata/sector.bin, a guest
// that talks on the serial port and heeds the power button.
func sectorImage(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("testdata/sector.bin")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sector.img")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
	return path
}

// tiny is a machine for the boot sector.
func tiny(t *testing.T) NodeSpec {
	return NodeSpec{
		Name: "tiny", Dir: filepath.Join(t.TempDir(), "tiny"), Image: sectorImage(t), Firmware: BIOS,
		MemoryMiB: 16, CPUs: 1, DiskBytes: 8 << 20, Acceleration: TCG, Forwards: []Forward{{Guest: 6440}},
		Segment: Segment{Group: "239.192.77.1", Port: 26077}, Config: []byte("secret: yes\n"),
	}
}

var ready = regexp.MustCompile(`mycelium: test guest ready, boot (\d)`)

func startTiny(t *testing.T, ctx context.Context, spec NodeSpec) *Node {
	t.Helper()
	n, err := Start(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Kill(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	return n
}

func mustBoot(t *testing.T, ctx context.Context, n *Node, want string) {
	t.Helper()
	got, err := n.WaitConsole(ctx, ready)
	if err != nil {
		t.Fatal(err)
	}
	if got[1] != want {
		t.Fatalf("boot %s, want %s", got[1], want)
	}
}

func mustRun(t *testing.T, n *Node, want bool) {
	t.Helper()
	if got, err := n.Running(); err != nil || got != want {
		t.Fatalf("running: %v, %v; want %v", got, err, want)
	}
}

func TestMachineLife(t *testing.T) {
	ctx := testContext(t)
	n := startTiny(t, ctx, tiny(t))
	mustBoot(t, ctx, n, "1")
	mustRun(t, n, true)
	if err := n.Start(ctx); err == nil {
		t.Fatal("a running machine started again")
	}

	if err := n.Kill(ctx); err != nil { // power cut: what the guest wrote is on the disk
		t.Fatal(err)
	}
	mustRun(t, n, false)
	if err := n.Start(ctx); err != nil {
		t.Fatal(err)
	}
	mustBoot(t, ctx, n, "2")

	size, err := n.ConsoleSize()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	match, _, err := n.WaitConsoleFrom(ctx, size, ready)
	if err != nil || match[1] != "3" {
		t.Fatalf("after reset: %q, %v", match, err)
	}

	again, err := Open(n.Spec().Dir) // as another process would
	if err != nil {
		t.Fatal(err)
	}
	if err := again.PowerDown(ctx); err != nil {
		t.Fatal(err)
	}
	mustRun(t, n, false)
	if err := n.Kill(ctx); err != nil {
		t.Fatalf("kill a machine that is off: %v", err)
	}
	all, err := os.ReadFile(n.ConsolePath())
	if err != nil || strings.Count(string(all), "ready") != 3 {
		t.Fatalf("the console file holds not all boots: %q, %v", all, err)
	}
}

func TestMachineSetLink(t *testing.T) {
	ctx := testContext(t)
	n := startTiny(t, ctx, tiny(t))
	for _, nic := range []string{WAN, LAN} {
		for _, up := range []bool{false, true} {
			if err := n.SetLink(ctx, nic, up); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := n.SetLink(ctx, "nonsense", false); err == nil {
		t.Fatal("an unknown interface was accepted")
	}
}

func TestMachineConsoleIsInteractive(t *testing.T) {
	ctx := testContext(t)
	n := startTiny(t, ctx, tiny(t))
	mustBoot(t, ctx, n, "1")
	conn, err := n.DialConsole(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("#hello#")); err != nil {
		t.Fatal(err)
	}
	if _, err := n.WaitConsole(ctx, regexp.MustCompile(`#hello#`)); err != nil {
		t.Fatal(err)
	}
}

func TestMachineStopsAGuestThatDoesNotListen(t *testing.T) {
	ctx := testContext(t)
	n := startTiny(t, ctx, tiny(t))
	if err := n.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	forced, err := n.Stop(ctx, time.Millisecond)
	if err != nil || !forced {
		t.Fatalf("forced %v, %v; want it forced", forced, err)
	}
	mustRun(t, n, false)
	if forced, err := n.Stop(ctx, time.Millisecond); err != nil || forced {
		t.Fatalf("stopping a stopped machine: forced %v, %v", forced, err)
	}
}

func TestMachineSaysWhyQEMUEnded(t *testing.T) {
	spec := tiny(t)
	spec.ExtraArgs = []string{"-device", "no-such-device"}
	n, err := newNode(spec)
	if err != nil {
		t.Fatal(err)
	}
	err = n.Start(testContext(t))
	if err == nil || !strings.Contains(err.Error(), "no-such-device") {
		t.Fatalf("error %v does not hold QEMU's words", err)
	}
	mustRun(t, n, false)
}

func TestMachineFilesAreTheOwnersAlone(t *testing.T) {
	ctx := testContext(t)
	n := startTiny(t, ctx, tiny(t))
	for _, name := range []string{"", diskFile, configFile, specFile, processFile, outputFile} {
		info, err := os.Stat(n.path(name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func TestMachineTakesAnotherPortWhenItsOwnIsTaken(t *testing.T) {
	ctx := testContext(t)
	first := startTiny(t, ctx, tiny(t))
	taken := first.Spec().Forwards[0]
	spec := tiny(t)
	spec.Forwards = []Forward{taken}
	second := startTiny(t, ctx, spec)
	fixed := tiny(t)
	fixed.Forwards = []Forward{{Guest: taken.Guest, Host: taken.Host, Fixed: true}}
	if _, err := Start(ctx, fixed); !errors.Is(err, errPortTaken) {
		t.Fatalf("a fixed port that is taken: %v", err)
	}
	if got := second.Spec().Forwards[0]; got.Host == taken.Host || got.Host == 0 {
		t.Fatalf("both machines forward host port %d", got.Host)
	}
}

func TestMachineDoesNotKeepInheritedFiles(t *testing.T) {
	ctx := testContext(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	// Without close-on-exec, as a parent process leaves a descriptor to this one.
	inherited, err := unix.FcntlInt(write.Fd(), unix.F_DUPFD, 3)
	if err != nil {
		t.Fatal(err)
	}
	startTiny(t, ctx, tiny(t))
	if err := errors.Join(write.Close(), unix.Close(inherited)); err != nil {
		t.Fatal(err)
	}
	if err := read.SetReadDeadline(time.Now().Add(testTimeout)); err != nil {
		t.Fatal(err)
	}
	if n, err := read.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("QEMU holds the pipe open: %v", err)
	}
}
