package linetable

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program builds the test program and returns it.
func program(t testing.TB, args ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prog")
	args = append(append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", path}, args...), "./testdata/prog")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestStrip runs the stripped program through everything that needs its tables.
func TestStrip(t *testing.T) {
	for _, gcflags := range []string{"", "all=-l"} { // with inlining and without
		b := program(t, "-gcflags="+gcflags)
		full := bytes.Clone(b)
		n, err := Strip(b)
		if err != nil {
			t.Fatal(err)
		}
		if n < len(b)/50 || len(b) != len(full) {
			t.Errorf("%d of %d bytes removed", n, len(b))
		}
		if again, err := Strip(b); err != nil || again != 0 {
			t.Errorf("second time: %d, %v", again, err)
		}
		path := filepath.Join(t.TempDir(), "prog")
		if err := os.WriteFile(path, b, 0o755); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(path).CombinedOutput()
		want := "runtime error: invalid memory address or nil pointer dereference\nmain.main true\n"
		if err != nil || string(out) != want {
			t.Errorf("%v\n%s", err, out)
		}
		out, err = exec.Command(path, "panic").CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("panic: %v", err)
		}
		for _, want := range []string{"line 0\n", "panic: as asked", "main.main()\n\t?:0 +0x"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		checkResolve(t, string(out), full)
		if bytes.Contains(b, []byte("testdata/prog/main.go")) {
			t.Error("a file name is left")
		}
	}
}

// checkResolve expects the unstripped program to know the line of the panic.
func checkResolve(t *testing.T, trace string, full []byte) {
	t.Helper()
	source, err := os.ReadFile("testdata/prog/main.go")
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(source), `panic("as asked")`)
	want := fmt.Sprintf("testdata/prog/main.go:%d +0x", strings.Count(before, "\n")+1)
	var b strings.Builder
	if err := Resolve(&b, strings.NewReader(trace), full); err != nil || !strings.Contains(b.String(), want) {
		t.Errorf("%v; no %q in\n%s", err, want, &b)
	}
	if err := Resolve(&b, strings.NewReader(trace), []byte("no program")); err == nil {
		t.Error("resolved with no program")
	}
}

func TestFunctionName(t *testing.T) {
	for line, want := range map[string]string{
		"main.main()":                           "main.main",
		"main.(*T).F(0xc000012345, {0x1, 0x2})": "main.(*T).F",
		"created by main.start in goroutine 1":  "main.start",
		"goroutine 1 [running]:":                "",
		"panic: as asked":                       "",
		"\t?:0 +0x1d":                           "",
	} {
		if got := functionName(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	good := program(t)
	for name, b := range map[string][]byte{
		"nothing":    nil,
		"no program": []byte("#!/bin/sh\n"),
		"cut off":    good[:len(good)/4],
		"other Go":   bytes.ReplaceAll(good, []byte("go1.26"), []byte("go1.99")),
	} {
		if _, err := Strip(b); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzStrip expects an error or a stripped table of whatever is given, never a panic.
func FuzzStrip(f *testing.F) {
	table := make([]byte, headerSize+8+funcSize+8)
	copy(table, []byte{0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8, 1})
	for i, v := range []byte{headerSize, headerSize, headerSize, headerSize, headerSize} {
		table[8+8*(i+3)] = v
	}
	f.Add(table)
	f.Fuzz(func(t *testing.T, table []byte) {
		if n, err := strip(bytes.Clone(table)); err == nil && (n < 0 || n > len(table)) {
			t.Errorf("%d of %d bytes removed", n, len(table))
		}
	})
}
