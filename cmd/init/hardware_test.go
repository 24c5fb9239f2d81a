package main

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/digital-mycelium/os/pkg/api"
)

// writeTree makes files below dir.
func writeTree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for path, content := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadBlockDevices(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{
		"vda/size": "4194304\n", "vda/ro": "0\n", "vda/removable": "0\n",
		"sda/size": "100\n", "sda/ro": "1\n", "sda/removable": "1\n", "sda/device/model": "Flash  Disk     \n",
		"mmcblk0/size": "8\n", "mmcblk0/device/name": "SC16G\n",
		"sdb/size": "0\n", "loop0/size": "8\n", "ram0/size": "8\n", "zram0/size": "8\n", "broken/size": "x\n",
	})
	want := []api.Disk{
		{Name: "mmcblk0", Model: "SC16G", Size: 4096},
		{Name: "sda", Model: "Flash Disk", Size: 51200, Removable: true, ReadOnly: true},
		{Name: "vda", Size: 2 << 30, Boot: true},
	}
	if got := readBlockDevices(dir, "vda"); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := readBlockDevices(dir+"/none", "vda"); got == nil || len(got) != 0 {
		t.Errorf("without sysfs: %#v", got)
	}
}

func TestEmulated(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		text string
		want bool
	}{
		"tcg":      {"processor\t: 0\nmodel name\t: QEMU TCG CPU version 2.5+\nstepping\t: 3\n", true},
		"intel":    {"processor\t: 0\nmodel name\t: Intel(R) Xeon(R)\nstepping\t: 3\n", false},
		"tcg-arm":  {"processor\t: 0\nCPU implementer\t: 0x00\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0x051\n", true},
		"rockchip": {"processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd03\n", false},
	} {
		writeTree(t, dir, map[string]string{name: tt.text})
		if got := emulated(filepath.Join(dir, name)); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestParseLoad(t *testing.T) {
	n := runtime.NumCPU()
	for in, want := range map[string]api.Load{
		"0.20 1.18 12.5 1/80 11206": {One: 0.2, Five: 1.18, Fifteen: 12.5, Processors: n},
		"":                          {Processors: n},
		"x 1":                       {Five: 1, Processors: n},
	} {
		if got := parseLoad(in); got != want {
			t.Errorf("%q: %+v, want %+v", in, got, want)
		}
	}
}
