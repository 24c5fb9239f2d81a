package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRemoveTorn(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"tls/whole.crt": "-----BEGIN CERTIFICATE-----\n", "tls/empty.crt": "", "tls/deep/zeros.key": "\x00\x00\x00",
		"tls/half.key": "-----BEGIN\x00\x00", "server/token": "", "server/whole": "x", "server/db/state.db": "",
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("token", filepath.Join(dir, "server/node-token")); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	err := removeTorn(log, []string{dir + "/tls", dir + "/never-made"}, []string{dir + "/server/*"})
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for name := range files {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			left = append(left, name)
		}
	}
	slices.Sort(left)
	if want := []string{"server/db/state.db", "server/whole", "tls/whole.crt"}; !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q", left, want)
	}
	for _, name := range []string{"tls/empty.crt", "tls/deep/zeros.key", "tls/half.key", "server/token"} {
		if !strings.Contains(said.String(), name) {
			t.Errorf("the log does not say that %s went:\n%s", name, &said)
		}
	}
}

func TestLoadSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	first, err := loadSecret(path)
	if err != nil || !hexPattern.MatchString(first) {
		t.Fatalf("made %q, %v", first, err)
	}
	if again, err := loadSecret(path); err != nil || again != first {
		t.Errorf("read %q, %v; want %q", again, err, first)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	for _, content := range []string{"", "\x00\x00", first[:31], first + first} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := loadSecret(path); err == nil {
			t.Errorf("%q: took %q, want an error", content, s)
		}
		if left, err := os.ReadFile(path); err != nil || string(left) != content {
			t.Errorf("%q was replaced by %q, %v", content, left, err)
		}
	}
}

// TestLoadTwice: whichever of the two places is lost, the secret stays.
func TestLoadTwice(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	secret, err := loadTwice(first, second)
	if err != nil || !hexPattern.MatchString(secret) {
		t.Fatalf("%q, %v", secret, err)
	}
	for _, lost := range []string{first, second, ""} {
		if lost != "" {
			if err := os.Remove(lost); err != nil {
				t.Fatal(err)
			}
		}
		again, err := loadTwice(first, second)
		if err != nil || again != secret {
			t.Errorf("without %q: %q, %v", lost, again, err)
		}
		for _, path := range []string{first, second} {
			if b, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(b)) != secret {
				t.Errorf("without %q: %s holds %q, %v", lost, path, b, err)
			}
		}
	}
	if err := os.WriteFile(second, []byte(newHex()), 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := loadTwice(first, second); err != nil || again != secret {
		t.Errorf("with another second: %q, %v", again, err)
	}
}
