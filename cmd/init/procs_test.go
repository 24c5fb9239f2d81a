package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReap plays PID 1: the test process adopts the orphans of its children.
func TestReap(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	p := newProcs()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.reap(ctx) }()
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			// Leaves an orphan behind that ends at once, and one that ends later.
			script := "(sleep 0.2; exit 9) & echo $! > " + filepath.Join(dir, strconv.Itoa(i)) + "; (exit 8) & exit " + strconv.Itoa(i)
			_, err := p.output(exec.Command("sh", "-c", script))
			var exit *exec.ExitError
			if code := 0; errors.As(err, &exit) {
				code = exit.ExitCode()
				if code != i {
					t.Errorf("exit status %d, want %d", code, i)
				}
			} else if err != nil || i != 0 {
				t.Errorf("process %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for i := range 20 {
		b, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		// The orphans are buried; until then they are children of ours.
		for exists := true; exists; time.Sleep(10 * time.Millisecond) {
			_, err := os.Stat("/proc/" + strings.TrimSpace(string(b)))
			exists = err == nil
		}
	}
	cancel()
	<-done
	if len(p.own) != 0 {
		t.Errorf("%d processes are never forgotten", len(p.own))
	}
}

func TestRootFormat(t *testing.T) {
	image := func(off int, magic string) []byte {
		b := make([]byte, 4096)
		copy(b[off:], magic)
		return b
	}
	for want, b := range map[string][]byte{"squashfs": image(0, "hsqs"), "erofs": image(1024, "\xe2\xe1\xf5\xe0"), "": image(0, "")} {
		path := filepath.Join(t.TempDir(), "root.img")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := rootFormat(path)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if _, err := rootFormat("/nonexistent"); err == nil {
		t.Error("no error without an image")
	}
}

func TestEmptyInitramfs(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/a/b", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/x", "/a/y", "/a/b/z"} {
		if err := os.WriteFile(dir+name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := emptyInitramfs(dir, dir+"/a"); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); len(left) != 1 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := os.Stat(dir + "/a/b/z"); err != nil {
		t.Error(err)
	}
	if err := emptyInitramfs(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); len(left) != 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestCopyFile(t *testing.T) {
	dir := t.TempDir()
	from, to := dir+"/from", dir+"/new/to"
	for _, content := range []string{"one", "one", "two"} {
		if err := os.WriteFile(from, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := copyFile(from, to); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(to); string(got) != content || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if left, _ := os.ReadDir(dir + "/new"); len(left) != 1 {
		t.Errorf("files left behind: %v", left)
	}
	if err := copyFile(dir+"/absent", to); err == nil {
		t.Error("no error without a source")
	}
}

func TestDeviceAliases(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"/pci0/modalias":      "pci:v1\n",
		"/pci0/dev1/modalias": "virtio:d1\n",
		"/pci0/dev2/modalias": "virtio:d1\n",
		"/soc/uevent":         "OF_NAME=x\nMODALIAS=of:Nx\n",
		"/soc/other":          "pci:no",
	}
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(dir+name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(deviceAliases(dir), " "); got != "of:Nx pci:v1 virtio:d1" {
		t.Errorf("got %q", got)
	}
}

func TestEndStrays(t *testing.T) {
	dir := t.TempDir() // stands for a cgroup
	start := func(name string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), name, "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	stray := start("sleep")
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", stray.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = stray.Wait(); close(ended) }()
	pids := fmt.Sprintln(stray.Process.Pid) + fmt.Sprintln(os.Getpid())
	if err := os.WriteFile(dir+"/cgroup.procs", []byte(pids), 0o600); err != nil {
		t.Fatal(err)
	}
	endStrays(dir, exe)
	<-ended // and this test still runs
}
