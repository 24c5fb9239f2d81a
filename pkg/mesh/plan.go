package mesh

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// keepalive holds address translations and firewalls open between two machines,
// and makes the kernel try again when a peer is silent.
const keepalive = 25 * time.Second

// state is what the kernel has.
type state struct {
	peers  map[Key]kernelPeer
	routes []netip.Prefix // of RouteProtocol to the interface
	// own are this machine's addresses on all interfaces, near the networks of those
	// that lead to other machines.
	own  []netip.Addr
	near []netip.Prefix
}

// kernelPeer is a peer in the kernel. Its prefixes are canonical.
type kernelPeer struct {
	endpoint       netip.AddrPort
	allowed        []netip.Prefix
	keepalive      time.Duration
	handshake      time.Time
	received, sent int64
}

// target is what a peer shall be. A zero endpoint leaves the kernel's.
type target struct {
	endpoint netip.AddrPort
	allowed  []netip.Prefix
}

// changes make one state of the kernel into another, in the order of the fields.
type changes struct {
	peers     []peerChange
	oldRoutes []netip.Prefix
	newRoutes []netip.Prefix
}

// peerChange changes one peer. What is zero stays as it is.
type peerChange struct {
	key       Key
	remove    bool
	create    bool
	endpoint  netip.AddrPort
	keepalive bool
	// allowed are added, after all others are taken away if replace is set.
	allowed []netip.Prefix
	replace bool
}

func (c changes) empty() bool {
	return len(c.peers) == 0 && len(c.oldRoutes) == 0 && len(c.newRoutes) == 0
}

// plan returns the fewest changes that lead from have to want. No two targets
// share a prefix. The kernel takes a prefix from the peer that has it when it is
// given to another, so that the order of the peers does not matter.
func plan(have state, want map[Key]target) changes {
	var c changes
	for _, k := range slices.SortedFunc(maps.Keys(have.peers), compareKeys) {
		if _, wanted := want[k]; !wanted {
			c.peers = append(c.peers, peerChange{key: k, remove: true})
		}
	}
	var routes []netip.Prefix
	for _, k := range slices.SortedFunc(maps.Keys(want), compareKeys) {
		w := want[k]
		routes = append(routes, w.allowed...)
		p, known := have.peers[k]
		if change, needed := planPeer(k, p, w, !known); needed {
			c.peers = append(c.peers, change)
		}
	}
	slices.SortFunc(routes, comparePrefixes)
	c.oldRoutes, c.newRoutes = without(have.routes, routes), without(routes, have.routes)
	return c
}

func planPeer(k Key, p kernelPeer, w target, create bool) (c peerChange, needed bool) {
	c = peerChange{key: k, create: create, keepalive: p.keepalive != keepalive}
	if w.endpoint.IsValid() && w.endpoint != p.endpoint {
		c.endpoint = w.endpoint
	}
	c.allowed = without(w.allowed, p.allowed)
	if len(without(p.allowed, w.allowed)) > 0 {
		c.allowed, c.replace = w.allowed, true
	}
	return c, create || c.keepalive || c.endpoint.IsValid() || c.replace || len(c.allowed) > 0
}

// without returns those of a that are not in b.
func without(a, b []netip.Prefix) []netip.Prefix {
	in := make(map[netip.Prefix]bool, len(b))
	for _, p := range b {
		in[p] = true
	}
	var out []netip.Prefix
	for _, p := range a {
		if !in[p] {
			out = append(out, p)
		}
	}
	return out
}
