//go:build upstream

package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/image/oci"
)

// TestUpstream runs the part of Kubernetes' own end-to-end tests that
// ci/upstream/focus.txt names.
func TestUpstream(t *testing.T) {
	c := start(t)
	dir := filepath.Join(c.suite.Root, "ci/upstream")
	e2e := filepath.Join(c.suite.Out, "bin", "e2e.test")
	agnhost := filepath.Join(c.suite.Out, "bin", "agnhost")
	goTool(t, dir, "test", "-c", "-ldflags=-s -w", "-o", e2e, ".")
	goTool(t, dir, "build", "-trimpath", "-ldflags=-s -w", "-o", agnhost, "k8s.io/kubernetes/test/images/agnhost")

	archive, err := agnhostImages(t, e2e, agnhost)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range archive {
		if err := c.machine.LoadImage(t.Context(), file); err != nil {
			t.Fatal(err)
		}
	}
	focus, err := os.ReadFile(filepath.Join(dir, "focus.txt"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
	defer cancel()
	report := filepath.Join(c.suite.Out, "upstream.xml")
	cmd := exec.CommandContext(ctx, e2e, "-ginkgo.v", "-ginkgo.no-color", "-ginkgo.focus="+focusExpression(string(focus)),
		"-ginkgo.junit-report="+report, "-kubeconfig="+c.kubeconfig, "-provider=local", "-test.timeout=3h",
		"-allowed-not-ready-nodes=0", "-delete-namespace=true", "-dump-logs-on-failure=false",
		"-kubectl-path="+c.kubectl)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	if err := cmd.Run(); err != nil {
		t.Errorf("upstream's tests: %v; report: %s", err, report)
	}
}

// focusExpression makes one expression of a list of test names, one a line;
// empty lines and those that begin with # do not count.
func focusExpression(list string) string {
	var names []string
	for line := range strings.SplitSeq(list, "\n") {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			names = append(names, regexp.QuoteMeta(line))
		}
	}
	return strings.Join(names, "|")
}

func goTool(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
}

// agnhostImages packs agnhost under the names by which the tests ask for it.
func agnhostImages(t *testing.T, e2e, agnhost string) ([]string, error) {
	t.Helper()
	list, err := exec.CommandContext(t.Context(), e2e, "-list-images").Output()
	if err != nil {
		return nil, fmt.Errorf("list of images: %w", err)
	}
	program, err := os.ReadFile(agnhost)
	if err != nil {
		return nil, err
	}
	var files []string
	for name := range strings.FieldsSeq(string(list)) {
		if !regexp.MustCompile(`/agnhost:[0-9.]+$`).MatchString(name) {
			continue
		}
		file := filepath.Join(t.TempDir(), "agnhost.tar")
		f, err := os.Create(file)
		if err != nil {
			return nil, err
		}
		err = oci.Write(f, oci.Image{Name: name, Arch: "amd64", Program: program, Path: "/agnhost"})
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("image %s: %w", name, err)
		}
		files = append(files, file)
	}
	if len(files) == 0 {
		return nil, errors.New("upstream's tests ask for no agnhost image")
	}
	return files, nil
}
