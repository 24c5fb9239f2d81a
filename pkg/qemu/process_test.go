package qemu

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// child starts a process that lives until the test ends.
func child(t *testing.T) (*exec.Cmd, process) {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	p, err := identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, p
}

func alive(t *testing.T, p process) bool {
	t.Helper()
	ok, err := p.running()
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestProcessLife(t *testing.T) {
	_, p := child(t)
	if !alive(t, p) {
		t.Fatal("a running process counts as gone")
	}
	if err := p.signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if alive(t, p) {
		t.Fatal("an ended process, not yet waited for, counts as running")
	}
	if err := p.signal(unix.SIGKILL); err != nil {
		t.Fatalf("signal an ended process: %v", err)
	}
}

func TestProcessWithAnothersNumberIsLeftAlone(t *testing.T) {
	for name, change := range map[string]func(*process){
		"start time": func(p *process) { p.Started++ },
		"boot":       func(p *process) { p.BootID = "another" },
		"zero":       func(p *process) { *p = process{} },
	} {
		t.Run(name, func(t *testing.T) {
			_, real := child(t)
			recorded := real
			change(&recorded)
			if alive(t, recorded) {
				t.Error("it counts as running")
			}
			if err := recorded.signal(unix.SIGKILL); err != nil {
				t.Error(err)
			}
			if err := recorded.wait(t.Context()); err != nil {
				t.Error(err)
			}
			if !alive(t, real) {
				t.Error("the process that has the number now was killed")
			}
		})
	}
}

func TestParseStat(t *testing.T) {
	const rest = " 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2"
	tests := []struct {
		line    string
		state   byte
		started uint64
		ok      bool
	}{
		{"7 (sleep) S 1" + rest, 'S', 4242, true},
		{"7 (a) b) (c) Z 1" + rest, 'Z', 4242, true},
		{"7 (sleep) S 1 2 3", 0, 0, false},
		{"7 sleep S", 0, 0, false},
		{"", 0, 0, false},
	}
	for _, tt := range tests {
		state, started, err := parseStat(tt.line)
		if (err == nil) != tt.ok || state != tt.state || started != tt.started {
			t.Errorf("parseStat(%q) = %c, %d, %v", tt.line, state, started, err)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("7 (sleep) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2")
	f.Fuzz(func(_ *testing.T, line string) {
		_, _, _ = parseStat(line) // it must not panic
	})
}

func TestRunRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), processFile)
	r, err := readRun(path)
	if err != nil || r.PID != 0 {
		t.Fatalf("without a record: %+v, %v", r, err)
	}
	want := run{process: process{PID: 7, Started: 8, BootID: "b"}, Console: 9}
	if err := writeRun(path, want); err != nil {
		t.Fatal(err)
	}
	if got, err := readRun(path); err != nil || got.process != want.process || got.Console != want.Console {
		t.Fatalf("read back %+v, %v; want %+v", got, err, want)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readRun(path); err == nil {
		t.Fatal("a broken record was read")
	}
}

func TestIdentifyNobody(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := identify(cmd.Process.Pid); !errors.Is(err, errGone) {
		t.Fatalf("identify an ended process: %v", err)
	}
}
