package api

import "testing"

func TestConsoleRoundTrip(t *testing.T) {
	tests := []struct {
		line string
		want ConsoleEvent
	}{
		{"mycelium: init 0.1.0 started", ConsoleEvent{Kind: EventStarted, Name: "0.1.0"}},
		{"mycelium: phase mounts ok 0.123s", ConsoleEvent{Kind: EventPhase, Name: "mounts", Seconds: 0.123}},
		{"mycelium: phase state failed: e2fsck: exit status 4", ConsoleEvent{Kind: EventPhase, Name: "state", Text: "e2fsck: exit status 4"}},
		{"mycelium: running 2.345s", ConsoleEvent{Kind: EventRunning, Seconds: 2.345}},
		{"mycelium: address eth0 10.0.2.15/24 fec0::1/64", ConsoleEvent{Kind: EventAddress, Name: "eth0", Text: "10.0.2.15/24 fec0::1/64"}},
		{"mycelium: configuration: mycelium.yaml on the EFI partition", ConsoleEvent{Kind: EventConfiguration, Text: "mycelium.yaml on the EFI partition"}},
		{"mycelium: kubernetes up 21.500s", ConsoleEvent{Kind: EventAPI, Seconds: 21.5}},
		{"mycelium: ready 30.100s", ConsoleEvent{Kind: EventReady, Seconds: 30.1}},
		{"mycelium: notready 31.200s: container runtime: down", ConsoleEvent{Kind: EventNotReady, Seconds: 31.2, Text: "container runtime: down"}},
		{"mycelium: service k3s backoff: exit status 1", ConsoleEvent{Kind: EventService, Name: "k3s", Text: "backoff: exit status 1"}},
		{"mycelium: problem: no network: eth0 has no link", ConsoleEvent{Kind: EventProblem, Text: "no network: eth0 has no link"}},
		{"mycelium: solved: no network", ConsoleEvent{Kind: EventSolved, Text: "no network"}},
		{"mycelium: enrolment: mycpub1qqqq", ConsoleEvent{Kind: EventEnrolment, Text: "mycpub1qqqq"}},
		{"mycelium: membership: joining", ConsoleEvent{Kind: EventMembership, Text: "joining"}},
		{"mycelium: membership: member myc1-a34p as server", ConsoleEvent{Kind: EventMembership, Text: "member myc1-a34p as server"}},
		{"mycelium: shutdown: stopping pods", ConsoleEvent{Kind: EventShutdown, Text: "stopping pods"}},
		{"mycelium: reset: wiping DATA", ConsoleEvent{Kind: EventReset, Text: "wiping DATA"}},
		{"mycelium: update: 1.2.3 is on trial", ConsoleEvent{Kind: EventUpdate, Text: "1.2.3 is on trial"}},
		{"mycelium: install: sda: 40 % system", ConsoleEvent{Kind: EventInstall, Text: "sda: 40 % system"}},
		{"mycelium: fatal: phase root: no /root.img", ConsoleEvent{Kind: EventFatal, Text: "phase root: no /root.img"}},
	}
	for _, tt := range tests {
		if got := tt.want.String(); got != tt.line {
			t.Errorf("String() = %q, want %q", got, tt.line)
		}
		for _, line := range []string{tt.line, tt.line + "\r", "[    1.2] usb 1-1: new" + tt.line} {
			got, ok := ParseConsole(line)
			if !ok || got != tt.want {
				t.Errorf("ParseConsole(%q) = %+v, %v, want %+v", line, got, ok, tt.want)
			}
		}
	}
}

func TestParseConsoleForeign(t *testing.T) {
	for _, line := range []string{"", "hello", "mycelium: ", "mycelium: phase", "mycelium: phase x ok fast", "mycelium: unknown: x", "mycelium: running soon"} {
		if e, ok := ParseConsole(line); ok {
			t.Errorf("ParseConsole(%q) = %+v, want none", line, e)
		}
	}
}

func TestConsoleEventOneLine(t *testing.T) {
	got := ConsoleEvent{Kind: EventProblem, Text: "a\nb\r\n\tc"}.String()
	if want := "mycelium: problem: a b c"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzParseConsole(f *testing.F) {
	f.Add("mycelium: phase mounts ok 0.123s")
	f.Add("mycelium: notready 1s: x")
	f.Fuzz(func(t *testing.T, line string) { ParseConsole(line) })
}
