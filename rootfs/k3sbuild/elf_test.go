package k3sbuild

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// compileFor builds a small program and returns its path.
func compileFor(t *testing.T, arch string, flags ...string) string {
	t.Helper()
	dir := write(t, map[string]string{"go.mod": "module p\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() { println() }\n"})
	path := filepath.Join(dir, "p")
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build", "-o", path}, flags...), ".")...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func TestCheckProgram(t *testing.T) {
	arm64, pie := compileFor(t, "arm64"), compileFor(t, "amd64", "-buildmode=pie")
	text := filepath.Join(write(t, map[string]string{"x": "#!/bin/sh\n"}), "x")
	for _, tt := range []struct {
		what, path, arch string
		ok               bool
	}{
		{"static", arm64, "arm64", true},
		{"another processor's", arm64, "amd64", false},
		{"of an unknown processor", arm64, "riscv64", false},
		{"with an interpreter", pie, "amd64", false},
		{"no program", text, "amd64", false},
		{"no file", text + "x", "amd64", false},
	} {
		if err := checkProgram(tt.path, tt.arch); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}
