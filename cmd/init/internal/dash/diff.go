package dash

import (
	"slices"
	"strings"

	"github.com/digital-mycelium/os/pkg/api"
)

// Diff returns the lines for a serial console that say how b differs from a,
// at the given time since the kernel started, in seconds.
func Diff(a, b api.Status, uptime float64) []api.ConsoleEvent {
	var events []api.ConsoleEvent
	add := func(e api.ConsoleEvent) { events = append(events, e) }
	if b.Configuration != a.Configuration {
		add(api.ConsoleEvent{Kind: api.EventConfiguration, Text: b.Configuration})
	}
	for _, i := range b.Interfaces {
		old := slices.IndexFunc(a.Interfaces, func(o api.Interface) bool { return o.Name == i.Name })
		if old >= 0 && slices.Equal(a.Interfaces[old].Addresses, i.Addresses) || old < 0 && len(i.Addresses) == 0 {
			continue
		}
		text := strings.Join(i.Addresses, " ")
		if text == "" {
			text = "none"
		}
		add(api.ConsoleEvent{Kind: api.EventAddress, Name: i.Name, Text: text})
	}
	if o, n := a.Membership, b.Membership; o.State != n.State || o.Network != n.Network || o.Role != n.Role {
		events = append(events, belonging(n)...)
	}
	for _, s := range b.Services {
		old := slices.IndexFunc(a.Services, func(o api.Service) bool { return o.Name == s.Name })
		if old >= 0 && a.Services[old].State == s.State {
			continue
		}
		text := s.State
		if s.LastError != "" && s.State != "running" {
			text += ": " + s.LastError
		}
		add(api.ConsoleEvent{Kind: api.EventService, Name: s.Name, Text: text})
	}
	if b.Kubernetes.APIUp && !a.Kubernetes.APIUp {
		add(api.ConsoleEvent{Kind: api.EventAPI, Seconds: uptime})
	}
	switch {
	case b.Kubernetes.NodeReady && !a.Kubernetes.NodeReady:
		add(api.ConsoleEvent{Kind: api.EventReady, Seconds: uptime})
	case !b.Kubernetes.NodeReady && a.Kubernetes.NodeReady:
		add(api.ConsoleEvent{Kind: api.EventNotReady, Seconds: uptime, Text: b.Kubernetes.Reason})
	}
	for _, p := range a.Problems {
		if !slices.Contains(b.Problems, p) {
			add(api.ConsoleEvent{Kind: api.EventSolved, Text: p})
		}
	}
	for _, p := range b.Problems {
		if !slices.Contains(a.Problems, p) {
			add(api.ConsoleEvent{Kind: api.EventProblem, Text: p})
		}
	}
	return events
}

// belonging returns the lines about a membership that has changed.
func belonging(m api.Membership) []api.ConsoleEvent {
	enrolment := api.ConsoleEvent{Kind: api.EventEnrolment, Text: m.Key}
	switch m.State {
	case api.Unconfigured:
		return []api.ConsoleEvent{enrolment}
	case api.Joining:
		return []api.ConsoleEvent{enrolment, {Kind: api.EventMembership, Text: m.State + " " + m.Network}}
	case api.Member:
		return []api.ConsoleEvent{{Kind: api.EventMembership, Text: m.State + " " + m.Network + " as " + m.Role}}
	case "":
		return nil
	}
	return []api.ConsoleEvent{{Kind: api.EventMembership, Text: m.State + " " + m.Network}}
}
