package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/bmap"
)

func TestRows(t *testing.T) {
	var b strings.Builder
	seconds := func(n ...time.Duration) []time.Duration {
		for i := range n {
			n[i] *= time.Second
		}
		return n
	}
	rows(&b, kind{"full", 1, 0.9}, 400, [][]time.Duration{seconds(9, 4, 1), seconds(5, 4), seconds(8)})
	want := `| full | dd | 4.00 s | 100 MiB/s | 1.00 |  |
| full | flash --verify=false | 4.50 s | 89 MiB/s | 0.89 | 0.9: **not met** |
| full | flash | 8.00 s | 50 MiB/s | 0.50 |  |
`
	if b.String() != want {
		t.Errorf("got\n%s", &b)
	}
}

// TestMeasure runs all of it, with a small image and another program in flash's place.
func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "mycelium")
	script := "#!/bin/sh\nfor last; do :; done\ncp \"$(eval echo \\$$(($# - 1)))\" \"$last\"\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := measure(t.Context(), options{mycelium: program, out: dir, sizeMiB: 64, runs: 1}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "flash.md"))
	if err != nil || strings.Count(string(text), "\n") != 8 {
		t.Errorf("%v\n%s", err, text)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "flash*")); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestMakeImage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	if err := makeImage(path, 64*mib, 32); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path + ".bmap")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := bmap.Parse(f)
	if err != nil || m.ImageSize != 64*mib || m.MappedBlocks() != 512 {
		t.Errorf("%v: %d blocks", err, m.MappedBlocks())
	}
}
