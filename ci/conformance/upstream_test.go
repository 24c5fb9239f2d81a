//go:build upstream

package conformance

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/image"
	"github.com/digital-mycelium/os/image/oci"
	"github.com/digital-mycelium/os/rootfs/pause"
)

// upstreamLabels choose among the tests that ci/upstream/focus.txt names.
const upstreamLabels = "Conformance && !Serial && !Slow && !Flaky"

// upstream is Kubernetes' own end-to-end tests, compiled.
type upstream struct {
	e2e     string // the tests
	agnhost string // their workload
	focus   []string
}

// TestUpstreamSelection compiles the tests and their workload and expects each
// line of the list to select a test. It needs no machine.
func TestUpstreamSelection(t *testing.T) {
	u := buildUpstream(t)
	out, err := exec.CommandContext(t.Context(), u.e2e, u.args("-ginkgo.dry-run", "-kubeconfig=none")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var selected []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "[sig-") {
			selected = append(selected, strings.TrimSpace(line))
		}
	}
	for _, name := range u.focus {
		n := 0
		for _, s := range selected {
			if strings.HasPrefix(s, name) {
				n++
			}
		}
		t.Logf("%3d %s", n, name)
		if n == 0 {
			t.Errorf("no test is called %q", name)
		}
	}
	t.Logf("%3d tests", len(selected))
}

// TestUpstream runs the part of Kubernetes' own end-to-end tests that
// ci/upstream/focus.txt names.
func TestUpstream(t *testing.T) {
	u := buildUpstream(t)
	c := start(t)
	for _, file := range u.images(t) {
		if err := c.machine.LoadImage(t.Context(), file); err != nil {
			t.Fatal(err)
		}
	}
	report := filepath.Join(c.suite.Out, "upstream.xml")
	cmd := exec.CommandContext(t.Context(), u.e2e, u.args("-ginkgo.junit-report="+report,
		"-kubeconfig="+c.kubeconfig, "-test.timeout=3h", "-allowed-not-ready-nodes=0",
		"-delete-namespace=true", "-dump-logs-on-failure=false", "-kubectl-path="+c.kubectl)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	if err := cmd.Run(); err != nil {
		t.Errorf("upstream's tests: %v; report: %s", err, report)
	}
}

// buildUpstream compiles the tests and their workload into out/test/bin.
func buildUpstream(t *testing.T) upstream {
	t.Helper()
	root, err := image.RepoRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(root, "out", "test", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	u := upstream{e2e: filepath.Join(bin, "e2e.test"), agnhost: filepath.Join(bin, "agnhost")}
	dir := filepath.Join(root, "ci", "upstream")
	goTool(t, dir, "test", "-c", "-ldflags=-s -w", "-o", u.e2e, ".")
	goTool(t, dir, "build", "-trimpath", "-ldflags=-s -w", "-o", u.agnhost, "k8s.io/kubernetes/test/images/agnhost")
	list, err := os.ReadFile(filepath.Join(dir, "focus.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			u.focus = append(u.focus, line)
		}
	}
	return u
}

// args are those of every run of the tests, with more.
func (u upstream) args(more ...string) []string {
	var names []string
	for _, name := range u.focus {
		names = append(names, regexp.QuoteMeta(name))
	}
	return append([]string{
		"-ginkgo.v", "-ginkgo.no-color", "-provider=local",
		"-ginkgo.focus=" + strings.Join(names, "|"), "-ginkgo.label-filter=" + upstreamLabels,
	}, more...)
}

// images packs agnhost and pause under the names by which the tests ask for them.
func (u upstream) images(t *testing.T) []string {
	t.Helper()
	list, err := exec.CommandContext(t.Context(), u.e2e, "-list-images").Output()
	if err != nil {
		t.Fatalf("list of images: %v", err)
	}
	agnhost, err := os.ReadFile(u.agnhost)
	if err != nil {
		t.Fatal(err)
	}
	pauseProgram, err := pause.Program(t.Context(), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^registry\.k8s\.io/(?:e2e-test-images/)?(agnhost|pause):[0-9.]+$`)
	dir := t.TempDir()
	var files []string
	for image := range strings.FieldsSeq(string(list)) {
		m := name.FindStringSubmatch(image)
		if m == nil {
			continue
		}
		program := map[string][]byte{"agnhost": agnhost, "pause": pauseProgram}[m[1]]
		file := filepath.Join(dir, fmt.Sprintf("%d.tar", len(files)))
		if err := writeImage(file, oci.Image{Name: image, Arch: "amd64", Program: program, Path: "/" + m[1]}); err != nil {
			t.Fatalf("image %s: %v", image, err)
		}
		files = append(files, file)
	}
	if len(files) < 2 {
		t.Fatalf("upstream's tests ask for neither agnhost nor pause:\n%s", list)
	}
	return files
}

func writeImage(file string, img oci.Image) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(oci.Write(f, img), f.Close())
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
