package delta

import (
	"testing"
	"time"
)

func TestMissing(t *testing.T) {
	const k = 10 << 10
	x := &Index{}
	for i := range 10 {
		x.chunks = append(x.chunks, chunk{offset: int64(i) * k, length: k})
	}
	for have, want := range map[string]span{
		"..........": {0, 5},
		"##########": {10, 10},
		"#.########": {1, 2},
		"#.###.####": {1, 6},
		"#..##..###": {1, 6}, // the limit
		"#.##.#####": {1, 5},
		".####.....": {0, 1}, // the gap
		"#########.": {9, 10},
		"####.#.#.#": {4, 9},
	} {
		b := make([]bool, len(have))
		for i := range b {
			b[i] = have[i] == '#'
		}
		if got := missing(x, b, 5*k); got != want {
			t.Errorf("%s: got %v, want %v", have, got, want)
		}
	}
	if got := missing(x, make([]bool, 10), 1); got != (span{0, 1}) {
		t.Errorf("a chunk longer than the limit: got %v", got)
	}
	if got := fromStart([]bool{true, false, true, false, true}); got != (span{0, 4}) {
		t.Errorf("from the start: got %v", got)
	}
}

func TestDecide(t *testing.T) {
	now := time.Unix(1e9, 0)
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	p := func(before bool, phase Phase, leading bool, changed int) view {
		return view{before: before, state: PeerState{Phase: phase, Leading: leading}, changed: ago(changed), heard: now}
	}
	with := func(v view, change func(*view)) view { change(&v); return v }
	const first, later = true, false
	for _, c := range []struct {
		name  string
		peers []view
		s     situation
		act   action
	}{
		{name: "alone", act: fromServer},
		{name: "alone without a server", s: situation{hopeless: true}, act: giveUp},
		{name: "a peer without it", peers: []view{p(first, None, false, 0)}, act: fromServer},
		{name: "a whole peer", peers: []view{p(later, Fetching, true, 0), p(later, Whole, false, 999)}, act: fromPeers},
		{name: "a whole peer while leading", peers: []view{p(later, Whole, false, 999)}, s: situation{leading: true}, act: fromPeers},
		{name: "a whole peer that lied", peers: []view{with(p(first, Whole, false, 0), func(v *view) { v.dropped = true })}, act: fromServer},
		{name: "a leader before", peers: []view{p(first, Fetching, true, 29)}, act: wait},
		{name: "a leader after", peers: []view{p(later, Fetching, true, 29)}, act: wait},
		{name: "a leader that lied", peers: []view{with(p(first, Fetching, true, 0), func(v *view) { v.dropped = true })}, act: fromServer},
		{name: "a leader that is stuck", peers: []view{p(first, Fetching, true, 30)}, act: fromServer},
		{name: "two leaders, ours first", peers: []view{p(later, Fetching, true, 0)}, s: situation{leading: true}, act: fromServer},
		{name: "two leaders, theirs first", peers: []view{p(first, Fetching, true, 0)}, s: situation{leading: true}, act: wait},
		{name: "two leaders, theirs first, ours ahead", peers: []view{p(first, Fetching, true, 0)}, s: situation{leading: true, have: 13, total: 100}, act: fromServer},
		{name: "two leaders, theirs first, ours hardly ahead", peers: []view{p(first, Fetching, true, 0)}, s: situation{leading: true, have: 12, total: 100}, act: wait},
		{name: "two leaders, ours first, theirs ahead", peers: []view{with(p(later, Fetching, true, 0), func(v *view) { v.state.Have = 13 })}, s: situation{leading: true, total: 100}, act: wait},
		{name: "two leaders, ours first, theirs hardly ahead", peers: []view{with(p(later, Fetching, true, 0), func(v *view) { v.state.Have = 12 })}, s: situation{leading: true, total: 100}, act: fromServer},
		{name: "no leader, ours first", peers: []view{p(later, Fetching, false, 0)}, act: fromServer},
		{name: "no leader, theirs first", peers: []view{p(first, Fetching, false, 0)}, act: wait},
		{name: "no leader, theirs first, for long", peers: []view{p(first, Fetching, false, 30)}, act: fromServer},
		{name: "no leader, theirs first, for long, after one", peers: []view{p(first, Fetching, false, 99)}, s: situation{led: ago(29)}, act: wait},
		{name: "the same, also for long", peers: []view{p(first, Fetching, false, 99)}, s: situation{led: ago(30)}, act: fromServer},
		{name: "no leader, theirs first but silent", peers: []view{with(p(first, Fetching, false, 0), func(v *view) { v.heard = ago(30) })}, act: fromServer},
		{name: "leading, one before follows", peers: []view{p(first, Fetching, false, 0)}, s: situation{leading: true}, act: fromServer},
		{name: "no server, one after fetches", peers: []view{p(later, Fetching, false, 0)}, s: situation{hopeless: true}, act: wait},
		{name: "no server, one after is stuck", peers: []view{p(later, Fetching, true, 30)}, s: situation{hopeless: true}, act: giveUp},
		{name: "no server, a whole peer", peers: []view{p(later, Whole, false, 0)}, s: situation{hopeless: true}, act: fromPeers},
	} {
		c.s.now, c.s.patience, c.s.peers = now, 30*time.Second, c.peers
		act, leader := decide(c.s)
		if act != c.act {
			t.Errorf("%s: %s, want %s", c.name, act, c.act)
		}
		if leader && act != wait {
			t.Errorf("%s: waits for a leader and acts otherwise", c.name)
		}
		// Nobody is waited for for ever.
		c.s.patience = 0
		if act, _ := decide(c.s); act == wait {
			t.Errorf("%s: waits without patience", c.name)
		}
	}
}
