package k3sbuild

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const repoRoot = "../.."

// write makes files by relative path below a new folder, which it returns.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

const patchOneToTwo = `Why.

--- a/f.go
+++ b/f.go
@@ -1,2 +1,2 @@
-one
+two
 end
`

func TestApplyPatches(t *testing.T) {
	patches := write(t, map[string]string{
		"0001-two.patch":   patchOneToTwo,
		"0002-three.patch": strings.NewReplacer("-one", "-two", "+two", "+three").Replace(patchOneToTwo),
	})
	dir := write(t, map[string]string{"f.go": "one\nend\n"})
	if err := applyPatches(context.Background(), dir, patches); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, "f.go"); got != "three\nend\n" {
		t.Errorf("patched file: %q", got)
	}
}

func TestApplyPatchesNamesWhatFails(t *testing.T) {
	patches := write(t, map[string]string{"0001-two.patch": patchOneToTwo})
	dir := write(t, map[string]string{"f.go": "other\nend\n"})
	err := applyPatches(context.Background(), dir, patches)
	if err == nil || !strings.Contains(err.Error(), "0001-two.patch") || !strings.Contains(err.Error(), "Hunk #1") {
		t.Errorf("want an error that names the patch and the hunk, have %v", err)
	}
}

func TestMakeImportable(t *testing.T) {
	dir := write(t, map[string]string{
		"a.go":      "// package main is words\npackage main\n\nfunc main() {\n}\n",
		"b_test.go": "package main_test\n",
		"c_test.go": "package main\n",
	})
	if err := makeImportable(dir, "tool"); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"a.go":      "// package main is words\npackage tool\n\n// Main is the program.\nfunc Main() {\n}\n",
		"b_test.go": "package tool_test\n",
		"c_test.go": "package tool\n",
	}
	for name, content := range want {
		if got := read(t, dir, name); got != content {
			t.Errorf("%s: %q, want %q", name, got, content)
		}
	}
	if err := makeImportable(write(t, map[string]string{"a.go": "package x\n"}), "tool"); err == nil {
		t.Error("want an error for a package without func main")
	}
}

func TestRemoveFrom(t *testing.T) {
	m := module{remove: []string{"gone", "p/*.go"}}
	files := map[string]string{"gone/x": "", "p/a.go": "", "p/sub/b.go": "", "q": ""}
	dir := write(t, files)
	if err := m.removeFrom(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"gone": false, "p/a.go": false, "p/sub/b.go": true, "q": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: there = %v, want %v", name, err == nil, want)
		}
	}
	if err := m.removeFrom(write(t, map[string]string{"q": ""})); err == nil {
		t.Error("want an error when there is nothing to remove")
	}
}

func TestPatchedFiles(t *testing.T) {
	got := patchedFiles("why\n--- a/src/x.go\t2026\n+++ b/src/x.go\t2026\n@@ @@\n+++ c\n+++ b/src/y.go\n")
	if want := []string{"src/x.go", "src/y.go"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReadVersions(t *testing.T) {
	v, err := ReadVersions(repoRoot)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(v.Kubernetes, "+k3s") {
		t.Errorf("Kubernetes' version %q is not one of K3s' fork", v.Kubernetes)
	}
	if major, minor := v.majorMinor(); major != "1" || minor == "" {
		t.Errorf("major and minor of %q: %q, %q", v.Kubernetes, major, minor)
	}
}

// TestPatchesApply removes, stubs and patches the pinned versions of all
// changed modules.
func TestPatchesApply(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "trees")
	if err := Prepare(context.Background(), repoRoot, folder, Options{}); err != nil {
		t.Fatal(err)
	}
	etcd := []string{folder, "k3s", "mod", "github.com", "k3s-io", "k3s", "pkg", "etcd"}
	if !strings.Contains(read(t, append(etcd, "snapshot.go")...), "stands in") {
		t.Error("the stub does not stand in the place of etcd's snapshots")
	}
	if strings.Contains(read(t, append(etcd, "etcd.go")...), "s3.") {
		t.Error("etcd.go is not patched")
	}
}

func TestKeyDependsOnVariant(t *testing.T) {
	_, v, err := open(repoRoot)
	if err != nil {
		t.Fatal(err)
	}
	tgt, err := newTarget(context.Background(), repoRoot, "amd64", false)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]Options)
	for _, o := range []Options{{}, {Inline: true}} {
		key, err := k3sProgram(repoRoot, v, o).key(context.Background(), tgt)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[key.String()]; ok {
			t.Errorf("%+v and %+v share a key", o, other)
		}
		seen[key.String()] = o
	}
}
