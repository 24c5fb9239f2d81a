package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/image/sbom"
)

func TestImageArch(t *testing.T) {
	bill := func(board string) string {
		b, err := sbom.Write(sbom.Image{Board: board, Version: "1.2.3", SHA256: strings.Repeat("0a", 32), Size: 1, Components: []component.Component{{Name: "c", License: "MIT", SHA256: strings.Repeat("0a", 32), Source: "pkg:generic/c", Version: "1", Path: "c"}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
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
