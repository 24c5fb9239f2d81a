package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestStartedFromDisk(t *testing.T) {
	dir := t.TempDir()
	for mode, want := range map[string]bool{"": false, "\x00\x00\x00\x01": true, "\x00\x00\x00\x02": false, "\x00\x00\x00\x04": true, "\x00\x00\x00\x06": true, "\x06": false} {
		if err := os.WriteFile(filepath.Join(dir, "boot-mode"), []byte(mode), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := startedFromDisk(dir); got != want {
			t.Errorf("mode %q: %v", mode, got)
		}
	}
	if startedFromDisk(filepath.Join(dir, "none")) {
		t.Error("no Raspberry Pi was started from a disk")
	}
}
