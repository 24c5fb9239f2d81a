package api

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// sessions are the connections whose handshake is done, a bounded number in all
// and of each peer. For a new one without room the one that has been idle for
// longest goes, or, when none is idle, the oldest of the peer that has more
// than the newcomer.
type sessions struct {
	max, perPeer int

	mu   sync.Mutex
	open map[net.Conn]*session
}

type session struct {
	conn  net.Conn
	peer  string
	since time.Time
	idle  time.Time // zero while a request is under way
}

func newSessions(limit, perPeer int) *sessions {
	return &sessions{max: limit, perPeer: perPeer, open: map[net.Conn]*session{}}
}

// add reports whether there is room for conn.
func (s *sessions) add(conn net.Conn, peer string, now time.Time) bool {
	s.mu.Lock()
	victim, room := s.room(peer)
	if room {
		if victim != nil {
			delete(s.open, victim.conn)
		}
		s.open[conn] = &session{conn: conn, peer: peer, since: now, idle: now}
	}
	s.mu.Unlock()
	if victim != nil {
		_ = hangUp(victim.conn) // outside of the lock: it calls remove
	}
	return room
}

// room says which session must go for one more of peer; room is false when none may.
func (s *sessions) room(peer string) (victim *session, room bool) {
	counts := map[string]int{}
	for _, o := range s.open {
		counts[o.peer]++
	}
	full := len(s.open) >= s.max
	own := counts[peer] >= s.perPeer
	if !full && !own {
		return nil, true
	}
	for _, o := range s.open {
		if own && o.peer != peer || o.idle.IsZero() {
			continue
		}
		if victim == nil || o.idle.Before(victim.idle) {
			victim = o
		}
	}
	if victim != nil || own {
		return victim, victim != nil
	}
	for _, o := range s.open {
		if counts[o.peer] < counts[peer]+2 {
			continue
		}
		if victim == nil || counts[o.peer] > counts[victim.peer] || counts[o.peer] == counts[victim.peer] && o.since.Before(victim.since) {
			victim = o
		}
	}
	return victim, victim != nil
}

// hangUp closes without a word: to say goodbye may block.
func hangUp(c net.Conn) error {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn().Close()
	}
	return c.Close()
}

func (s *sessions) remove(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, conn)
}

// state follows http.Server.ConnState.
func (s *sessions) state(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[conn]
	switch {
	case o == nil:
	case state == http.StateIdle:
		o.idle = time.Now()
	case state == http.StateActive || state == http.StateHijacked:
		o.idle = time.Time{}
	}
}
