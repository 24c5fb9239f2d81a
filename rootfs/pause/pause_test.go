package pause

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
)

func TestProgram(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		b, err := Program(context.Background(), arch)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(b) > 4096 {
			t.Errorf("%s: %d bytes, want at most a page", arch, len(b))
		}
		f, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != machine || f.Type != elf.ET_EXEC {
			t.Errorf("%s: %v %v", arch, f.Machine, f.Type)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				t.Errorf("%s: not static", arch)
			}
		}
		again, err := Program(context.Background(), arch)
		if err != nil || !bytes.Equal(b, again) {
			t.Errorf("%s: two builds differ (%v)", arch, err)
		}
	}
	if _, err := Program(context.Background(), "mips"); err == nil {
		t.Error("mips built")
	}
}

// TestSignals runs the program and ends it the two ways that the kubelet may.
func TestSignals(t *testing.T) {
	b, err := Program(context.Background(), runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pause")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		// The shell leaves a child behind that pause inherits as its own: it
		// must reap it and go on.
		cmd := exec.Command("sh", "-c", "sh -c 'exit 3' & exec \"$0\"", path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, cmd.Process.Pid)
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
	}
}

// waitFor waits until the process pid is our program, waits for signals and has no
// children.
func waitFor(t *testing.T, pid int) {
	t.Helper()
	proc := "/proc/" + strconv.Itoa(pid)
	for {
		exe, err := os.Readlink(proc + "/exe")
		if err != nil {
			t.Fatal(err)
		}
		children, err := os.ReadFile(proc + "/task/" + strconv.Itoa(pid) + "/children")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		call, err := os.ReadFile(proc + "/syscall")
		if err != nil {
			t.Fatal(err)
		}
		waiting := bytes.HasPrefix(call, []byte("128 ")) || bytes.HasPrefix(call, []byte("137 ")) // rt_sigtimedwait
		if filepath.Base(exe) == "pause" && len(children) == 0 && waiting {
			return
		}
		runtime.Gosched()
	}
}

func TestArchive(t *testing.T) {
	b, err := Archive(context.Background(), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(Image)) {
		t.Error("the archive does not hold its name")
	}
}
