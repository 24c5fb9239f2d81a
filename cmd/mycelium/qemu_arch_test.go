package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestImageArch(t *testing.T) {
	bill := func(board string) string {
		return `{"spdxVersion": "SPDX-2.3", "name": "mycelium-os-` + board + `-1.2.3"}`
	}
	for name, tt := range map[string]struct{ image, bill, want, err string }{
		"disk of arm64":       {"disk", bill("qemu-arm64"), "arm64", ""},
		"disk of amd64":       {"disk", bill("qemu-amd64"), "amd64", ""},
		"disk alone":          {"disk", "", "amd64", ""},
		"disk of no board":    {"disk", bill("toaster"), "", `no board "toaster"`},
		"damaged bill":        {"disk", "{", "", "says what the image is for"},
		"damaged OS file":     {"MZ and nothing", bill("qemu-arm64"), "", "no EFI program"},
		"nothing in the file": {"", "", "", "empty"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := map[string]string{"disk.img": tt.image}
			if tt.bill != "" {
				files["manifest.json"] = tt.bill
			}
			for file, content := range files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := imageArch(filepath.Join(dir, "disk.img"))
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q, %v; want %q, an error with %q", got, err, tt.want, tt.err)
			}
		})
	}
}
