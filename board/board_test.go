package board

import (
	"os"
	"strings"
	"testing"
)

func TestLoadAll(t *testing.T) {
	if len(Names()) == 0 {
		t.Fatal("no boards")
	}
	for _, name := range Names() {
		b, err := Load(name)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, f := range b.Kernel.Fragments {
			if _, err := os.Stat(f); err != nil {
				t.Errorf("board %s: kernel fragment: %v", name, err)
			}
		}
	}
	for _, name := range []string{"absent", "../board", ""} {
		if _, err := Load(name); err == nil || !strings.Contains(err.Error(), "qemu-amd64") {
			t.Errorf("board %q: error %v does not list the boards", name, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	data, err := os.ReadFile("qemu-amd64/board.yaml")
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	for _, tt := range []struct{ name, old, with, want string }{
		{"unknown field", "arch:", "archh:", "line 4: field archh not found"},
		{"architecture", "arch: amd64", "arch: mips", `arch "mips"`},
		{"firmware", "firmware:", "firmware: {}\nunused:", "line 16: field unused not found"},
		{"size of the OS file", "goalMiB: 34", "goalMiB: 41", "goalMiB 41 and limitMiB 40"},
		{"absolute path", "path: usr/", "path: /usr/", "want a relative path"},
		{"partition type", "type: slot", "type: swap", `unknown partition type "swap"`},
		{"two of a type", "type: slot", "type: esp", "2 partitions of type esp"},
		{"label twice", "label: B", "label: A", `label "A" is empty or used twice`},
		{"size", "label: STATE, type: state, sizeMiB: 64", "label: STATE, type: state, sizeMiB: -1", "sizeMiB -1"},
		{"second document", "disk:", "---\ndisk:", "more than one"},
	} {
		bad := strings.Replace(good, tt.old, tt.with, 1)
		if bad == good {
			t.Errorf("%s: nothing replaced", tt.name)
		}
		if _, err := Parse([]byte(bad)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

func TestBIOS(t *testing.T) {
	data, err := os.ReadFile("pc/board.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if esp, ok := b.Disk.Number("esp"); !ok || esp != 2 {
		t.Errorf("the EFI system partition is number %d", esp)
	}
	slots := b.Disk.Slots()
	if len(slots) != 2 || slots[0] != (SlotPartition{"A", 3}) || slots[1] != (SlotPartition{"B", 4}) {
		t.Errorf("slots %v", slots)
	}
	for _, tt := range []struct{ old, with, want string }{
		{"type: bios", "type: data", "no partition of type bios"},
		{"package: grub-common", "package: ''", "firmware.bios.tool.package is empty"},
		{"path: usr/lib/grub/i386-pc", "path: ../i386-pc", "want a relative path"},
	} {
		bad := strings.Replace(string(data), tt.old, tt.with, 1)
		if _, err := Parse([]byte(bad)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.old, err, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("qemu-amd64/board.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Parse(data)
		if err == nil && (b == nil || b.validate() != nil) {
			t.Error("accepted a board that does not validate")
		}
	})
}
