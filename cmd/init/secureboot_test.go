package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/secureboot"
)

func TestNoteSecureBoot(t *testing.T) {
	const vendor = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	for _, test := range []struct {
		variables map[string]byte
		want      string
	}{
		{nil, "unsupported"},
		{map[string]byte{"SecureBoot": 1, "SetupMode": 0}, "on"},
		{map[string]byte{"SecureBoot": 0, "SetupMode": 0}, "off"},
		{map[string]byte{"SecureBoot": 0, "SetupMode": 1}, "setup mode"},
		{map[string]byte{"SecureBoot": 7}, "unsupported"},
	} {
		dir := t.TempDir()
		for name, value := range test.variables {
			if err := os.WriteFile(filepath.Join(dir, name+vendor), []byte{6, 0, 0, 0, value}, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m := newMachine("1.0.0", time.Unix(0, 0))
		m.noteSecureBoot(secureboot.Firmware(dir))
		if s, _ := m.board.Get(); s.SecureBoot != test.want {
			t.Errorf("%v: %q, want %q", test.variables, s.SecureBoot, test.want)
		}
	}
}
