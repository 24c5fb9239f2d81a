package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestDropUnread: what nobody has read is deleted if it is on the list.
func TestDropUnread(t *testing.T) {
	dir := t.TempDir()
	written := time.Unix(1_700_000_000, 0)
	for name, read := range map[string]time.Time{
		"unread": written, "read": written.Add(time.Millisecond), "sub/unread": written.Add(-time.Second), "other": written,
		"FIXED": written,
	} {
		path := filepath.Join(dir, name)
		content := "four"
		if name == "FIXED" {
			content = "unread\nread\nsub/unread\nlink\nabsent\n../x\n"
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, read, written); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("read", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	freed, err := dropUnread(dir, "FIXED")
	if freed != 8 || err == nil { // of the path outside
		t.Errorf("%d bytes, %v", freed, err)
	}
	var left []string
	for _, glob := range []string{"*", "sub/*"} {
		paths, err := filepath.Glob(filepath.Join(dir, glob))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			left = append(left, filepath.Base(p))
		}
	}
	if slices.Sort(left); !slices.Equal(left, []string{"link", "other", "read", "sub"}) {
		t.Errorf("left: %q", left)
	}
}
