package rollout

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	old    = "1.0.0"
	target = "1.1.0"
	tick   = 10 * time.Second
)

// machine is a node of the simulation.
type machine struct {
	Node
	cordoned bool // by a rollout
	off      int  // ticks until it answers again
	trial    int  // ticks until its trial ends
	ours     bool // it is down because a rollout asked for it
	asked    int  // trials that rollouts asked for
}

// cloud is a simulated network, and the rollout's hands in it.
type cloud struct {
	t        *testing.T
	r        *rand.Rand
	o        Options
	machines []*machine
	pending  []*pending
	faults   bool
	failed   bool // a trial of a rollout has failed, and was seen
	log      []string
	now      time.Time
}

type pending struct {
	Action
	left int // ticks
	err  error
}

func newCloud(t *testing.T, r *rand.Rand) *cloud {
	c := &cloud{t: t, r: r, faults: true, now: time.Unix(1e9, 0)}
	c.o = Options{Version: target, Drain: r.IntN(3) > 0, MaxUnavailable: 1 + r.IntN(3), Patience: 200 * tick}
	servers, agents := 1+r.IntN(4), r.IntN(5)
	for i := range servers + agents {
		m := &machine{Node: Node{Server: i < servers, Kubelet: true, Chosen: r.IntN(6) > 0, BootID: "0", Running: old, APIUp: i < servers, Ready: true}}
		m.Name = fmt.Sprintf("%c%d", map[bool]byte{true: 's', false: 'a'}[m.Server], i)
		if r.IntN(5) == 0 {
			m.Slot = staged
		}
		c.machines = append(c.machines, m)
	}
	c.machines[0].Chosen = true
	return c
}

func (c *cloud) chance(percent int) bool { return c.faults && c.r.IntN(100) < percent }

func (c *cloud) machine(name string) *machine {
	return c.machines[slices.IndexFunc(c.machines, func(m *machine) bool { return m.Name == name })]
}

func (c *cloud) view() (out []Node) {
	for _, m := range c.machines {
		n := m.Node
		if m.off > 0 {
			n = Node{Name: m.Name, Server: m.Server, Kubelet: m.Kubelet, Chosen: m.Chosen, Problem: "connection refused"}
		}
		out = append(out, n)
	}
	return out
}

func (c *cloud) held() (out []string) {
	for _, m := range c.machines {
		if m.cordoned {
			out = append(out, m.Name)
		}
	}
	return out
}

func (c *cloud) note(format string, args ...any) {
	c.log = append(c.log, fmt.Sprintf(format, args...))
}

func (c *cloud) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("%s\n%+v\n%s", fmt.Sprintf(format, args...), c.o, strings.Join(c.log, "\n"))
}

// reboot starts a machine again.
func (m *machine) reboot(ticks int) {
	m.off = ticks
	m.BootID += "+"
	m.Ready, m.APIUp = false, false
}

// pass lets one tick pass.
func (c *cloud) pass() {
	c.now = c.now.Add(tick)
	for _, m := range c.machines {
		switch {
		case m.off > 0:
			m.off--
		case m.OnTrial && m.trial > 0:
			if m.trial--; m.trial == 0 {
				c.verdict(m)
			}
		case !m.Ready:
			m.Ready, m.APIUp, m.ours = true, m.Server, false
		case c.chance(1) && c.r.IntN(3) == 0:
			c.note("%s is rebooted by its owner", m.Name)
			m.reboot(1 + c.r.IntN(20))
		}
	}
}

func (c *cloud) verdict(m *machine) {
	m.OnTrial, m.Waiting = false, nil
	switch {
	case c.chance(3):
		c.note("%s never comes back", m.Name)
		m.Running, m.Slot = old, trial
		m.reboot(1e6)
	case c.chance(12):
		c.note("%s rolls back", m.Name)
		m.Running, m.Slot, m.Refused = old, bad, "no network"
		m.reboot(3)
	case c.chance(10):
		c.note("%s puts the trial off", m.Name)
		m.Running, m.Slot = old, staged
		m.reboot(3)
	default:
		c.note("%s is good", m.Name)
		m.Slot, m.Refused = "", ""
		m.Ready, m.APIUp, m.ours = true, m.Server, false
	}
}

// begin carries an action out; its end comes later.
func (c *cloud) begin(a Action) {
	m := c.machine(a.Node)
	c.note("%s %s", a.Verb, a.Node)
	p := &pending{Action: a, left: 1 + c.r.IntN(5)}
	switch a.Verb {
	case Drain:
		m.cordoned = true
		if c.chance(5) {
			p.err = errors.New("a budget")
		}
	case Stage:
		if c.chance(5) {
			p.err = errors.New("disk full")
		}
	case Try:
		switch {
		case c.chance(5):
			p.err = errors.New("conflict")
		case m.off > 0 || m.Slot != staged: // it is lost, or refused
		default:
			m.asked++
			m.Running, m.Slot, m.OnTrial, m.ours, m.trial = target, "", true, true, 2+c.r.IntN(5)
			m.reboot(2 + c.r.IntN(10))
		}
	case Uncordon:
		if c.chance(10) {
			p.err = errors.New("no API")
		}
	}
	c.pending = append(c.pending, p)
}

func (c *cloud) end(r *Rollout) {
	c.pending = slices.DeleteFunc(c.pending, func(p *pending) bool {
		if p.left--; p.left > 0 {
			return false
		}
		m := c.machine(p.Node)
		switch {
		case p.err != nil:
			c.note("%s %s fails: %v", p.Verb, p.Node, p.err)
		case p.Verb == Stage:
			if m.off > 0 {
				p.err = errors.New("connection lost")
			} else if m.Running != target && m.Slot != trial {
				m.Slot = staged
			}
		case p.Verb == Uncordon:
			m.cordoned = false
		}
		r.Ended(p.Action, p.err, c.now)
		return true
	})
}

// check looks whether what is begun may be.
func (c *cloud) check(r *Rollout, do []Action) {
	for _, a := range do {
		m := c.machine(a.Node)
		if !m.Chosen {
			c.fail("%s was not chosen: %s", a.Node, a.Verb)
		}
		if a.Verb != Drain && a.Verb != Try {
			continue
		}
		if r.Halted() != nil || c.failed {
			c.fail("%s %s after the first failure", a.Verb, a.Node)
		}
		for _, o := range c.machines {
			switch {
			case o != m && m.Server && o.Server && (o.off > 0 || o.OnTrial || !o.APIUp || !o.Ready):
				c.fail("%s %s while the server %s is down", a.Verb, a.Node, o.Name)
			case !m.Server && o.Server && o.Chosen && (o.Running != target || o.OnTrial):
				c.fail("%s %s before the server %s", a.Verb, a.Node, o.Name)
			case o.Chosen && a.Verb == Try && o.Running != target && o.Slot == "":
				c.fail("%s %s before %s has the version", a.Verb, a.Node, o.Name)
			}
		}
		if a.Verb == Try && c.o.Drain && m.Kubelet && !m.cordoned {
			c.fail("%s is tried without being drained", a.Node)
		}
	}
	servers, others := 0, 0
	for _, m := range c.machines {
		busy := m.cordoned || m.ours || slices.ContainsFunc(do, func(a Action) bool { return a.Node == m.Name && (a.Verb == Drain || a.Verb == Try) })
		if busy && m.Server {
			servers++
		} else if busy {
			others++
		}
	}
	if servers > 1 || others > c.o.MaxUnavailable {
		c.fail("%d servers and %d others are down because of us", servers, others)
	}
}

// roll runs a rollout to its end; it is broken off now and then.
func (c *cloud) roll() *Rollout {
	c.failed = false
	begin := func() *Rollout {
		r, err := New(c.o, c.view(), c.held())
		if err != nil {
			c.fail("%v", err)
		}
		return r
	}
	r := begin()
	for range 20_000 {
		seen := c.view()
		for _, m := range c.machines {
			c.failed = c.failed || m.asked > 0 && m.off == 0 && m.Slot == bad && !c.o.Force
		}
		s := r.Next(c.now, seen)
		c.check(r, s.Do)
		if s.Done {
			return r
		}
		for _, a := range s.Do {
			c.begin(a)
		}
		c.pass()
		c.end(r)
		if c.chance(1) {
			c.note("broken off")
			c.pending = nil
			r = begin()
		}
	}
	c.fail("it does not end: %v, %v", r.Next(c.now, c.view()), r.Halted())
	return nil
}

// Clusters of all sizes with all sorts of mishaps: a rollout never takes more down
// than it may, nothing is begun after the first failure, and the next one, without
// mishaps, comes to the end.
func TestSimulation(t *testing.T) {
	rounds := 1500
	halted, well, left := 0, 0, 0
	for seed := range rounds {
		c := newCloud(t, rand.New(rand.NewPCG(uint64(seed), 7)))
		c.note("seed %d", seed)
		r := c.roll()
		if r.Halted() == nil {
			well++
			c.finished()
			continue
		}
		halted++
		c.note("halted: %v", r.Halted())
		for _, m := range c.machines {
			if m.cordoned && !strings.Contains(r.Advice(), m.Name) {
				c.fail("%s stays cordoned, and %q does not say so", m.Name, r.Advice())
			}
			if m.cordoned {
				left++
			}
		}
		if r.Advice() == "" {
			c.fail("%v, and no advice", r.Halted())
		}
		c.faults, c.o.Force = false, true
		for _, m := range c.machines { // somebody looks after it
			m.off = min(m.off, 3)
			if m.Slot == trial {
				m.Slot = staged
			}
		}
		for range 100 {
			c.pass()
		}
		if r = c.roll(); r.Halted() != nil {
			c.fail("without mishaps: %v", r.Halted())
		}
		c.finished()
	}
	t.Logf("%d rollouts came to the end, %d were halted, %d nodes were left behind", well, halted, left)
	if well < rounds/20 || halted < rounds/20 || left == 0 {
		t.Errorf("the simulation shows little: %d and %d", well, halted)
	}
}

func (c *cloud) finished() {
	c.t.Helper()
	for _, m := range c.machines {
		if m.Chosen && (m.Running != target || m.OnTrial) || m.cordoned {
			c.fail("in the end %s runs %s, cordoned: %v", m.Name, m.Running, m.cordoned)
		}
		if !m.Chosen && m.Running != old {
			c.fail("%s was updated", m.Name)
		}
	}
}
