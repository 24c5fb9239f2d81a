package delta

import "time"

// Phase is how far a peer is with a file.
type Phase string

// The phases of a peer.
const (
	// None: the peer does not have the file and does not get it.
	None Phase = "none"
	// Fetching: it gets the file.
	Fetching Phase = "fetching"
	// Whole: it has the file and serves it.
	Whole Phase = "whole"
)

// PeerState is what a peer says of a file.
type PeerState struct {
	Phase Phase
	// Have is how many bytes of it a peer has that is Fetching.
	Have int64
	// Leading says that it will have the file without its peers: it loads from the
	// server, or verifies what it has.
	Leading bool
}

// view is what a machine knows of one of its peers.
type view struct {
	name string
	// before says that the peer's key sorts before the machine's own.
	before bool
	state  PeerState
	// changed is when the state was another one for the last time, heard when the
	// peer has answered for the last time.
	changed, heard time.Time
	// dropped says that nothing is taken from it any more.
	dropped bool
}

// alive reports whether the peer is fetching and gets on.
func (v view) alive(now time.Time, patience time.Duration) bool {
	return v.state.Phase == Fetching && now.Sub(v.changed) < patience
}

// action is what a machine does next for a file.
type action string

const (
	fromPeers  action = "from peers"
	wait       action = "wait"
	fromServer action = "from the server"
	giveUp     action = "give up"
)

// situation is what decide looks at.
type situation struct {
	now      time.Time
	patience time.Duration
	peers    []view
	// leading says that this machine loads from the server, hopeless that the server
	// is of no use to it any more.
	leading, hopeless bool
	// have is how many bytes this machine has, total how many there are.
	have, total int64
	// led is when it has last waited for a peer that led.
	led time.Time
}

// goesOn reports whether, of this machine and a peer that both lead, the peer goes
// on. What is known of it is old: it may have more by now, and the peer may know of
// less than this machine has. So both may go on for a while, and never none.
func (s situation) goesOn(p view) bool {
	clearly := s.total / 8
	if p.before {
		return s.have <= p.state.Have+clearly
	}
	return p.state.Have > s.have+clearly
}

// decide says where the next chunks come from. One machine at a time is to load
// from the server, the leader:
//
//   - A peer that is whole is used.
//   - A leader that gets on is waited for. Of two leaders the one goes on that is
//     clearly ahead, or else whose key sorts first.
//   - With no leader, a peer that fetches too and whose key sorts first is waited
//     for: it will lead. When it has not begun to after the patience, it is passed over.
//   - Otherwise the machine loads from the server itself.
//
// A machine of no use to itself (its server does not answer, or lies) waits for
// any peer that gets on.
func decide(s situation) (act action, leader bool) {
	waitLeader, waitFirst, waitAny := false, false, false
	for _, p := range s.peers {
		if p.dropped {
			continue
		}
		if p.state.Phase == Whole {
			return fromPeers, false
		}
		alive := p.alive(s.now, s.patience)
		waitAny = waitAny || alive
		if p.state.Leading {
			waitLeader = waitLeader || (alive && (!s.leading || s.goesOn(p)))
			continue
		}
		// A follower does not get on while it waits for a leader, so the patience
		// with it starts when there was none.
		since := s.led
		if p.changed.After(since) {
			since = p.changed
		}
		follows := p.state.Phase == Fetching && p.before && s.now.Sub(p.heard) < s.patience && s.now.Sub(since) < s.patience
		waitFirst = waitFirst || (follows && !s.leading)
	}
	switch {
	case waitLeader:
		return wait, true
	case s.hopeless && waitAny:
		return wait, false
	case s.hopeless:
		return giveUp, false
	case waitFirst:
		return wait, false
	}
	return fromServer, false
}
