package static

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestCheckRefuses(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"+strings.Repeat("true\n", 20)), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ file, arch, want string }{
		{"/bin/sh", runtime.GOARCH, "is not static"},
		{"/bin/sh", "mips", "not for mips"},
		{text, "amd64", "bad magic"},
		{text + "-absent", "amd64", "no such file"},
	} {
		if err := Check(tt.file, tt.arch); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s for %s: %v, want %q", tt.file, tt.arch, err, tt.want)
		}
	}
	if _, err := For("mips"); err == nil {
		t.Error("an unknown architecture has a toolchain")
	}
}
