package system

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/ci/lab"
)

// commandLine: the operator's commands start a network, show it, run the demo
// workload on it and leave nothing running.
func commandLine(t *testing.T, suite *lab.Suite) {
	s := newShell(t, suite)
	const name = "command"
	down := []string{"qemu", "down", "--name", name}
	t.Cleanup(func() {
		_ = s.command(context.Background(), down...).Run() // when the test got that far, it is down already
	})
	s.run("qemu", "up", "--name", name, "--nodes", "1", "--image", suite.Image, "--wait", "ready", "--timeout", "15m")
	var status any
	must(t, "status as JSON", json.Unmarshal([]byte(s.run("qemu", "status", "--name", name, "-o", "json")), &status))
	if text := s.run("qemu", "status", "--name", name); !strings.Contains(strings.ToLower(text), "ready") {
		t.Errorf("the status does not say that the node is Ready:\n%s", text)
	}
	if text := s.run("qemu", "logs", "--name", name); !strings.Contains(text, "mycelium") {
		t.Errorf("logs:\n%s", text)
	}
	s.run("qemu", "demo", "--name", name, "--image-archive", suite.Demo)
	s.run(down...)
	left, err := exec.CommandContext(t.Context(), "pgrep", "-f", s.home).Output()
	if err == nil {
		t.Errorf("processes are left: %s", left)
	}
}
