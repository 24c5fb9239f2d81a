// Package dash turns a node's status into what a person reads on its console:
// a full-screen overview, and single lines for what changed.
package dash

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/digital-mycelium/os/pkg/api"
)

// View is everything that the overview shows.
type View struct {
	Status api.Status
	// Uptime is the time since the kernel started.
	Uptime time.Duration
	// Log is the last log lines, oldest first.
	Log []string
}

// Render returns the overview as height lines of at most width columns, without
// control characters. It is a pure function of its arguments.
func Render(v View, width, height int) []string {
	width, height = max(width, 20), max(height, 5)
	s := v.Status
	title := "Digital Mycelium OS " + s.Version
	lines := []string{justify(title, s.Board+" "+s.Arch, width), strings.Repeat("-", width)}
	row := func(label, text string) { lines = append(lines, fmt.Sprintf("%-12s%s", label, text)) }
	row("node", s.Name)
	row("addresses", addresses(s.Interfaces))
	for i, text := range membership(s.Membership) {
		row([]string{"network", ""}[min(i, 1)], text)
	}
	row("state", state(s, v.Uptime))
	row("kubernetes", kubernetes(s.Kubernetes))
	row("services", services(s.Services))
	row("memory", memory(s.Memory))
	for _, vol := range s.Volumes {
		row("disk", volume(vol))
	}
	row("time", s.Time.Now.UTC().Format("2006-01-02 15:04 UTC")+" ("+s.Time.Source+")")
	for i, p := range s.Problems {
		label := ""
		if i == 0 {
			label = "PROBLEMS"
		}
		for j, part := range wrap(p, width-12) {
			if j > 0 {
				label = ""
			}
			row(label, part)
		}
	}
	lines = append(lines, strings.Repeat("-", width))
	if room := height - len(lines); room > 0 {
		lines = append(lines, v.Log[max(0, len(v.Log)-room):]...)
	}
	out := make([]string, height)
	for i := range out {
		if i < len(lines) {
			out[i] = clean(lines[i], width)
		}
	}
	return out
}

func justify(left, right string, width int) string {
	gap := max(1, width-len(left)-len(right))
	return left + strings.Repeat(" ", gap) + right
}

func addresses(ifs []api.Interface) string {
	var parts []string
	for _, i := range ifs {
		global := slices.DeleteFunc(slices.Clone(i.Addresses), func(a string) bool { return strings.HasPrefix(a, "fe80:") })
		switch {
		case len(global) > 0:
			parts = append(parts, i.Name+" "+strings.Join(global, " ")+radio(i.Wireless))
		case i.Up:
			parts = append(parts, i.Name+" waits for an address"+radio(i.Wireless))
		case i.Wireless != nil:
			parts = append(parts, i.Name+radio(i.Wireless))
		default:
			parts = append(parts, i.Name+" has no link")
		}
	}
	if len(parts) == 0 {
		return "no network interface"
	}
	return strings.Join(parts, ", ")
}

// radio says what a wireless interface is connected to, or why it is not.
func radio(w *api.Wireless) string {
	switch {
	case w == nil:
		return ""
	case w.SSID == "":
		return strings.TrimRight(" (Wi-Fi: "+w.Reason, ": ") + ")"
	case w.Signal == 0:
		return fmt.Sprintf(" (Wi-Fi %q)", w.SSID)
	}
	return fmt.Sprintf(" (Wi-Fi %q, %d dBm)", w.SSID, w.Signal)
}

// membership says where the node belongs, or how it gets to belong somewhere.
func membership(m api.Membership) []string {
	switch m.State {
	case api.Unconfigured:
		return []string{"none yet: mycelium node enrol ADDRESS, and compare this fingerprint:", m.Key}
	case api.Joining:
		return []string{"joining " + m.Network, m.Key}
	case api.Member:
		return []string{fmt.Sprintf("%s, %s at %s, %d others", m.Network, m.Role, m.Address, len(m.Peers))}
	case api.Removed:
		return []string{"removed from " + m.Network}
	}
	return nil
}

func state(s api.Status, uptime time.Duration) string {
	phase := s.Phase
	if phase != "running" {
		phase = "booting: " + phase
	}
	unit := time.Minute
	if uptime < unit {
		unit = time.Second
	}
	return fmt.Sprintf("%s, up %s", phase, uptime.Truncate(unit))
}

func kubernetes(k api.Kubernetes) string {
	switch {
	case k.NodeReady:
		return fmt.Sprintf("%s, node Ready, %d of %d pods running", k.Version, k.PodsRunning, k.PodsTotal)
	case k.APIUp && k.Reason != "":
		return k.Version + ", node not Ready: " + k.Reason
	case k.APIUp:
		return k.Version + ", node not Ready yet"
	}
	return "starting"
}

func services(list []api.Service) string {
	parts := make([]string, len(list))
	for i, s := range list {
		parts[i] = s.Name + " " + s.State
		if s.Restarts > 0 {
			parts[i] += fmt.Sprintf(" (%d restarts)", s.Restarts)
		}
	}
	if len(parts) == 0 {
		return "none yet"
	}
	return strings.Join(parts, ", ")
}

func memory(m api.Memory) string {
	if m.Total == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%d of %d MiB in use", (m.Total-min(m.Available, m.Total))>>20, m.Total>>20)
}

func volume(v api.Volume) string {
	if v.Size == 0 {
		return v.Label + " " + v.State
	}
	return fmt.Sprintf("%s %s, %d of %d MiB free", v.Label, v.State, v.Free>>20, v.Size>>20)
}

// wrap cuts text into lines of at most width columns at spaces.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

// clean cuts a line to width columns and takes out what is not printable: a
// log line must not move the cursor.
func clean(line string, width int) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.TrimRight(line, "\r\n") {
		if n == width {
			break
		}
		switch {
		case r == '\t':
			r = ' '
		case !unicode.IsPrint(r):
			r = '?'
		}
		b.WriteRune(r)
		n++
	}
	return strings.TrimRight(b.String(), " ")
}
