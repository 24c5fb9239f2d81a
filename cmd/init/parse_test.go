package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/dash"
	"github.com/digital-mycelium/os/pkg/durable"
)

func TestParseCmdline(t *testing.T) {
	tests := []struct {
		in   string
		want cmdline
	}{
		{"", cmdline{panicWait: defaultPanicWait}},
		{"console=ttyS0 quiet", cmdline{panicWait: defaultPanicWait}},
		{"mycelium.board=qemu-amd64 mycelium.panic=3", cmdline{board: "qemu-amd64", panicWait: 3 * time.Second}},
		{"mycelium.panic=0", cmdline{}},
		{"mycelium.panic=-1 mycelium.panic= mycelium.panic=x", cmdline{panicWait: defaultPanicWait}},
		{"mycelium.config=off", cmdline{panicWait: defaultPanicWait, configAt: "off"}},
		{"mycelium.watchdog=off", cmdline{panicWait: defaultPanicWait, noWatchdog: true}},
		{"mycelium.watchdog mycelium.watchdog=0", cmdline{panicWait: defaultPanicWait}},
		{"mycelium.config=http://a/b?c=d#sha256=e", cmdline{panicWait: defaultPanicWait, configAt: "http://a/b?c=d#sha256=e"}},
	}
	for _, tt := range tests {
		if got := parseCmdline(tt.in); got != tt.want {
			t.Errorf("%q: %+v, want %+v", tt.in, got, tt.want)
		}
	}
}

func TestSplitConsoles(t *testing.T) {
	tests := []struct {
		active string
		serial []string
		screen bool
	}{
		{"", nil, false},
		{"tty0 ttyS0", []string{"ttyS0"}, true},
		{"tty0", nil, true},
		{"ttyS0 ttyS1", []string{"ttyS0", "ttyS1"}, false},
		{"tty1 ttyAMA0 hvc0", []string{"ttyAMA0", "hvc0"}, true},
	}
	for _, tt := range tests {
		serial, screen := splitConsoles(tt.active)
		if !slices.Equal(serial, tt.serial) || screen != tt.screen {
			t.Errorf("%q: %v, %v", tt.active, serial, screen)
		}
	}
}

func TestPartitionPath(t *testing.T) {
	for name, want := range map[string]string{"vda": "/dev/vda3", "nvme0n1": "/dev/nvme0n1p3", "mmcblk0": "/dev/mmcblk0p3", "sda": "/dev/sda3"} {
		if got := partitionPath(name, 3); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestDecodeUTF16(t *testing.T) {
	for in, want := range map[string]string{"": "", "a": "", "a\x00b\x00": "ab", "a\x00\x00\x00b\x00": "a"} {
		if got := decodeUTF16([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestFormatKmsg(t *testing.T) {
	tests := map[string]string{
		"6,339,5140900,-;NET: Registered\n SUBSYSTEM=net\n": "[    5.140900] NET: Registered",
		"4,1,12,-,caller=T1;x":                              "[    0.000012] x",
		"no record":                                         "no record",
		"6;short":                                           "short",
		"6,1,x,-;odd":                                       "odd",
	}
	for in, want := range tests {
		if got := formatKmsg([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestParseMountinfo(t *testing.T) {
	tests := []struct {
		line   string
		target string
		ok     bool
	}{
		{"36 35 98:0 / /var rw,noatime shared:1 - ext4 /dev/vda5 rw", "/var", true},
		{"36 35 98:0 / /state rw - ext4 /dev/vda4 rw", "/state", true},
		{"36 35 98:0 / /var/lib/kubelet/pods/x/vol\\040ume rw - tmpfs tmpfs rw", "/var/lib/kubelet/pods/x/vol ume", true},
		{"36 35 0:40 / /run/k3s/containerd/x/rootfs rw - overlay overlay rw", "/run/k3s/containerd/x/rootfs", true},
		{"36 35 0:40 / /run rw - tmpfs tmpfs rw", "/run", false},
		{"36 35 0:40 / /run/x/shm rw - tmpfs shm rw", "/run/x/shm", false},
		{"36 35 0:40 / /variable rw - ext4 /dev/x rw", "/variable", false},
		{"36 35 7:0 / / ro - squashfs /dev/loop0 ro", "/", false},
		{"garbage", "", false},
		{"", "", false},
	}
	for _, tt := range tests {
		target, ok := parseMountinfo(tt.line)
		if ok != tt.ok || ok && target != tt.target {
			t.Errorf("%q: %q, %v", tt.line, target, ok)
		}
	}
}

func TestIsReady(t *testing.T) {
	for in, want := range map[string]bool{"READY=1": true, "READY=1\n": true, "STATUS=x\nREADY=1\n": true, "": false, "READY=10": false, "XREADY=1": false, "STATUS=READY=1": false} {
		if got := isReady(in); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestIsPowerPress(t *testing.T) {
	event := func(kind, code uint16, value uint32) []byte {
		b := make([]byte, inputEventSize)
		binary.LittleEndian.PutUint16(b[16:], kind)
		binary.LittleEndian.PutUint16(b[18:], code)
		binary.LittleEndian.PutUint32(b[20:], value)
		return b
	}
	if !isPowerPress(event(evKey, keyPower, 1)) {
		t.Error("a press is not seen")
	}
	for _, b := range [][]byte{event(evKey, keyPower, 0), event(evKey, keyPower, 2), event(evKey, 30, 1), event(0, 0, 0)} {
		if isPowerPress(b) {
			t.Errorf("%x is no press", b)
		}
	}
}

func TestFirmwareID(t *testing.T) {
	a := firmwareID("4C4C4544-0044-3510-8052-B4C04F4E3132")
	if !hexPattern.MatchString(a) || a != firmwareID("4c4c4544-0044-3510-8052-b4c04f4e3132") {
		t.Errorf("got %q", a)
	}
	for _, uuid := range []string{"", "Not Settable", "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"} {
		if got := firmwareID(uuid); got != "" {
			t.Errorf("%q: %q, want none", uuid, got)
		}
	}
}

func TestLoadMachineID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "machine-id")
	first, err := loadMachineID(path, false)
	if err != nil || !hexPattern.MatchString(first) {
		t.Fatalf("%q, %v", first, err)
	}
	if second, err := loadMachineID(path, false); second != first || err != nil {
		t.Errorf("the id changed from %s to %s (%v)", first, second, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err := loadMachineID(path, false); err != nil || !hexPattern.MatchString(id) {
		t.Errorf("a damaged file gives %q, %v", id, err)
	}
}

func TestReadFloor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	if got, err := readFloor(path); !got.IsZero() || err != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
	if err := durable.WriteFile(path, []byte("1800000000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := readFloor(path); got.Unix() != 1800000000 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := readFloor(path); !got.IsZero() || err == nil {
		t.Errorf("a damaged file: %v, %v", got, err)
	}
}

func TestParseBuildTime(t *testing.T) {
	if got := parseBuildTime("1800000000"); got.Unix() != 1800000000 {
		t.Errorf("got %v", got)
	}
	for _, s := range []string{"", "x", "-5", "0"} {
		if got := parseBuildTime(s); got.Year() < 2026 {
			t.Errorf("%q: %v is no floor", s, got)
		}
	}
}

func TestSysctls(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range append(sysctls(), memorySysctls(2<<30)...) {
		if seen[s.name] {
			t.Errorf("%s stands twice", s.name)
		}
		seen[s.name] = true
		if strings.ContainsAny(s.name, "/ ") || s.value == "" {
			t.Errorf("odd setting %+v", s)
		}
	}
	if got := sysctlPath("net.ipv4.conf.all.rp_filter"); got != "/proc/sys/net/ipv4/conf/all/rp_filter" {
		t.Errorf("path %s", got)
	}
	for total, want := range map[uint64]string{0: "8192", 1 << 30: "8192", 8 << 30: "41943"} {
		if got := memorySysctls(total)[0].value; got != want {
			t.Errorf("%d bytes: %s KiB, want %s", total, got, want)
		}
	}
}

func TestMountTables(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range append(earlyMounts(), rootMounts()...) {
		if seen[p.target] {
			t.Errorf("%s is mounted twice", p.target)
		}
		seen[p.target] = true
		if p.flags&nosuid == 0 {
			t.Errorf("%s allows set-user-id programs", p.target)
		}
		if p.flags&nodev == 0 && !strings.HasPrefix(p.target, "/dev") {
			t.Errorf("%s allows devices", p.target)
		}
	}
}

func TestPaint(t *testing.T) {
	got := paint(dash.Render(dash.View{}, 20, 5))
	if strings.Count(got, "\r\n") != 4 || strings.HasSuffix(got, "\n") {
		t.Errorf("a line end at the bottom scrolls the screen: %q", got)
	}
}

func TestHeart(t *testing.T) {
	h := newHeart()
	if !h.alive() {
		t.Error("dead at birth")
	}
	h.beat(-time.Second)
	if h.alive() {
		t.Error("alive although its time is over")
	}
	h.beat(time.Minute)
	if !h.alive() {
		t.Error("dead although it beats")
	}
}
