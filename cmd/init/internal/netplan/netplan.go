// Package netplan decides about the node's network: which rule an interface
// follows, which address is the node's, what to tell a person when there is
// none, and what stands in resolv.conf.
package netplan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/digital-mycelium/os/pkg/config"
)

// Link is a physical interface as it is now.
type Link struct {
	Name, MAC string
	// Carrier says that a cable is plugged in, or the like.
	Carrier bool
	// Addresses in CIDR form.
	Addresses []netip.Prefix
	// Wireless says that it is a radio, Reason why that is not connected.
	Wireless bool
	Reason   string
}

// WiredFirst returns the links with the wireless ones last.
func WiredFirst(links []Link) []Link {
	var wired, wireless []Link
	for _, l := range links {
		if l.Wireless {
			wireless = append(wireless, l)
		} else {
			wired = append(wired, l)
		}
	}
	return append(wired, wireless...)
}

// CountWireless returns how many of the links are wireless.
func CountWireless(links []Link) (n int) {
	for _, l := range links {
		if l.Wireless {
			n++
		}
	}
	return n
}

// Rule returns the rule for the interface, an empty one (DHCP) when none is
// written for it.
func Rule(rules []config.Interface, name, mac string) config.Interface {
	i := slices.IndexFunc(rules, func(r config.Interface) bool {
		return r.Name != "" && r.Name == name || r.MAC != "" && strings.EqualFold(r.MAC, mac)
	})
	if i < 0 {
		return config.Interface{Name: name}
	}
	return rules[i]
}

// NodeAddress returns the address that the node is known by, best first:
//
//   - current, if the configuration gives it: a pulled cable is no new address;
//   - the first that the configuration gives an interface with a link, because a
//     lease may change;
//   - current, as long as the node still has it;
//   - the first address of the first interface with a link.
//
// Only IPv4 addresses count. ok is false when there is none.
func NodeAddress(links []Link, rules []config.Interface, current netip.Addr) (addr netip.Addr, ok bool) {
	const (
		leased = iota + 1
		leasedCurrent
		static
		staticCurrent
	)
	best := 0
	for _, l := range links {
		rule := Rule(rules, l.Name, l.MAC)
		for _, p := range l.Addresses {
			a := p.Addr()
			if !Usable(a) || !l.Carrier && a != current {
				continue
			}
			rank := leased
			switch fixed := isStatic(rule, a); {
			case fixed && a == current:
				rank = staticCurrent
			case fixed:
				rank = static
			case a == current:
				rank = leasedCurrent
			}
			if rank > best {
				addr, best = a, rank
			}
		}
	}
	return addr, best > 0
}

// Usable reports whether others can reach a node by the address.
func Usable(a netip.Addr) bool {
	return a.Is4() && !a.IsLinkLocalUnicast() && !a.IsLoopback()
}

// Connected reports whether an interface with a link has a usable address.
func Connected(links []Link) bool {
	return slices.ContainsFunc(links, func(l Link) bool {
		return l.Carrier && slices.ContainsFunc(l.Addresses, func(p netip.Prefix) bool { return Usable(p.Addr()) })
	})
}

// isStatic reports whether the rule itself gives the address.
func isStatic(rule config.Interface, a netip.Addr) bool {
	return slices.ContainsFunc(rule.Addresses, func(s string) bool {
		p, err := netip.ParsePrefix(s)
		return err == nil && p.Addr() == a
	})
}

// Settled reports whether every interface that has a link, and is to have an
// address, has one: nothing more is worth waiting for. An interface with an
// address of its own in the configuration counts whether it has a link or not:
// its address would be the node's, and a link comes up some time after its
// interface.
func Settled(links []Link, rules []config.Interface) bool {
	some := false
	for _, l := range links {
		rule := Rule(rules, l.Name, l.MAC)
		if rule.Ignore || !l.Carrier && len(rule.Addresses) == 0 {
			continue
		}
		if !l.Carrier || !slices.ContainsFunc(l.Addresses, func(p netip.Prefix) bool {
			return !p.Addr().IsLinkLocalUnicast() && (p.Addr().Is4() || !rule.UseDHCP())
		}) {
			return false
		}
		some = true
	}
	return some
}

// Problem says in plain words why the node is not connected, and what to do.
func Problem(links []Link, rules []config.Interface) string {
	if len(links) == 0 {
		return "no network: this machine has no network interface that the system knows"
	}
	var parts []string
	for _, l := range links {
		rule := Rule(rules, l.Name, l.MAC)
		switch {
		case rule.Ignore:
			parts = append(parts, l.Name+" is ignored by the configuration")
		case !l.Carrier && l.Wireless:
			parts = append(parts, strings.TrimSpace(l.Name+" (Wi-Fi): "+l.Reason))
		case !l.Carrier:
			parts = append(parts, l.Name+" has no link: plug in its cable")
		case rule.UseDHCP():
			parts = append(parts, l.Name+" waits for an address from a DHCP server")
		default:
			parts = append(parts, l.Name+" has no address in the configuration")
		}
	}
	return "no network: " + strings.Join(parts, "; ")
}

// Resolv returns the content of resolv.conf for name servers and search
// domains, each in order of preference and without repetition. The C library
// reads three servers at most.
func Resolv(servers []netip.Addr, domains []string) []byte {
	var b strings.Builder
	b.WriteString("# Written by init from the configuration and DHCP.\n")
	seen := map[netip.Addr]bool{}
	for _, s := range servers {
		if !s.IsValid() || s.IsUnspecified() || seen[s] || len(seen) == 3 {
			continue
		}
		seen[s] = true
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	var search []string
	for _, d := range domains {
		if validDomain(d) && !slices.Contains(search, d) {
			search = append(search, d)
		}
	}
	if len(search) > 0 {
		b.WriteString("search " + strings.Join(search, " ") + "\n")
	}
	return []byte(b.String())
}

// validDomain keeps what a DHCP server calls a domain from writing other lines.
func validDomain(d string) bool {
	return d != "" && len(d) < 254 && strings.Trim(strings.ToLower(d), "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}
