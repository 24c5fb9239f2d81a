package uefi

import (
	"slices"

	"github.com/digital-mycelium/os/pkg/update"
)

// checkLast wants what passed last to be what is started by itself: a verdict that the
// machine does not act by is none.
func (m *simMachine) checkLast(s update.State) {
	if n := len(s.Verdicts); n > 0 && s.Verdicts[n-1].Phase == update.Good && s.Slot(s.Default).Release != s.Verdicts[n-1].Release {
		m.fatalf("%s has passed, and slot %s with %s is the default", s.Verdicts[n-1].Release, s.Default, s.Slot(s.Default).Release)
	}
}

// check wants the machine to rest on what it should, and the journal to say the truth.
func (m *simMachine) check() {
	s := m.state()
	list, err := partitions(m.disk)
	m.noErr(err)
	label := map[int]string{2: "A", 3: "B"}
	held := map[string]*osFile{}
	for _, p := range list {
		if label[p.number] == "" {
			continue
		}
		held[label[p.number]] = m.held(p, osPath)
		if (p.kind == xbootldr) != (label[p.number] == s.Running) {
			m.fatalf("slot %s runs, the type of partition %d is %x", s.Running, p.number, p.kind)
		}
	}
	if m.gaveUp {
		if s.Running != s.Default || s.OnTrial() != "" || held[s.Running] == nil {
			m.fatalf("the owner cannot go on")
		}
		return
	}
	want := m.verdicts(s)
	if held[s.Running] != want || s.Default != s.Running || s.OnTrial() != "" || m.variables()["BootNext-"+global] != nil {
		m.fatalf("the machine rests on %v, want %v", held[s.Running], want)
	}
	for name, slot := range s.Slots {
		if (slot.Phase == update.Good || slot.Phase == update.Staged) && (held[name] == nil || held[name].Release != slot.Release) {
			m.fatalf("slot %s counts as %s and holds %v", name, slot.Phase, held[name])
		}
	}
}

// verdicts checks the last verdict on each release and returns what must run.
//
// One on a release that does not work is Bad, always. One on a release that works is
// Good, unless what is not its fault has ended two of its trials:
// that cannot be told from a hang.
func (m *simMachine) verdicts(s update.State) *osFile {
	runs, before := m.sc.first, m.sc.first
	for _, g := range m.sc.goals {
		last := update.Verdict{}
		for _, v := range s.Verdicts {
			if v.Release == g.file.Release {
				last = v
			}
		}
		good := g.file.nature == works || g.file.nature == putsOff
		rolledBack := slices.ContainsFunc(m.sc.goals, func(other goal) bool { return other.do == "rollback" && other.file == g.file })
		switch {
		case g.do == "rollback":
			if runs = before; last.Phase != update.Bad {
				m.fatalf("%s was rolled back, and is %q", g.file, last.Phase)
			}
		case g.do == "stage":
		case good && last.Phase == update.Good, good && rolledBack:
			runs, before = g.file, runs
		case good && last.Phase == update.Bad && m.blameless[g.file.Version] >= 2:
		case last.Phase != update.Bad || good:
			m.fatalf("%s, which %s, has the verdict %q (%s); what is not its fault has ended %d of its trials", g.file, g.file.nature, last.Phase, last.Reason, m.blameless[g.file.Version])
		}
		if slices.ContainsFunc(s.Refused, func(r update.Refusal) bool { return r.Release == g.file.Release }) != (last.Phase == update.Bad) {
			m.fatalf("%s has the verdict %q, refused are %v", g.file, last.Phase, s.Refused)
		}
	}
	return runs
}
