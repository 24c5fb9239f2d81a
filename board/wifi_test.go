package board

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestWiFi(t *testing.T) {
	for _, tt := range []struct {
		name string
		has  bool
		with string
	}{
		{"pc", false, "pc-wifi"}, {"pc-wifi", true, "pc-wifi"}, {"rpi", true, "rpi"},
	} {
		b, err := Load(tt.name)
		if err != nil {
			t.Fatal(err)
		}
		if b.Name != tt.name || b.HasWiFi() != tt.has || slices.Contains(b.Kernel.Fragments, "kernel-wifi.config") != tt.has {
			t.Errorf("%s: %s has Wi-Fi: %v; %v", tt.name, b.Name, b.HasWiFi(), b.Kernel.Fragments)
		}
		for _, f := range b.Kernel.Fragments {
			if _, err := os.Stat(f); err != nil {
				t.Errorf("board %s: %v", tt.name, err)
			}
		}
		if with, err := WithWiFi(tt.name); err != nil || with != tt.with {
			t.Errorf("%s with Wi-Fi: %s, %v", tt.name, with, err)
		}
	}
	for _, name := range []string{"qemu-amd64-wifi", "rpi-wifi", "-wifi", "pc-wifi-wifi"} {
		if b, err := Load(name); err == nil {
			t.Errorf("%s is %+v", name, b)
		}
	}
	if _, err := WithWiFi("qemu-amd64"); err == nil || !strings.Contains(err.Error(), "there are: pc, rpi") {
		t.Errorf("%v", err)
	}
}

func TestWiFiErrors(t *testing.T) {
	data, err := os.ReadFile("rpi/board.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ old, with, want string }{
		{"fragments: [kernel-wifi.config, rpi/wifi.config]", "fragments: []", "fragments and firmware"},
		{"fragments: [kernel-wifi.config, rpi/wifi.config]", "fragments: [/x]", "relative path"},
		{"license: ISC", "license: ''", "license and files"},
		{"files: [regulatory.db-upstream", "files: ['[a'", "pattern"},
		{"regulatory.db-upstream: regulatory.db,", "regulatory.db-upstream: ../x,", "relative path"},
	} {
		bad := strings.Replace(string(data), tt.old, tt.with, 1)
		if bad == string(data) {
			t.Errorf("%s: nothing replaced", tt.old)
		}
		if _, err := Parse([]byte(bad)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.with, err, tt.want)
		}
	}
}
