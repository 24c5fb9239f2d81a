package k3sbuild

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// changedPackages returns the import paths of what patches and stubs of k3s touch.
func changedPackages(t *testing.T) []string {
	t.Helper()
	var changed []string
	for _, m := range k3sModules() {
		dir := filepath.Join(repoRoot, "rootfs", "k3s", patchesDir, filepath.FromSlash(m.path))
		patches, err := filepath.Glob(filepath.Join(dir, "*.patch"))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range patches {
			for _, file := range patchedFiles(read(t, p)) {
				changed = append(changed, path.Join(m.path, path.Dir(filepath.ToSlash(file))))
			}
		}
	}
	stubs := os.DirFS(filepath.Join(repoRoot, "rootfs", "k3s", stubsDir))
	err := fs.WalkDir(stubs, ".", func(name string, d fs.DirEntry, err error) error {
		if strings.HasSuffix(name, ".go") {
			changed = append(changed, path.Dir(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(changed)
	return slices.Compact(changed)
}

// TestPlanCoversChanges expects each changed package in the test plan once,
// and nothing else there.
func TestPlanCoversChanges(t *testing.T) {
	plan := testPlan("k3s")
	planned := slices.Clone(plan.tested)
	for _, v := range plan.vetted {
		planned = append(planned, v.name)
	}
	for _, e := range slices.Concat(plan.vetted, plan.without) {
		if e.why == "" {
			t.Errorf("%s is not tested, without a reason", e.name)
		}
	}
	slices.Sort(planned)
	if changed := changedPackages(t); !slices.Equal(planned, changed) {
		t.Errorf("planned to test or vet:\n%s\nchanged by patches and stubs:\n%s", strings.Join(planned, "\n"), strings.Join(changed, "\n"))
	}
}

// TestTestTree expects the additional tests and checksums beside the patched modules.
func TestTestTree(t *testing.T) {
	root, v, err := open(repoRoot)
	if err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(t.TempDir(), "k3s")
	tree, err := k3sProgram(root, v, Options{}).testTree(t.Context(), root, work)
	if err != nil {
		t.Fatal(err)
	}
	extra := filepath.Join(root, filepath.FromSlash(extraTests), "k3s")
	if upstream, err := filepath.Glob(filepath.Join(work, "mod/github.com/k3s-io/k3s/pkg/etcd/*_test.go")); err != nil || len(upstream) > 0 {
		t.Errorf("tests that do not run are to be vetted: %q, %v", upstream, err)
	}
	if sums := read(t, tree.src, "go.sum"); !strings.HasSuffix(sums, read(t, extra, "go.sum")) {
		t.Error("go.sum lacks the checksums for tests")
	}
	for _, name := range []string{"src/internal/patched/patched_test.go", "mod/github.com/k3s-io/kine/pkg/drivers/sqlite/patched_test.go"} {
		if got := read(t, work, filepath.FromSlash(name)); got != read(t, extra, filepath.FromSlash(name)) {
			t.Errorf("%s is another file", name)
		}
	}
}
