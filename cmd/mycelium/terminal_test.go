package main

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asCommand makes the test binary the command itself.
const asCommand = "MYCELIUM_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestTerminalIsNotAsked: commands that only print ask the terminal nothing. A
// package that does so in its init delays every command, by seconds on a
// terminal that does not answer.
func TestTerminalIsNotAsked(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	for args, want := range map[string]string{"version": "mycelium ", "dashboard --help": "Usage:", "network list": "network"} {
		before := time.Now()
		out := onTerminal(t, strings.Fields(args)...)
		if strings.ContainsRune(out, '\x1b') || !strings.Contains(out, want) {
			t.Errorf("mycelium %s writes after %v: %q", args, time.Since(before), out)
		}
	}
}

// onTerminal runs the command in a session with a terminal of its own, which
// never answers, and returns what it shows.
func onTerminal(t *testing.T, args ...string) string {
	t.Helper()
	master, terminal := openTerminal(t)
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1", "TERM=xterm-256color", "COLORTERM=truecolor")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	terminal.Close()
	out, _ := io.ReadAll(master) // it ends with an error, EIO, once nobody has the terminal open
	if err := cmd.Wait(); err != nil {
		t.Errorf("mycelium %s: %v: %q", args, err, out)
	}
	return string(out)
}
