package k3sbuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// extraTests holds, by name of a program, what is laid over its tree to test
// it: tests of our own for what patches and stubs change, as src and mod, and
// checksums of modules that only tests import, as go.sum.
const extraTests = "rootfs/k3sbuild/testdata/trees"

// vetFlags leave out the checks that would analyse all of Kubernetes first,
// for what its functions do with their arguments.
func vetFlags() []string { return []string{"-printf=false", "-lostcancel=false"} }

// Test vets and tests the code of rootfs/k3s and rootfs/k3s/rt, which compiles
// only where the patched modules are, and what was changed in those. It writes
// what the go command printed to w. The compiled packages are those of the
// build.
func Test(ctx context.Context, repoRoot string, w io.Writer) error {
	repoRoot, v, err := open(repoRoot)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range []program{rtProgram(repoRoot, v), k3sProgram(repoRoot, v, Options{})} {
		errs = append(errs, p.test(ctx, repoRoot, w))
	}
	return errors.Join(errs...)
}

func (p program) test(ctx context.Context, repoRoot string, w io.Writer) error {
	target, err := newTarget(ctx, repoRoot, runtime.GOARCH, p.cgo)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "mycelium-test")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	t, err := p.testTree(ctx, repoRoot, filepath.Join(work, p.name))
	if err != nil {
		return err
	}
	plan, flags := testPlan(p.name), t.flags(p, target)
	tested := append([]string{"./..."}, plan.tested...)
	var errs []error
	for _, args := range [][]string{
		slices.Concat([]string{"vet"}, flags, vetFlags(), tested, names(plan.vetted)),
		slices.Concat([]string{"test", "-vet=off", "-skip=" + strings.Join(names(plan.without), "|")}, flags, tested),
	} {
		out, err := runGo(ctx, t.src, target.env, args...)
		if _, err := w.Write(out); err != nil {
			return err
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", args[0], p.name, err))
		}
	}
	return errors.Join(errs...)
}

func names(exceptions []exception) []string {
	var names []string
	for _, e := range exceptions {
		names = append(names, e.name)
	}
	return names
}

// testTree lays p's tree out with the additional tests and without those that
// do not run, which would be vetted.
func (p program) testTree(ctx context.Context, repoRoot, work string) (tree, error) {
	t, err := layOut(ctx, p, work)
	if err != nil {
		return t, err
	}
	for _, dir := range names(testPlan(p.name).vetted) {
		if err := removeTests(filepath.Join(work, "mod", filepath.FromSlash(dir))); err != nil {
			return t, err
		}
	}
	extra := filepath.Join(repoRoot, filepath.FromSlash(extraTests), p.name)
	if err := copyTree(work, extra, func(rel string) bool { return rel == "go.sum" }); err != nil {
		return t, fmt.Errorf("add tests of %s: %w", p.name, err)
	}
	return t, addSums(filepath.Join(t.src, "go.sum"), filepath.Join(extra, "go.sum"))
}

// removeTests removes the tests of the package in dir.
func removeTests(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	return nil
}

// addSums appends the checksums of the file from, which need not exist, to a go.sum.
func addSums(to, from string) error {
	sums, err := os.ReadFile(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	have, err := os.ReadFile(to)
	if err != nil {
		return err
	}
	return os.WriteFile(to, append(have, sums...), 0o644)
}
