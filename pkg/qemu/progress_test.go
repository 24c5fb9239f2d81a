package qemu

import (
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
)

const bootLog = "\x1b[2J\x1b[01;01HBdsDxe: starting Boot0001\r\n" +
	"[    0.812345] ACPI: on\r\n" +
	"mycelium: init 0.1.0 started\r\n" +
	"mycelium: phase mounts ok 0.012s\r\n" +
	"[    1.2] cut shortmycelium: phase network ok 0.5s\r\n"

var testKey = identity.GenerateKey().Public().String()

func TestBootFeed(t *testing.T) {
	tests := []struct {
		name, log string
		stage     string
		problem   string
		done      int
		boots     int
	}{
		{"nothing", "", "firmware", "", 0, 0},
		{"firmware", "BdsDxe: starting\r\n", "firmware", "", 0, 0},
		{"phases", bootLog, "network done", "", 2, 1},
		{"running", bootLog + "mycelium: running 2.5s\r\n", "running", "", 2, 1},
		{"failed", bootLog + "mycelium: phase state failed: e2fsck: exit status 4\r\n", "state failed", "boot phase state failed: e2fsck: exit status 4", 2, 1},
		{"goes on", bootLog + "mycelium: phase time failed: no server\r\nmycelium: phase services ok 0.1s\r\n", "services done", "boot phase time failed: no server", 3, 1},
		{"panic", bootLog + "[    3.0] Kernel panic - not syncing: VFS: no root\r\n", "kernel panic", "kernel panic: VFS: no root", 2, 1},
		{"fatal", bootLog + "mycelium: fatal: no disk\r\n", "boot failed", "no disk", 2, 1},
		{"again", bootLog + "mycelium: shutdown: rebooting\r\n" + bootLog, "network done", "", 2, 2},
		{"shutdown", bootLog + "mycelium: shutdown: stopping pods\r\n", "shutdown", "", 2, 1},
		{"no member", bootLog + "mycelium: enrolment: " + testKey + "\r\nmycelium: running 2.5s\r\n", "no member yet", "", 2, 1},
		{"member since a boot", bootLog + "mycelium: enrolment: " + testKey + "\r\n" + bootLog, "network done", "", 2, 2},
		{"joining", bootLog + "mycelium: enrolment: " + testKey + "\r\nmycelium: membership: joining myc1-x\r\nmycelium: running 2.5s\r\n", "joining the network", "", 2, 1},
		{"member", bootLog + "mycelium: enrolment: " + testKey + "\r\nmycelium: running 2.5s\r\nmycelium: membership: member myc1-x as agent\r\n", "running", "", 2, 1},
		{"damaged key", bootLog + "mycelium: enrolment: mycpub1qqq\r\n", "network done", "", 2, 1},
		{"half a line", bootLog + "mycelium: phase time o", "network done", "", 2, 1},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 7, len(tt.log) + 1} { // pieces as they may come
			var b Boot
			for rest := tt.log; rest != ""; {
				n := min(size, len(rest))
				b.Feed([]byte(rest[:n]))
				rest = rest[n:]
			}
			if b.Stage() != tt.stage || b.Problem() != tt.problem || len(b.Done) != tt.done || b.Boots != tt.boots {
				t.Errorf("%s in pieces of %d: stage %q, problem %q, %d done, %d boots", tt.name, size,
					b.Stage(), b.Problem(), len(b.Done), b.Boots)
			}
		}
	}
}

func TestBootFeedBoundsAnEndlessLine(t *testing.T) {
	var b Boot
	for range 100 {
		b.Feed([]byte(strings.Repeat("x", 1000)))
	}
	if len(b.partial) > maxPartial {
		t.Fatalf("keeps %d bytes", len(b.partial))
	}
}

func FuzzBootFeed(f *testing.F) {
	f.Add([]byte(bootLog), 5)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		var b Boot
		if cut = max(0, min(cut, len(data))); cut > 0 {
			b.Feed(data[:cut])
		}
		b.Feed(data[cut:])
		if b.Stage() == "" {
			t.Fatal("no stage")
		}
	})
}

func TestObservationStage(t *testing.T) {
	var booted Boot
	booted.Feed([]byte("mycelium: init 1 started\nmycelium: phase network ok 0.1s\n"))
	status := func(change func(*api.Status)) *api.Status {
		s := &api.Status{Phase: "running"}
		change(s)
		return s
	}
	tests := []struct {
		name  string
		o     Observation
		want  string
		ready bool
	}{
		{"off", Observation{}, "off", false},
		{"off after ready", Observation{Status: status(func(s *api.Status) { s.Kubernetes.NodeReady = true })}, "off", false},
		{"console", Observation{Running: true, Boot: booted}, "network done", false},
		{"phase", Observation{Running: true, Boot: booted, Status: status(func(s *api.Status) { s.Phase = "data" })}, "data", false},
		{"api", Observation{Running: true, Boot: booted, Status: status(func(*api.Status) {})}, "Kubernetes API starting", false},
		{"node", Observation{Running: true, Boot: booted, Status: status(func(s *api.Status) { s.Kubernetes.APIUp = true })}, "node not Ready", false},
		{"ready", Observation{Running: true, Boot: booted, Status: status(func(s *api.Status) { s.Kubernetes.NodeReady = true })}, "Ready", true},
	}
	for _, tt := range tests {
		if tt.o.Stage() != tt.want || tt.o.Ready() != tt.ready {
			t.Errorf("%s: stage %q, ready %v", tt.name, tt.o.Stage(), tt.o.Ready())
		}
	}
}

func TestLastLines(t *testing.T) {
	in := "one\r\n\r\n\x1b[31mtwo\x1b[0m  \r\n\x1b]0;title\x07three\x00\n"
	for n, want := range map[int]string{1: "three", 2: "two\nthree", 9: "one\ntwo\nthree"} {
		if got := LastLines([]byte(in), n); got != want {
			t.Errorf("last %d: %q, want %q", n, got, want)
		}
	}
}
