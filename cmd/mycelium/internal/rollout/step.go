package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// step is one look at all nodes and what follows from it.
type step struct {
	r     *Rollout
	now   time.Time
	nodes map[string]Node
	state State
}

// each calls f for the chosen nodes in the order of the rollout.
func (s *step) each(f func(n Node, m *memory, st stage)) {
	for _, name := range s.r.Order() {
		n := s.node(name)
		f(n, s.r.memory[name], n.stage(s.r.o.Version))
	}
}

func (s *step) node(name string) Node {
	n, ok := s.nodes[name]
	if !ok {
		n = Node{Name: name, Chosen: true, Problem: "nobody knows it any more"}
	}
	return n
}

func (s *step) do(verb Verb, name string, force bool) {
	s.r.memory[name].doing = verb
	s.state.Do = append(s.state.Do, Action{verb, name, force})
	s.say(name, "%s", words[verb])
}

// words for what is done to a node.
var words = map[Verb]string{Stage: "fetches the version", Drain: "is drained", Try: "reboots into the version", Uncordon: "takes pods again"}

func (s *step) say(name, format string, args ...any) {
	s.state.Waits[name] = fmt.Sprintf(format, args...)
}

// waitFor says what a node is waited for, and whether that has lasted too long.
func (s *step) waitFor(what wait, n Node, m *memory, format string, args ...any) (tooLong bool) {
	s.say(n.Name, format, args...)
	m.spoke = s.state.Waits[n.Name]
	if m.wait != what {
		m.wait, m.since = what, s.now
	}
	return s.now.Sub(m.since) >= s.r.o.Patience
}

// inHand says whether a node is down, or about to be, because of a rollout.
func inHand(m *memory, st stage) bool {
	return m.held || m.doing == Drain || m.doing == Try || st == trying || m.tried > 0 && st != there
}

// judge halts the rollout when a node shows that it must not go on.
func (s *step) judge() {
	version := s.r.o.Version
	s.each(func(n Node, m *memory, st stage) {
		switch {
		case m.doing != "":
		case st == refused && m.tried > 0:
			s.r.halt("%s has %w: %s", n.Name, errFailed, n.Refused)
		case st == refused && (!s.r.o.Force || m.forced):
			s.r.halt("%s has failed on %s before: %s. If it is worth another attempt: --force, or \"mycelium update forgive -n %s --version %s\"", version, n.Name, n.Refused, n.Name, version)
		case st == ready && m.tried >= tries && n.BootID != m.boot:
			s.r.halt("the trial of %s on %s was put off %d times: somebody reboots the node", version, n.Name, m.tried)
		case st == missing && m.tried > 0:
			s.r.halt("%s has lost %s from its slot: somebody else updates it", n.Name, version)
		}
	})
}

// stageAll lets all nodes fetch the version that do not have it.
func (s *step) stageAll() {
	s.each(func(n Node, m *memory, st stage) {
		if m.doing == "" && (st == missing || st == refused) {
			s.do(Stage, n.Name, st == refused)
		}
	})
}

// forward takes the nodes on, as many at a time as may be down.
func (s *step) forward() {
	all, fetched := true, true
	s.each(func(n Node, m *memory, st stage) {
		settled := s.settle(n, m, st)
		all = all && settled
		fetched = fetched && m.doing != Stage && (st != away || inHand(m, st))
	})
	if all || s.r.halted != nil {
		s.state.Done = all && s.r.halted == nil
		return
	}
	if !fetched {
		return
	}
	for i, tier := range s.r.tiers {
		open := slices.DeleteFunc(slices.Clone(tier), func(name string) bool {
			n, m := s.node(name), s.r.memory[name]
			return n.stage(s.r.o.Version) == there && !m.held && m.doing == "" && n.up()
		})
		if len(open) == 0 {
			continue
		}
		s.advance(open)
		for _, later := range slices.Concat(s.r.tiers[i+1:]...) {
			if s.state.Waits[later] == "" && s.node(later).stage(s.r.o.Version) == ready {
				s.say(later, "comes later")
			}
		}
		return
	}
}

// settle does what needs no other node's consent: it waits for the node and lets pods
// onto it again. It says whether nothing is left to do to it.
func (s *step) settle(n Node, m *memory, st stage) bool {
	halt := func() {
		s.r.halt("%s: %s, for %v now: look at its screen or its log", n.Name, m.spoke, s.r.o.Patience)
	}
	switch {
	case m.doing != "":
		s.say(n.Name, "%s", words[m.doing])
	case st == away:
		if s.waitFor(itsReturn, n, m, "does not answer: %s", n.Problem) {
			halt()
		}
	case st == trying:
		text := "is on trial"
		if len(n.Waiting) > 0 {
			text += ", still waits for " + strings.Join(n.Waiting, ", ")
		}
		if s.waitFor(itsReturn, n, m, "%s", text) {
			halt()
		}
	case st == there && !n.up():
		if s.waitFor(itsReturn, n, m, "runs %s and is not Ready%s", s.r.o.Version, because(n.NotReady)) {
			halt()
		}
	case st == there && m.held:
		if m.stuck != nil && s.waitFor(uncordoned, n, m, "takes no pods: %v", m.stuck) {
			halt()
			return false
		}
		s.do(Uncordon, n.Name, false)
	case st == there:
		m.wait = nothing
		return true
	case m.tried > 0 && n.BootID == m.boot:
		if s.waitFor(itsReturn, n, m, "has not rebooted") {
			halt()
		}
	case m.wait == itsReturn:
		m.wait = nothing
	}
	return false
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// advance takes nodes of one tier on that have the version staged.
func (s *step) advance(tier []string) {
	// First those that are down already, or left half done.
	slices.SortStableFunc(tier, func(a, b string) int { return cmp.Compare(s.rank(a), s.rank(b)) })
	for _, name := range tier {
		n, m := s.node(name), s.r.memory[name]
		if m.doing != "" || n.stage(s.r.o.Version) != ready || m.tried > 0 && n.BootID == m.boot {
			continue
		}
		if why := s.obstacle(n); why != "" {
			if s.mayWait(n, m, why) {
				continue
			}
			s.r.halt("%s cannot be updated: %s, for %v now", n.Name, why, s.r.o.Patience)
			return
		}
		m.wait = nothing
		if s.r.o.Drain && n.Kubelet && !m.empty {
			s.do(Drain, name, false)
			continue
		}
		m.tried++
		m.boot = n.BootID
		s.do(Try, name, false)
	}
}

// rank orders the nodes of a tier: those in hand, then those that do not work
// anyway.
func (s *step) rank(name string) int {
	n := s.node(name)
	switch {
	case inHand(s.r.memory[name], n.stage(s.r.o.Version)):
		return 0
	case !n.up():
		return 1
	}
	return 2
}

// mayWait says whether a node may go on waiting for an obstacle to go. It waits
// without end for its turn.
func (s *step) mayWait(n Node, m *memory, why string) bool {
	if s.busy(n.Name) != "" {
		m.wait = nothing
		s.say(n.Name, "waits for %s", why)
		return true
	}
	return !s.waitFor(others, n, m, "waits for %s", why)
}

// busy returns a node other than name that a rollout has in hand; empty when there is none.
func (s *step) busy(name string) (other string) {
	s.each(func(n Node, m *memory, st stage) {
		if n.Name != name && other == "" && inHand(m, st) {
			other = n.Name
		}
	})
	return other
}

// obstacle says why a node must not go down now; empty when it may.
func (s *step) obstacle(n Node) string {
	if n.Server {
		if other := s.busy(n.Name); other != "" {
			return other
		}
		return s.missingServer(n.Name)
	}
	down := 0
	var who []string
	s.each(func(o Node, m *memory, st stage) {
		if o.Name != n.Name && (inHand(m, st) || !o.up()) {
			down++
			who = append(who, o.Name)
		}
	})
	if down >= s.r.o.MaxUnavailable {
		return strings.Join(who, ", ")
	}
	return ""
}

// missingServer returns a server other than name that is not up; all must be when
// one goes down, chosen or not.
func (s *step) missingServer(name string) string {
	var out []string
	for _, n := range s.nodes {
		if n.Name == name || !n.Server || n.up() {
			continue
		}
		reason := n.Problem
		switch {
		case n.OnTrial:
			reason = "on trial"
		case reason == "" && !n.APIUp:
			reason = "Kubernetes' API is not up"
		case reason == "":
			reason = "not Ready" + because(n.NotReady)
		}
		out = append(out, fmt.Sprintf("the server %s (%s)", n.Name, reason))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// windDown brings nodes back that are in hand, and begins nothing else.
func (s *step) windDown() {
	s.state.Done = true
	s.r.left = nil
	s.each(func(n Node, m *memory, st stage) {
		if m.doing != "" {
			s.say(n.Name, "%s", words[m.doing])
			s.state.Done = false
			return
		}
		gone := m.tried > 0 && n.BootID == m.boot && st == ready // it has not rebooted yet
		down := st == trying || gone || st == away && (m.held || m.tried > 0) || m.held && !n.up()
		switch {
		case down && !s.waitFor(itsReturn, n, m, "%s", s.why(n, st)):
			s.state.Done = false
		case down:
			s.leave(n, m, s.why(n, st))
		case m.held && (m.stuck == nil || !s.waitFor(uncordoned, n, m, "takes no pods: %v", m.stuck)):
			s.state.Done = false
			s.do(Uncordon, n.Name, false)
		case m.held:
			s.leave(n, m, m.stuck.Error())
		}
	})
}

func (s *step) why(n Node, st stage) string {
	switch {
	case st == away:
		return "does not answer: " + n.Problem
	case st == trying:
		return "is on trial"
	case !n.up():
		return "is not Ready" + because(n.NotReady)
	}
	return "has not rebooted"
}

// leave notes what is left behind.
func (s *step) leave(n Node, m *memory, why string) {
	text := fmt.Sprintf("%s is left behind: it %s.", n.Name, why)
	if m.held {
		text += fmt.Sprintf(" No new pods come to it until the rollout goes on, or \"kubectl uncordon %s\".", n.Name)
	}
	s.r.left = append(s.r.left, text)
}
