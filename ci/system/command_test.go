package system

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
)

// commandLine: the operator's commands start a network, show it, run the demo
// workload on it and leave nothing running.
func commandLine(t *testing.T, suite *lab.Suite) {
	program := filepath.Join(t.TempDir(), "mycelium")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/mycelium")
	build.Dir = suite.Root
	out, err := build.CombinedOutput()
	must(t, "build: "+string(out), err)
	home := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 16*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_STATE_HOME="+home, "XDG_CACHE_HOME="+home)
		out, err := cmd.CombinedOutput()
		t.Logf("mycelium %s\n%s", strings.Join(args, " "), out)
		must(t, "mycelium "+strings.Join(args, " "), err)
		return string(out)
	}
	const name = "command"
	down := []string{"qemu", "down", "--name", name}
	t.Cleanup(func() {
		cmd := exec.CommandContext(context.Background(), program, down...)
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_STATE_HOME="+home, "XDG_CACHE_HOME="+home)
		_ = cmd.Run() // when the test got that far, it is down already
	})
	run("qemu", "up", "--name", name, "--nodes", "1", "--image", suite.Image, "--wait", "ready", "--timeout", "15m")
	var status any
	must(t, "status as JSON", json.Unmarshal([]byte(run("qemu", "status", "--name", name, "-o", "json")), &status))
	if text := run("qemu", "status", "--name", name); !strings.Contains(strings.ToLower(text), "ready") {
		t.Errorf("the status does not say that the node is Ready:\n%s", text)
	}
	if text := run("qemu", "logs", "--name", name); !strings.Contains(text, "mycelium") {
		t.Errorf("logs:\n%s", text)
	}
	run("qemu", "demo", "--name", name, "--image-archive", suite.Demo)
	run(down...)
	left, err := exec.CommandContext(t.Context(), "pgrep", "-f", home).Output()
	if err == nil {
		t.Errorf("processes are left: %s", left)
	}
}
