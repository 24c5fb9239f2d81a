package netboot

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// LeaseTime is how long an address is lent.
const LeaseTime = time.Hour

// offerTime is how long an address that was offered waits for its machine, and
// one that a machine found in use waits for anybody.
const (
	offerTime   = time.Minute
	declineTime = 10 * time.Minute
)

// Leases lends the addresses of a range, and keeps them in memory: a machine
// that comes back gets the one that it asks for when nobody else has it. It is
// not safe for concurrent use.
type Leases struct {
	first, last netip.Addr
	taken       map[netip.Addr]lease
	of          map[MAC]netip.Addr
}

type lease struct {
	mac   MAC // zero: declined
	until time.Time
}

// maxRange bounds what is searched for a free address.
const maxRange = 4096

// NewLeases returns the leases of "FIRST-LAST", both of the network on, whose
// own address (the server's), network and broadcast addresses are not lent.
func NewLeases(text string, on netip.Prefix) (*Leases, error) {
	const form = "write FIRST-LAST, such as 192.168.77.100-192.168.77.199"
	from, to, ok := strings.Cut(text, "-")
	first, err1 := netip.ParseAddr(strings.TrimSpace(from))
	last, err2 := netip.ParseAddr(strings.TrimSpace(to))
	if !ok || err1 != nil || err2 != nil || !first.Is4() || !last.Is4() || last.Less(first) {
		return nil, fmt.Errorf("the range %q of addresses: %s", text, form)
	}
	if !on.Contains(first) || !on.Contains(last) {
		return nil, fmt.Errorf("the range %s of addresses does not lie in the interface's network %s", text, on.Masked())
	}
	n := 1
	for a := first; a != last; a = a.Next() {
		if n++; n > maxRange {
			return nil, fmt.Errorf("the range %s has more than %d addresses", text, maxRange)
		}
	}
	l := &Leases{first: first, last: last, taken: map[netip.Addr]lease{}, of: map[MAC]netip.Addr{}}
	never := time.Unix(1<<40, 0)
	for _, a := range []netip.Addr{on.Addr(), on.Masked().Addr(), broadcast(on)} {
		l.taken[a] = lease{until: never}
	}
	return l, nil
}

func broadcast(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(a)
}

// Offer sets an address aside for the machine: its own, the wanted one, or a
// free one. ok is false when all are lent.
func (l *Leases) Offer(mac MAC, wanted netip.Addr, now time.Time) (a netip.Addr, ok bool) {
	if a, ok = l.of[mac]; ok && l.free(a, mac, now) {
		return a, l.take(a, mac, now, offerTime)
	}
	if l.free(wanted, mac, now) {
		return wanted, l.take(wanted, mac, now, offerTime)
	}
	for a = l.first; ; a = a.Next() {
		if l.free(a, mac, now) {
			return a, l.take(a, mac, now, offerTime)
		}
		if a == l.last {
			return netip.Addr{}, false
		}
	}
}

// Confirm lends the address to the machine; false when it cannot have it.
func (l *Leases) Confirm(mac MAC, a netip.Addr, now time.Time) bool {
	return l.free(a, mac, now) && l.take(a, mac, now, LeaseTime)
}

// Release takes the machine's address back.
func (l *Leases) Release(mac MAC) {
	if a, ok := l.of[mac]; ok {
		delete(l.taken, a)
		delete(l.of, mac)
	}
}

// Decline keeps an address that the machine found in use by a stranger.
func (l *Leases) Decline(mac MAC, now time.Time) {
	if a, ok := l.of[mac]; ok {
		delete(l.of, mac)
		l.taken[a] = lease{until: now.Add(declineTime)}
	}
}

// free reports whether the machine can have the address.
func (l *Leases) free(a netip.Addr, mac MAC, now time.Time) bool {
	if !a.IsValid() || a.Less(l.first) || l.last.Less(a) {
		return false
	}
	have, ok := l.taken[a]
	return !ok || have.mac == mac && mac != MAC{} || !now.Before(have.until)
}

func (l *Leases) take(a netip.Addr, mac MAC, now time.Time, d time.Duration) bool {
	if old, ok := l.of[mac]; ok && old != a {
		delete(l.taken, old)
	}
	if had, ok := l.taken[a]; ok {
		delete(l.of, had.mac)
		if had.mac == mac && had.until.After(now.Add(d)) {
			d = had.until.Sub(now) // an offer does not shorten a lease
		}
	}
	l.taken[a], l.of[mac] = lease{mac, now.Add(d)}, a
	return true
}
