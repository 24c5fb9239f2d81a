package mesh

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// alive is how long a session lasts after a handshake (WireGuard's
	// REJECT_AFTER_TIME); as long as packets flow there is one every two minutes.
	alive = 180 * time.Second
	// every is how often the kernel's state is looked at, and how long an endpoint
	// is tried: WireGuard sends a handshake every five seconds.
	every = 10 * time.Second
	slack = time.Second // by which a look may come early
)

// candidates returns the endpoints that are worth trying, those on a network
// that this machine is on first.
func candidates(endpoints []netip.AddrPort, s state, inside []netip.Prefix) []netip.AddrPort {
	var near, far []netip.AddrPort
	for _, e := range endpoints {
		e = netip.AddrPortFrom(e.Addr().Unmap(), e.Port())
		a := e.Addr()
		holds := func(p netip.Prefix) bool { return p.Contains(a) }
		switch {
		case e.Port() == 0, a.Zone() != "", !a.IsGlobalUnicast() && (!a.Is4() || !a.IsLinkLocalUnicast()):
		case slices.Contains(s.own, a), slices.ContainsFunc(inside, holds):
		case slices.Contains(near, e), slices.Contains(far, e):
		case slices.ContainsFunc(s.near, holds):
			near = append(near, e)
		default:
			far = append(far, e)
		}
	}
	return append(near, far...)
}

// attempt is what was tried to reach a peer.
type attempt struct {
	handshake time.Time // the last that was seen, by a clock that may be set at any time
	at        time.Time // when it was seen
	endpoint  netip.AddrPort
	since     time.Time
}

// choose returns the endpoint for a peer at the time now; the zero AddrPort
// leaves the one that the kernel has. It asks for candidates when it needs any.
func (a *attempt) choose(now time.Time, candidates func() []netip.AddrPort, p kernelPeer) netip.AddrPort {
	if !p.handshake.IsZero() && !p.handshake.Equal(a.handshake) {
		a.handshake, a.at = p.handshake, now
	}
	if !a.at.IsZero() && now.Sub(a.at) < alive && p.endpoint.IsValid() {
		return netip.AddrPort{} // it works
	}
	from := candidates()
	if len(from) == 0 {
		return netip.AddrPort{}
	}
	current := slices.Index(from, p.endpoint)
	switch {
	case current < 0:
		a.endpoint, a.since = from[0], now
	case p.endpoint != a.endpoint: // the kernel has it from elsewhere
		a.endpoint, a.since = p.endpoint, now
	case now.Sub(a.since) >= every-slack:
		a.endpoint, a.since = from[(current+1)%len(from)], now
	}
	return a.endpoint
}
