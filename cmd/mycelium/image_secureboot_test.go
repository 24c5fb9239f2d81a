package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/secureboot"
)

func TestSecureBootKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sub", "keys")
	out, err := execute(t, t.Context(), "image", "secureboot-keys", "--out", dir, "--owner", "Home")
	if err != nil || !strings.Contains(out, `of "Home"`) {
		t.Fatalf("%s, %v", out, err)
	}
	db, err := secureboot.LoadSigner(dir, secureboot.DB)
	if err != nil || db.Certificate.Subject.CommonName != "Home db" {
		t.Errorf("%+v, %v", db, err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "db.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := execute(t, t.Context(), "image", "secureboot-keys", "--out", dir); err == nil || !strings.Contains(err.Error(), "never overwritten") {
		t.Errorf("a second time: %v", err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "db.key")); err != nil || string(after) != string(before) {
		t.Errorf("the key has changed, %v", err)
	}
	if _, err := execute(t, t.Context(), "image", "secureboot-keys", "--out", filepath.Join(dir, "other"), "--owner", "Zuhauße"); err == nil || !strings.Contains(err.Error(), "ASCII") {
		t.Errorf("an owner in other letters: %v", err)
	}
	if _, err := execute(t, t.Context(), "image", "build", "--secureboot-keys", t.TempDir()); err == nil || !strings.Contains(err.Error(), "image secureboot-keys") {
		t.Errorf("a build with keys that are not there: %v", err)
	}
}
