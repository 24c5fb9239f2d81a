package main

import (
	"context"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// begin looks after the interfaces by the rules of the configuration, which may be
// others than those before stop.
func (n *network) begin(ctx context.Context) {
	n.mu.Lock()
	n.leases, n.end = context.WithCancel(ctx)
	n.started = map[string]bool{}
	n.mu.Unlock()
	n.m.rejoin()
	n.look()
}

// stop ends what begin began and takes the addresses off the interfaces, so that
// other rules can begin. It is for the boot, before anything uses the network.
func (n *network) stop() {
	n.mu.Lock()
	n.started = nil
	end := n.end
	n.mu.Unlock()
	end()
	n.clients.Wait()
	n.mu.Lock()
	n.learned = map[string]leaseInfo{}
	n.mu.Unlock()
	links, err := netlink.LinkList()
	if err != nil {
		n.log.Warn("cannot list the network interfaces", "error", err)
		return
	}
	for _, l := range links {
		if !isPhysical(l) {
			continue
		}
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			n.log.Warn("cannot list the addresses", "interface", l.Attrs().Name, "error", err)
		}
		for _, a := range addrs {
			if a.Scope == unix.RT_SCOPE_LINK { // IPv6's own
				continue
			}
			if err := netlink.AddrDel(l, &a); err != nil {
				n.log.Warn("cannot give the address up", "interface", l.Attrs().Name, "address", a.String(), "error", err)
			}
		}
		// Its own IPv6 addresses come back if a rule brings it up.
		if err := netlink.LinkSetDown(l); err != nil {
			n.log.Warn("cannot bring the interface down", "interface", l.Attrs().Name, "error", err)
		}
	}
}
