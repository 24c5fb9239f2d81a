package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// holds checks that path has the content and the mode, and that its directory
// has nothing else.
func holds(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	data, err := os.ReadFile(path)
	noErr(t, err)
	fi, err := os.Stat(path)
	noErr(t, err)
	if string(data) != content || fi.Mode() != mode {
		t.Errorf("%s holds %q with mode %v, want %q and %v", path, data, fi.Mode(), content, mode)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	noErr(t, err)
	if len(entries) != 1 {
		t.Errorf("beside %s there are %v", path, entries)
	}
}

func TestWriteFile(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	path := filepath.Join(t.TempDir(), "file")
	noErr(t, WriteFile(path, []byte("one"), 0o644))
	holds(t, path, "one", 0o644)
	noErr(t, WriteFile(path, []byte("two"), 0o444)) // another mode, and nobody can write it then
	holds(t, path, "two", 0o444)
	noErr(t, WriteFile(path, nil, 0o600))
	holds(t, path, "", 0o600)
}

func TestCreateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	noErr(t, CreateFile(path, []byte("one"), 0o600))
	if err := CreateFile(path, []byte("two"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created again: %v", err)
	}
	holds(t, path, "one", 0o600)
}

// What a crash left does not come into the file, nor does its mode, nor does it
// lead elsewhere.
func TestLeftovers(t *testing.T) {
	for name, leave := range map[string]func(temp, elsewhere string) error{
		"longer": func(temp, _ string) error { return os.WriteFile(temp, bytes.Repeat([]byte("x"), 100), 0o644) },
		"locked": func(temp, _ string) error { return os.WriteFile(temp, nil, 0) },
		"link":   func(temp, elsewhere string) error { return os.Symlink(elsewhere, temp) },
	} {
		for what, write := range map[string]func(string, []byte, fs.FileMode) error{"write": WriteFile, "create": CreateFile} {
			path, elsewhere := filepath.Join(t.TempDir(), "file"), filepath.Join(t.TempDir(), "other")
			noErr(t, leave(Temporary(path), elsewhere))
			if err := write(path, []byte("new"), 0o600); err != nil {
				t.Errorf("%s, %s: %v", what, name, err)
				continue
			}
			holds(t, path, "new", 0o600)
			if _, err := os.Lstat(elsewhere); err == nil {
				t.Errorf("%s, %s: it was written through the link", what, name)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	busy := filepath.Join(dir, "busy")
	noErr(t, os.MkdirAll(filepath.Join(busy, "in it"), 0o700))
	for path, want := range map[string]error{
		filepath.Join(dir, "no", "file"): fs.ErrNotExist,
		"/sys/kernel/mycelium-test":      fs.ErrPermission, // read-only for everybody, root included
		busy:                             fs.ErrExist,      // a directory in the file's place
	} {
		if err := WriteFile(path, []byte("x"), 0o600); !errors.Is(err, want) {
			t.Errorf("write %s: %v, want %v", path, err, want)
		}
		if _, err := os.Lstat(Temporary(path)); err == nil {
			t.Errorf("a refused write left %s", Temporary(path))
		}
	}
}

// Writers of one file do not mix: each content is one's whole.
func TestConcurrentWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				if err := WriteFile(path, bytes.Repeat([]byte{byte('a' + i)}, 1+1000*i), 0o600); err != nil {
					t.Error(err)
				}
				data, err := os.ReadFile(path)
				if err != nil || len(data) != 1+1000*int(data[0]-'a') || len(bytes.Trim(data, string(data[:1]))) > 0 {
					t.Errorf("read %d bytes that no writer wrote: %v", len(data), err)
				}
			}
		})
	}
	wg.Wait()
	noErr(t, os.Remove(path)) // and of those that create it one wins
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { errs[i] = CreateFile(path, nil, 0o600) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d creates won", won)
	}
}

func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b")
	for range 2 {
		noErr(t, MkdirAll(path, 0o700))
		if fi, err := os.Stat(path); err != nil || fi.Mode() != fs.ModeDir|0o700 {
			t.Errorf("%v, %v", fi.Mode(), err)
		}
	}
	noErr(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	for _, path := range []string{filepath.Join(dir, "file"), filepath.Join(dir, "file", "a")} {
		if err := MkdirAll(path, 0o700); !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
