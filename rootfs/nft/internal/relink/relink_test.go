package relink

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// library has what real ones have: its own data with addresses in it, calls to
// the C library, a variable of the C library, and memory that begins as zero.
const library = `
#include <stdio.h>
#include <string.h>
static int counter;
static const char *const words[] = {"zero", "one", "two"};
static int twice(int n) { return 2 * n; }
int (*operation)(int) = twice;
const char *word(int n) { counter++; return words[n]; }
int count(void) { return counter; }
void say(const char *s) { fputs(s, stdout); fputs(strlen(s) > 3 ? " long\n" : " short\n", stdout); }
`

const program = `
#include <stdio.h>
const char *word(int);
int count(void);
void say(const char *);
extern int (*operation)(int);
int main(void) { say(word(0)); say(word(2)); printf("%d %d\n", count(), operation(21)); return 0; }
`

// compile runs gcc in dir.
func compile(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "gcc", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc %q (install it: apt-get install gcc libc6-dev): %v\n%s", args, err, out)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// shared compiles source to a shared object and returns it.
func shared(t *testing.T, dir, source string) []byte {
	t.Helper()
	write(t, filepath.Join(dir, "library.c"), []byte(source))
	compile(t, dir, "-O2", "-fPIC", "-shared", "-o", "library.so", "library.c")
	b, err := os.ReadFile(filepath.Join(dir, "library.so"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConvertedLibraryRuns(t *testing.T) {
	dir := t.TempDir()
	o, err := Convert(bytes.NewReader(shared(t, dir, library)))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "library.s"), o.Assembler)
	write(t, filepath.Join(dir, "text.bin"), o.Text)
	write(t, filepath.Join(dir, "data.bin"), o.Data)
	write(t, filepath.Join(dir, "program.c"), []byte(program))
	args := append([]string{"-static", "-no-pie", "-fno-pie", "-o", "program", "program.c", "library.s"}, o.LinkFlags()...)
	compile(t, dir, args...)
	out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "program")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want := "zero long\ntwo short\n2 42\n"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestConvertRefuses(t *testing.T) {
	for name, source := range map[string]string{
		"thread-local variable": `static __thread int v; int f(void) { return ++v; }`,
		"constructor":           `int v; __attribute__((constructor)) static void f(void) { v = 1; }`,
		"indirect function":     `static int a(void) { return 1; } static void *r(void) { return a; } int f(void) __attribute__((ifunc("r")));`,
	} {
		if _, err := Convert(bytes.NewReader(shared(t, t.TempDir(), source))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Convert(bytes.NewReader([]byte("\x7fELF"))); err == nil {
		t.Error("cut file: no error")
	}
}

func FuzzConvert(f *testing.F) {
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = Convert(bytes.NewReader(b))
	})
}
