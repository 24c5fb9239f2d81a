package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
)

var (
	begun     = time.Unix(1e9, 0)
	errBroken = errors.New("broken")
)

// one returns a node in each stage; its boot is "1".
func one(st string) Node {
	n := Node{Name: "a", Kubelet: true, Chosen: true, BootID: "1", Running: old, Ready: true}
	switch st {
	case "away":
		n = Node{Name: "a", Kubelet: true, Chosen: true, Problem: "timeout"}
	case "refused":
		n.Slot, n.Refused = bad, "no network"
	case "staged":
		n.Slot = staged
	case "forced": // staged, although it failed once
		n.Slot, n.Refused = staged, "no network"
	case "trial":
		n.Running, n.OnTrial, n.Waiting, n.Ready = target, true, []string{"the node to be Ready"}, false
	case "between": // two tries of one trial
		n.Slot = trial
	case "there":
		n.Running = target
	case "down":
		n.Running, n.Ready, n.NotReady = target, false, "no CNI"
	}
	return n
}

// memories of a node that a rollout may have.
var memories = map[string]memory{
	"fresh":   {},
	"held":    {held: true},
	"emptied": {held: true, empty: true},
	"asked":   {held: true, empty: true, tried: 1, boot: "1"},
	"back":    {held: true, empty: true, tried: 1, boot: "0"},
	"twice":   {held: true, empty: true, tried: 2, boot: "0"},
}

// told returns in one line what a look at one node leads to.
func told(o Options, n Node, m memory, halted error) string {
	r, err := New(o, []Node{one("missing")}, nil)
	if err != nil {
		return err.Error()
	}
	m.wait, m.since = itsReturn, begun
	r.memory["a"], r.halted = &m, halted
	s := r.Next(begun.Add(time.Second), []Node{n})
	var out []string
	for _, a := range s.Do {
		out = append(out, string(a.Verb)+map[bool]string{true: "!"}[a.Force])
	}
	if r.Halted() != nil && halted == nil {
		out = append(out, "HALT")
	}
	if s.Done {
		out = append(out, "done")
	}
	if len(out) == 0 {
		out = []string{"wait"}
	}
	return strings.Join(out, " ")
}

// Every stage of a node with everything that a rollout can have done to it.
func TestEveryStep(t *testing.T) {
	table := `
           fresh    held       emptied    asked      back       twice
away       wait     wait       wait       wait       wait       wait
missing    stage    stage      stage      HALT       HALT       HALT
refused    HALT     HALT       HALT       HALT       HALT       HALT
staged     drain    drain      try        wait       try        HALT
forced     drain    drain      try        wait       try        HALT
trial      wait     wait       wait       wait       wait       wait
between    wait     wait       wait       wait       wait       wait
there      done     uncordon   uncordon   uncordon   uncordon   uncordon
down       wait     wait       wait       wait       wait       wait
`
	halted := `
           fresh    held       emptied    asked      back       twice
away       done     wait       wait       wait       wait       wait
missing    done     uncordon   uncordon   uncordon   uncordon   uncordon
refused    done     uncordon   uncordon   uncordon   uncordon   uncordon
staged     done     uncordon   uncordon   wait       uncordon   uncordon
forced     done     uncordon   uncordon   wait       uncordon   uncordon
trial      wait     wait       wait       wait       wait       wait
between    wait     wait       wait       wait       wait       wait
there      done     uncordon   uncordon   uncordon   uncordon   uncordon
down       done     wait       wait       wait       wait       wait
`
	o := Options{Version: target, Drain: true, MaxUnavailable: 1, Patience: time.Minute}
	for text, err := range map[string]error{table: nil, halted: errBroken} {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		columns := strings.Fields(lines[0])
		if len(columns) != len(memories) || len(lines) != 10 {
			t.Fatalf("the table has %d columns and %d lines", len(columns), len(lines))
		}
		for _, line := range lines[1:] {
			words := strings.Fields(line)
			for i, column := range columns {
				want := words[i+1]
				got := told(o, one(words[0]), memories[column], err)
				// What was just halted winds down in the same look.
				if first, _, _ := strings.Cut(got, " "); want == "HALT" && strings.Contains(got, want) {
					continue
				} else if first != want {
					t.Errorf("halted %v, %s, %s: %s, want %s", err != nil, words[0], column, got, want)
				}
			}
		}
	}
	// Without draining it is tried at once; with force what has failed is fetched again, once.
	for _, tc := range []struct {
		o    Options
		st   string
		m    memory
		want string
	}{
		{Options{Version: target, MaxUnavailable: 1, Patience: time.Minute}, "staged", memory{}, "try"},
		{Options{Version: target, MaxUnavailable: 1, Patience: time.Minute, Force: true}, "refused", memory{}, "stage!"},
		{Options{Version: target, MaxUnavailable: 1, Patience: time.Minute, Force: true}, "refused", memory{forced: true}, "HALT done"},
		{Options{Version: target, MaxUnavailable: 1, Patience: time.Minute, Force: true}, "refused", memory{tried: 1}, "HALT done"},
		{o, "staged", memory{doing: Stage}, "wait"},
		{o, "missing", memory{doing: Stage}, "wait"},
		{o, "there", memory{held: true, doing: Uncordon}, "wait"},
		{o, "staged", memory{held: true, doing: Drain}, "wait"},
		{o, "staged", memory{held: true, empty: true, tried: 1, boot: "1", doing: Try}, "wait"},
	} {
		if got := told(tc.o, one(tc.st), tc.m, nil); got != tc.want {
			t.Errorf("%s, %+v: %s, want %s", tc.st, tc.m, got, tc.want)
		}
	}
}

// Patience ends every wait with a halt that says why; a node that is halted over is left with a note.
func TestPatience(t *testing.T) {
	o := Options{Version: target, Drain: true, MaxUnavailable: 1, Patience: time.Minute}
	for st, words := range map[string][]string{
		"away":    {"a: does not answer: timeout", "1m0s"},
		"trial":   {"is on trial, still waits for the node to be Ready"},
		"between": {"is on trial"},
		"down":    {"is not Ready: no CNI"},
		"staged":  {"has not rebooted"},
	} {
		r, err := New(o, []Node{one("missing")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.memory["a"] = &memory{held: true, empty: true, tried: 1, boot: "1"}
		if s := r.Next(begun, []Node{one(st)}); r.Halted() != nil || s.Waits["a"] == "" {
			t.Errorf("%s: %v, %+v", st, r.Halted(), s)
		}
		r.Next(begun.Add(59*time.Second), []Node{one(st)})
		if r.Halted() != nil {
			t.Errorf("%s: halted early: %v", st, r.Halted())
		}
		r.Next(begun.Add(time.Minute), []Node{one(st)})
		for _, w := range words {
			if r.Halted() == nil || !strings.Contains(r.Halted().Error(), w) {
				t.Errorf("%s: halted with %v, want %q", st, r.Halted(), w)
			}
		}
		s := r.Next(begun.Add(time.Minute), []Node{one(st)})
		if !s.Done || !strings.Contains(r.Advice(), "a is left behind") || !strings.Contains(r.Advice(), "kubectl uncordon a") {
			t.Errorf("%s: %+v, %q", st, s, r.Advice())
		}
	}
}

func nodes(list ...string) []Node {
	var out []Node
	for _, name := range list {
		out = append(out, Node{Name: name, Server: name[0] == 's', APIUp: name[0] == 's', Kubelet: true, Ready: true, Chosen: true, BootID: "1", Running: old, Slot: staged})
	}
	return out
}

// begins returns what a fresh rollout does first, and of whom it says what.
func begins(t *testing.T, unavailable int, list []Node) (string, map[string]string) {
	t.Helper()
	r, err := New(Options{Version: target, MaxUnavailable: unavailable, Patience: time.Minute}, list, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := r.Next(begun, list)
	var out []string
	for _, a := range s.Do {
		out = append(out, string(a.Verb)+" "+a.Node)
	}
	return strings.Join(out, ", "), s.Waits
}

func TestWhoGoesFirst(t *testing.T) {
	change := func(list []Node, i int, f func(*Node)) []Node { f(&list[i]); return list }
	for name, tc := range map[string]struct {
		unavailable int
		nodes       []Node
		want        string
	}{
		"a server":                    {3, nodes("a1", "s2", "s1"), "try s1"},
		"a server that is broken":     {1, change(nodes("s1", "s2", "s3"), 1, func(n *Node) { n.Ready = false }), "try s2"},
		"none without all servers":    {1, change(change(nodes("s1", "s2", "s3"), 1, func(n *Node) { n.Ready = false }), 2, func(n *Node) { n.Running, n.APIUp = target, false }), ""},
		"nor those that are not ours": {1, change(nodes("s1", "s2", "s3"), 1, func(n *Node) { n.Chosen, n.APIUp = false, false }), ""},
		"nor those on trial":          {1, change(nodes("s1", "s2", "s3"), 1, func(n *Node) { n.Running, n.OnTrial = target, true }), ""},
		"nor before all have it":      {1, change(nodes("s1", "s2"), 1, func(n *Node) { n.Slot = "" }), "stage s2"},
		"nor while one is unknown":    {1, change(nodes("s1", "a1"), 1, func(n *Node) { n.Problem = "timeout" }), ""},
		"agents, as many as may":      {2, change(nodes("s1", "a1", "a2", "a3"), 0, func(n *Node) { n.Running = target }), "try a1, try a2"},
		"agents, one is down":         {2, change(change(nodes("s1", "a1", "a2", "a3"), 0, func(n *Node) { n.Running = target }), 3, func(n *Node) { n.Ready = false }), "try a3, try a1"},
		"agents, before servers down": {1, change(nodes("s1", "a1"), 0, func(n *Node) { n.Running = "2.0.0" }), "try a1"},
	} {
		if got, waits := begins(t, tc.unavailable, tc.nodes); got != tc.want {
			t.Errorf("%s: %q, want %q; %v", name, got, tc.want, waits)
		}
	}
	_, waits := begins(t, 1, change(nodes("s1", "s2", "s3", "a1"), 1, func(n *Node) { n.Chosen, n.APIUp, n.NotReady = false, false, "x" }))
	if want := "waits for the server s2 (Kubernetes' API is not up)"; waits["s1"] != want || waits["a1"] != "comes later" {
		t.Errorf("it says %v, want %q", waits, want)
	}
}

// How actions end.
func TestEnds(t *testing.T) {
	start := func() *Rollout {
		r, err := New(Options{Version: target, Drain: true, MaxUnavailable: 1, Patience: time.Minute}, []Node{one("staged")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for verb, want := range map[Verb]string{Stage: "did not fetch", Drain: "was not drained", Try: "did not try", Uncordon: ""} {
		r := start()
		r.memory["a"].tried = 1
		r.Ended(Action{Verb: verb, Node: "a"}, errBroken, begun)
		if want == "" {
			if r.Halted() != nil {
				t.Errorf("%s: %v", verb, r.Halted())
			}
		} else if !errors.Is(r.Halted(), errBroken) || !strings.Contains(r.Halted().Error(), want) || !strings.Contains(r.Advice(), "same command") {
			t.Errorf("%s: %v, %q", verb, r.Halted(), r.Advice())
		}
	}
	// A node that rolled back.
	r := start()
	r.memory["a"].tried = 1
	r.Next(begun, []Node{one("refused")})
	if r.Halted() == nil || r.Halted().Error() != "a has rolled back: no network" || !strings.Contains(r.Advice(), "--force") {
		t.Errorf("%v, %q", r.Halted(), r.Advice())
	}
	// One that nobody knows any more is waited for.
	if s := start().Next(begun, nil); s.Waits["a"] != "does not answer: nobody knows it any more" {
		t.Errorf("%+v", s)
	}
	// Uncordoning is tried again and again, and then given up.
	r = start()
	r.memory["a"].held = true
	for i := range 3 {
		now := begun.Add(time.Duration(i) * time.Minute)
		if s := r.Next(now, []Node{one("there")}); len(s.Do) != 1 && i < 2 || i == 2 && r.Halted() == nil {
			t.Errorf("look %d: %+v, %v", i, s, r.Halted())
		}
		r.Ended(Action{Verb: Uncordon, Node: "a"}, errBroken, now)
	}
}

func TestNewRefusals(t *testing.T) {
	fixed := one("missing")
	fixed.Fixed = true
	for want, list := range map[string][]Node{"leave it out with --nodes": {fixed}, "two nodes are called a": {one("there"), one("there")}} {
		if _, err := New(Options{MaxUnavailable: 1}, list, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := New(Options{}, nodes("s1"), nil); err == nil {
		t.Error("no node may be down, and yet it begins")
	}
	fixed.Chosen = false
	if _, err := New(Options{MaxUnavailable: 1}, []Node{fixed}, nil); err != nil {
		t.Error(err)
	}
}

func TestSee(t *testing.T) {
	status := func(role string, u *api.Update) *api.Status {
		return &api.Status{Version: old, BootID: "b", Membership: api.Membership{Role: role}, Kubernetes: api.Kubernetes{APIUp: true, NodeReady: true}, Update: u}
	}
	running := api.Slot{Name: "a", Phase: "good", Version: old, Running: true}
	for name, tc := range map[string]struct {
		s    *api.Status
		want stage
		text string // of the refusal
	}{
		"no slots": {status("server", nil), missing, ""},
		"nothing":  {status("server", &api.Update{Slots: []api.Slot{running, {Name: "b", Phase: "empty"}}}), missing, ""},
		"another":  {status("server", &api.Update{Slots: []api.Slot{running, {Name: "b", Phase: staged, Version: "1.0.5"}}}), missing, ""},
		"staged":   {status("agent", &api.Update{Slots: []api.Slot{running, {Name: "b", Phase: staged, Version: target}}}), ready, ""},
		"forced":   {status("agent", &api.Update{Slots: []api.Slot{running, {Name: "b", Phase: staged, Version: target}}, Refused: []api.UpdateVerdict{{Version: target, Reason: "slow"}}}), ready, "slow"},
		"bad":      {status("agent", &api.Update{Slots: []api.Slot{running, {Name: "b", Phase: bad, Version: target, Reason: "slow"}}}), refused, "slow"},
		"mute":     {status("agent", &api.Update{Slots: []api.Slot{running, {Name: "b", Phase: bad, Version: target}}}), refused, "no reason is known"},
		"refused":  {status("agent", &api.Update{Slots: []api.Slot{running}, Refused: []api.UpdateVerdict{{Version: target, Reason: "slow"}}}), refused, "slow"},
		"trial":    {status("agent", &api.Update{Slots: []api.Slot{{Name: "b", Phase: trial, Version: target, Running: true}}}), trying, ""},
		"between":  {status("agent", &api.Update{Slots: []api.Slot{running, {Name: "b", Phase: trial, Version: target}}}), trying, ""},
		"there":    {status("agent", &api.Update{Slots: []api.Slot{{Name: "b", Phase: "good", Version: target, Running: true}}}), there, ""},
	} {
		n := See("x", true, target, tc.s)
		if got := n.stage(target); got != tc.want || n.Refused != tc.text || n.Name != "x" || !n.Kubelet || n.Server != (tc.s.Membership.Role == "server") || n.Fixed != (tc.s.Update == nil) {
			t.Errorf("%s: %s, %+v, want %s", name, got, n, tc.want)
		}
	}
	if n := See("x", true, target, status("client", nil)); n.Kubelet || n.Server || !n.up() {
		t.Errorf("a client is %+v", n)
	}
}

func TestImpact(t *testing.T) {
	for name, tc := range map[string]struct {
		nodes []Node
		drain bool
		want  []string
	}{
		"one node":         {nodes("s1"), false, []string{"only node"}},
		"one server":       {nodes("s1", "a1"), true, []string{"one server"}},
		"agents alone":     {func() []Node { l := nodes("s1", "a1"); l[0].Chosen = false; return l }(), true, nil},
		"two servers":      {nodes("s1", "s2"), true, []string{"two servers"}},
		"three servers":    {nodes("s1", "s2", "s3"), true, nil},
		"nothing drained":  {nodes("s1", "s2", "s3"), false, []string{"Nothing is drained"}},
		"a client as well": {append(nodes("s1"), Node{Name: "c", Chosen: true}), false, []string{"only node"}},
	} {
		got := Impact(tc.nodes, tc.drain)
		if len(got) != len(tc.want) || slices.ContainsFunc(tc.want, func(w string) bool { return !strings.Contains(strings.Join(got, " "), w) }) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func ExampleRollout() {
	list := []Node{{Name: "node-1", Chosen: true, Running: "1.0.0"}}
	r, err := New(Options{Version: "1.1.0", MaxUnavailable: 1, Patience: time.Hour}, list, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Next(time.Now(), list).Do[0])
	// Output: {stage node-1 false}
}
