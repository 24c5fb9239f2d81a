package k3sbuild

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// target is what to compile for, and with what.
type target struct {
	arch      string
	goVersion string
	cc        string // C compiler, "" without cgo
	ccVersion string
	libs      string // version of the C libraries, "" without cgo
	env       []string
}

// newTarget describes a build for arch, with a C compiler when cgo is true.
func newTarget(ctx context.Context, repoRoot, arch string, cgo bool) (target, error) {
	t := target{arch: arch, env: []string{"GOOS=linux", "GOARCH=" + arch, "CGO_ENABLED=0"}}
	out, err := runGo(ctx, ".", nil, "env", "GOVERSION")
	if err != nil {
		return t, err
	}
	t.goVersion = string(bytes.TrimSpace(out))
	if !cgo {
		return t, nil
	}
	return t, t.addCompiler(ctx, repoRoot)
}

// compilers are Debian's C compilers by Go's name of the architecture.
func compilers() map[string]string {
	return map[string]string{"amd64": "x86_64-linux-gnu-gcc", "arm64": "aarch64-linux-gnu-gcc"}
}

// addCompiler finds a C compiler and the C library that runc needs.
func (t *target) addCompiler(ctx context.Context, repoRoot string) error {
	t.cc = compilers()[t.arch]
	if t.cc == "" {
		return fmt.Errorf("no C compiler is known for %s", t.arch)
	}
	out, err := exec.CommandContext(ctx, t.cc, "-dumpfullversion").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its version (Debian package %s): %w", t.cc, strings.TrimSuffix(t.cc, "-gcc"), err)
	}
	t.ccVersion = string(bytes.TrimSpace(out))
	t.env = []string{
		"GOOS=linux", "GOARCH=" + t.arch, "CGO_ENABLED=1", "CC=" + t.cc,
		"CGO_CFLAGS=-O2", "CGO_LDFLAGS=-O2",
	}
	return t.addSeccomp(ctx, repoRoot)
}

// flags are the go command's for everything of the program, so that tests and
// builds share compiled packages.
func (t tree) flags(p program, target target) []string {
	flags := []string{
		"-trimpath", "-buildvcs=false", "-mod=readonly",
		"-tags", strings.Join(p.tags, ","),
		"-ldflags", strings.Join(append([]string{"-s", "-w", "-buildid=", "-X", goStamp + "=" + target.goVersion}, p.ldflags...), " "),
	}
	if p.inlined != nil {
		flags = append(flags, "-gcflags=all=-l")
		for _, pattern := range p.inlined { // of several flags the last that matches a package counts
			flags = append(flags, "-gcflags="+pattern+"=")
		}
	}
	if t.overlay != "" {
		flags = append(flags, "-overlay", t.overlay)
	}
	return flags
}

// compile builds the program of the tree into the file out.
func (t tree) compile(ctx context.Context, p program, target target, out string) error {
	args := append([]string{"build", "-o", out}, t.flags(p, target)...)
	if _, err := runGo(ctx, t.src, target.env, append(args, p.target)...); err != nil {
		return err
	}
	return os.Chmod(out, 0o755)
}

// runGo runs the go command in dir with additional environment variables and
// returns what it printed, also when it fails. Settings of the caller's that would change the
// result do not reach it.
func runGo(ctx context.Context, dir string, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local", "GOEXPERIMENT=",
		"GOAMD64=v1", "GOARM64=v8.0")
	cmd.Env = append(cmd.Env, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("go %s in %s: %w\n%s", args[0], filepath.Base(dir), err, lastLines(errs.String(), 30))
	}
	return out.Bytes(), nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
