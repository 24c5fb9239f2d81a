package api

import (
	"fmt"
	"strconv"
	"strings"
)

// ConsolePrefix begins every line that init prints on the serial console.
const ConsolePrefix = "mycelium: "

// Kinds of console events. They are the first word behind ConsolePrefix, except
// for EventStarted, whose line is "mycelium: init VERSION started".
const (
	// EventStarted is PID 1's first line; Name is the version.
	EventStarted = "init"
	// EventPhase is the end of a boot phase: Name is the phase, Seconds how long
	// it took, Text why it failed (empty when it did not).
	EventPhase = "phase"
	// EventRunning says that the boot phases are over; Seconds since kernel start.
	EventRunning = "running"
	// EventConfiguration says where the configuration comes from: Text.
	EventConfiguration = "configuration"
	// EventAddress is a change of an interface's addresses: Name is the interface,
	// Text the addresses in CIDR form separated by spaces, or "none".
	EventAddress = "address"
	// EventAPI says that Kubernetes' API answers; Seconds since kernel start.
	EventAPI = "kubernetes"
	// EventReady and EventNotReady are changes of the node's Ready condition:
	// Seconds since kernel start, Text the reason.
	EventReady    = "ready"
	EventNotReady = "notready"
	// EventService is a service's change: Name is the service, Text its state and
	// after ": " its last error.
	EventService = "service"
	// EventProblem and EventSolved are the appearance and the end of one of
	// Status.Problems, which is Text.
	EventProblem = "problem"
	EventSolved  = "solved"
	// EventEnrolment says that the node belongs to no network and can be enrolled:
	// Text is its public key, the fingerprint to compare.
	EventEnrolment = "enrolment"
	// EventMembership is a change of the node's membership: Text is its state, and
	// for a member the network's id and its role, "member myc1-... as server".
	EventMembership = "membership"
	// EventShutdown is a step of an orderly shutdown or reboot: Text.
	EventShutdown = "shutdown"
	// EventReset is a step of a reset, which wipes the node: Text.
	EventReset = "reset"
	// EventUpdate is a step of an update, or its verdict: Text.
	EventUpdate = "update"
	// EventInstall is a step of an installation, or how it ended: Text.
	EventInstall = "install"
	// EventFatal is a failure that the boot cannot go on from: Text.
	EventFatal = "fatal"
)

// ConsoleEvent is one line that init prints on the console.
type ConsoleEvent struct {
	Kind    string
	Name    string
	Seconds float64
	Text    string
}

// String returns the event's line, without a line end:
//
//	mycelium: init 0.1.0 started
//	mycelium: phase network ok 0.123s
//	mycelium: phase state failed: e2fsck: exit status 4
//	mycelium: running 2.345s
//	mycelium: configuration: mycelium.yaml on the EFI partition
//	mycelium: address eth0 10.0.2.15/24
//	mycelium: kubernetes up 21.500s
//	mycelium: ready 30.100s
//	mycelium: notready 31.200s: container runtime is down
//	mycelium: service k3s running
//	mycelium: problem: no network: eth0 has no link
//	mycelium: enrolment: mycpub1...
//	mycelium: membership: member myc1-... as server
//	mycelium: shutdown: stopping pods
func (e ConsoleEvent) String() string {
	text := strings.Join(strings.Fields(e.Text), " ")
	switch e.Kind {
	case EventStarted:
		return ConsolePrefix + "init " + e.Name + " started"
	case EventPhase:
		if text != "" {
			return ConsolePrefix + "phase " + e.Name + " failed: " + text
		}
		return fmt.Sprintf("%sphase %s ok %.3fs", ConsolePrefix, e.Name, e.Seconds)
	case EventRunning, EventReady:
		return fmt.Sprintf("%s%s %.3fs", ConsolePrefix, e.Kind, e.Seconds)
	case EventAPI:
		return fmt.Sprintf("%skubernetes up %.3fs", ConsolePrefix, e.Seconds)
	case EventNotReady:
		return fmt.Sprintf("%snotready %.3fs: %s", ConsolePrefix, e.Seconds, text)
	case EventAddress, EventService:
		return ConsolePrefix + e.Kind + " " + e.Name + " " + text
	default:
		return ConsolePrefix + e.Kind + ": " + text
	}
}

// ParseConsole reads a line of a serial console. It reports false for a line
// that is not init's; anything before ConsolePrefix (a kernel message that was
// cut short) and carriage returns are ignored.
func ParseConsole(line string) (ConsoleEvent, bool) {
	_, rest, found := strings.Cut(line, ConsolePrefix)
	if !found {
		return ConsoleEvent{}, false
	}
	rest = strings.TrimRight(rest, "\r\n ")
	word, arg, _ := strings.Cut(rest, " ")
	kind := strings.TrimSuffix(word, ":")
	e := ConsoleEvent{Kind: kind}
	ok := true
	switch kind {
	case EventStarted:
		e.Name, ok = strings.CutSuffix(arg, " started")
	case EventPhase:
		e.Name, arg, _ = strings.Cut(arg, " ")
		if reason, failed := strings.CutPrefix(arg, "failed: "); failed {
			e.Text = reason
			break
		}
		arg, ok = strings.CutPrefix(arg, "ok ")
		if ok {
			e.Seconds, ok = parseSeconds(arg)
		}
	case EventAPI:
		e.Seconds, ok = parseSeconds(strings.TrimPrefix(arg, "up "))
	case EventRunning, EventReady:
		e.Seconds, ok = parseSeconds(arg)
	case EventNotReady:
		arg, e.Text, _ = strings.Cut(arg, ": ")
		e.Seconds, ok = parseSeconds(arg)
	case EventAddress, EventService:
		e.Name, e.Text, ok = strings.Cut(arg, " ")
	case EventConfiguration, EventProblem, EventSolved, EventEnrolment, EventMembership, EventShutdown, EventReset, EventUpdate, EventInstall, EventFatal:
		e.Text = arg
	default:
		ok = false
	}
	if !ok {
		return ConsoleEvent{}, false
	}
	return e, true
}

func parseSeconds(s string) (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSuffix(s, "s"), 64)
	return f, err == nil
}
