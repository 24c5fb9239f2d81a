package api

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// crowd holds the connections whose handshake is under way, a bounded number. A
// newcomer for whom there is no room takes the place of the oldest one, which
// has had grace by then; it need not wait for that when the oldest one's
// address holds more places than its own.
type crowd struct {
	max   int
	grace time.Duration

	mu     sync.Mutex
	places map[netip.Prefix][]*place // oldest first
	n      int
	left   chan struct{} // has an element when a place has become free
}

// place is one connection's.
type place struct {
	conn   net.Conn
	source netip.Prefix
	since  time.Time
}

func newCrowd(limit int, grace time.Duration) *crowd {
	return &crowd{max: limit, grace: grace, places: map[netip.Prefix][]*place{}, left: make(chan struct{}, 1)}
}

// enter returns a place for conn as soon as there is one; nil when stop was
// closed before. It must not be called concurrently.
func (c *crowd) enter(conn net.Conn, stop <-chan struct{}) *place {
	p := &place{conn: conn, source: sourceOf(conn)}
	for {
		wait := c.try(p, time.Now())
		if wait <= 0 {
			return p
		}
		timer := time.NewTimer(wait)
		select {
		case <-c.left:
		case <-timer.C:
		case <-stop:
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// try gives p a place, or says after how long to try again.
func (c *crowd) try(p *place, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n >= c.max {
		victim := c.oldest(p.source)
		crowded := len(c.places[victim.source]) >= len(c.places[p.source])+2
		if age := now.Sub(victim.since); age < c.grace && !crowded {
			return c.grace - age
		}
		c.remove(victim)
		_ = victim.conn.Close()
	}
	p.since = now
	c.places[p.source] = append(c.places[p.source], p)
	c.n++
	return 0
}

// oldest returns the oldest place of the source that has the most; of own among
// equals.
func (c *crowd) oldest(own netip.Prefix) *place {
	var victim *place
	if mine := c.places[own]; len(mine) > 0 {
		victim = mine[0]
	}
	for _, theirs := range c.places {
		switch {
		case victim == nil || len(theirs) > len(c.places[victim.source]):
			victim = theirs[0]
		case len(theirs) == len(c.places[victim.source]) && victim.source != own && theirs[0].since.Before(victim.since):
			victim = theirs[0]
		}
	}
	return victim
}

// leave frees p's place, if it has one.
func (c *crowd) leave(p *place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.remove(p) {
		select {
		case c.left <- struct{}{}:
		default:
		}
	}
}

func (c *crowd) remove(p *place) bool {
	list := c.places[p.source]
	for i := range list {
		if list[i] != p {
			continue
		}
		c.n--
		if len(list) == 1 {
			delete(c.places, p.source)
			return true
		}
		c.places[p.source] = append(list[:i:i], list[i+1:]...)
		return true
	}
	return false
}

// closeAll closes the connections of all places.
func (c *crowd) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, list := range c.places {
		for _, p := range list {
			_ = p.conn.Close()
		}
	}
}

// sourceOf returns whom a connection's limits count for: an IPv4 address, or the
// /64 that one IPv6 host can have all addresses of.
func sourceOf(c net.Conn) netip.Prefix {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}
	}
	addr := ap.Addr().Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // both are within range
	return p
}
