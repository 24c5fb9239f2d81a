package board

import (
	"os"
	"strings"
	"testing"
)

func TestUBoot(t *testing.T) {
	b, err := Load("rockchip")
	if err != nil {
		t.Fatal(err)
	}
	u := b.Firmware.UBoot
	first, err := u.Variant("")
	if err != nil || first.Name != "rock64" {
		t.Errorf("the first variant: %+v, %v", first, err)
	}
	v, err := u.Variant("rockpro64")
	if got, want := u.File(v, u.Files[1]).Path, "usr/lib/u-boot/rockpro64-rk3399/u-boot.itb"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if _, err := u.Variant("toaster"); err == nil || !strings.Contains(err.Error(), "rock64, rockpro64") {
		t.Errorf("error %v does not list the variants", err)
	}
}

func TestUBootErrors(t *testing.T) {
	data, err := os.ReadFile("rockchip/board.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, old, with, want string }{
		{"in the partition table", "sector: 64", "sector: 33", "begins at sector 33, want one behind 33"},
		{"in a partition", "startMiB: 16", "startMiB: 8", "u-boot.itb begins at sector 16384"},
		{"no place", "startMiB: 16", "startMiB: 0", "begins at sector 64"},
		{"negative", "startMiB: 16", "startMiB: -1", "disk.startMiB -1"},
		{"no magic", "magic: d00dfeed", "magic: feed me", `magic "feed me"`},
		{"not in order", "sector: 16384", "sector: 40", "want one behind 64"},
		{"a path for a name", "name: idbloader.img", "name: ../idbloader.img", "is no file's name"},
		{"twice", "name: rockpro64", "name: rock64", `"rock64" is empty or used twice`},
		{"absolute folder", "folder: usr", "folder: /usr", "want a relative path"},
		{"no package", "package: u-boot-rockchip", `package: ""`, "firmware.uboot.package is empty"},
	} {
		bad := strings.Replace(string(data), tt.old, tt.with, 1)
		if bad == string(data) {
			t.Errorf("%s: nothing replaced", tt.name)
		}
		if _, err := Parse([]byte(bad)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}
