package qemu

import (
	"regexp"
	"strings"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
)

// Boot is what a serial console tells of a boot under way. Feed takes the
// console's output in pieces as they come. The zero value is ready for use.
type Boot struct {
	// Boots counts how often the machine's init has started.
	Boots int
	// Version is init's version, "" until it has started.
	Version string
	// Done are the phases of this boot that have ended well, in order.
	Done []BootPhase
	// Failed is the last phase that failed in this boot, "" when none did, and
	// Reason is what the console said of it. The boot may go on all the same.
	Failed, Reason string
	// Key is the fingerprint that a node shows which belongs to no network yet; zero
	// once it does. Joining says that it has an invite.
	Key     identity.PublicKey
	Joining bool
	// Running says that the boot phases are over.
	Running bool
	// Shutdown is the step of an orderly shutdown under way, "" without one.
	Shutdown string
	// Fatal is why the boot cannot go on, "" when it can.
	Fatal string
	// Panic is the kernel's last word, "" without a kernel panic in this boot.
	Panic string

	stage   string
	partial string
}

// BootPhase is a boot phase that has ended.
type BootPhase struct {
	Name    string
	Seconds float64
}

var kernelPanic = regexp.MustCompile(`(?:^|\] )Kernel panic - not syncing: (.*)`)

// maxPartial bounds the memory of a console line that does not end, in bytes.
const maxPartial = 4 << 10

// Feed takes the next piece of the console's output and reports whether it
// changed anything.
func (b *Boot) Feed(piece []byte) bool {
	changed := false
	text := b.partial + string(piece)
	for {
		line, rest, ended := strings.Cut(text, "\n")
		if !ended {
			break
		}
		text = rest
		if b.line(strings.TrimSpace(Plain([]byte(line)))) {
			changed = true
		}
	}
	if len(text) > maxPartial {
		text = text[len(text)-maxPartial:]
	}
	b.partial = text
	return changed
}

func (b *Boot) line(line string) bool {
	if m := kernelPanic.FindStringSubmatch(line); m != nil {
		b.Panic = m[1]
		return true
	}
	e, ok := api.ParseConsole(line)
	if !ok {
		return false
	}
	switch e.Kind {
	case api.EventStarted:
		*b = Boot{Boots: b.Boots + 1, Version: e.Name}
	case api.EventPhase:
		if e.Text != "" {
			b.Failed, b.Reason, b.stage = e.Name, e.Text, e.Name+" failed"
		} else {
			b.stage = e.Name + " done"
			b.Done = append(b.Done, BootPhase{Name: e.Name, Seconds: e.Seconds})
		}
	case api.EventRunning:
		b.Running = true
	case api.EventFatal:
		b.Fatal = e.Text
	case api.EventEnrolment:
		if key, err := identity.ParsePublicKey(e.Text); err == nil {
			b.Key = key
		}
	case api.EventMembership:
		state, _, _ := strings.Cut(e.Text, " ")
		b.Joining = state == api.Joining
		if state == api.Member {
			b.Key = identity.PublicKey{}
		}
	case api.EventShutdown:
		b.Shutdown = e.Text
	}
	return true
}

// Stage is the boot in a few words: "firmware", the last phase that ended, or
// why it does not go on.
func (b *Boot) Stage() string {
	switch {
	case b.Panic != "":
		return "kernel panic"
	case b.Fatal != "":
		return "boot failed"
	case b.Shutdown != "":
		return "shutdown"
	case b.Joining:
		return "joining the network"
	case b.Key != identity.PublicKey{}:
		return "no member yet"
	case b.Running:
		return "running"
	case b.stage != "":
		return b.stage
	case b.Version != "":
		return "init"
	}
	return "firmware"
}

// End says why this boot cannot go on, "" when it can.
func (b *Boot) End() string {
	if b.Panic != "" {
		return "kernel panic: " + b.Panic
	}
	return b.Fatal
}

// Problem says what went wrong in this boot, "" when nothing did.
func (b *Boot) Problem() string {
	if end := b.End(); end != "" || b.Failed == "" {
		return end
	}
	return "boot phase " + b.Failed + " failed: " + b.Reason
}
