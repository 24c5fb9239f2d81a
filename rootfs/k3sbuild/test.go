package k3sbuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// Test vets and tests the code of rootfs/k3s and rootfs/k3s/rt, which compiles
// only where the patched modules are, and writes what the go command printed
// to w.
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
	t, err := layOut(ctx, p, filepath.Join(work, p.name))
	if err != nil {
		return err
	}
	out, err := runGo(ctx, t.src, target.env, append(append([]string{"test"}, t.flags(p, target)...), "./...")...)
	if _, printErr := w.Write(out); printErr != nil {
		return printErr
	}
	if err != nil {
		return fmt.Errorf("test %s: %w", p.name, err)
	}
	return nil
}
