package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/firewall"
	"github.com/digital-mycelium/os/cmd/init/internal/netplan"
	"github.com/digital-mycelium/os/cmd/init/internal/supplicant"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
)

// network configures the physical interfaces and follows what becomes of them.
type network struct {
	m   *machine
	log *slog.Logger

	mu      sync.Mutex
	changed chan struct{}        // closed and replaced when the node address changes
	moved   chan struct{}        // closed and replaced when any address changes
	all     []netip.Addr         // of the interfaces, the node address first
	settled bool                 // every interface with a link has an address
	address netip.Addr           // the node's; invalid when there is none
	leases  context.Context      // ends with the DHCP clients, see begin
	end     context.CancelFunc   // ends leases
	clients sync.WaitGroup       // DHCP clients, and lookAfter while it runs
	started map[string]bool      // interfaces that are looked after; nil: none are
	learned map[string]leaseInfo // by interface

	wake     func()                      // lets the interfaces be looked at
	wireless []string                    // interfaces of wireless cards
	radio    map[string]supplicant.State // by interface
}

// leaseInfo is what a DHCP server told besides the address, and the hardware
// address of the interface on which it did.
type leaseInfo struct {
	mac     string
	dns     []netip.Addr
	ntp     []string
	domains []string
}

func newNetwork(m *machine) *network {
	return &network{m: m, log: m.log.With("part", "network"), changed: make(chan struct{}), moved: make(chan struct{}), learned: map[string]leaseInfo{}}
}

// addressPatience is how long the boot waits for an address on an interface
// that has a link, and for the link of one with a static address (a gigabit
// card negotiates for some three seconds); the rest of the wait is the
// services'.
const addressPatience = 5 * time.Second

// startNetwork brings the interfaces up and leaves the rest to the background.
// A missing network is no failure of the boot.
func (m *machine) startNetwork(ctx context.Context) error {
	n := m.net
	if lo, err := netlink.LinkByName("lo"); err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	} else if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring the loopback interface up: %w", err)
	}
	updates := make(chan struct{}, 1)
	if err := n.subscribe(ctx, updates); err != nil {
		return err
	}
	n.begin(ctx)
	m.spawn(func() { n.follow(ctx, updates) })
	if !n.waitSettled(ctx, addressPatience) {
		m.log.Warn("not every interface has an address yet: going on")
	}
	return n.writeResolv()
}

// subscribe wakes updates when links or addresses change.
func (n *network) subscribe(ctx context.Context, updates chan<- struct{}) error {
	wake := func() {
		select {
		case updates <- struct{}{}:
		default:
		}
	}
	links, addrs := make(chan netlink.LinkUpdate, 16), make(chan netlink.AddrUpdate, 16)
	n.mu.Lock()
	n.wake = wake
	n.mu.Unlock()
	onError := func(err error) { n.log.Warn("netlink subscription", "error", err) }
	if err := netlink.LinkSubscribeWithOptions(links, ctx.Done(), netlink.LinkSubscribeOptions{ErrorCallback: onError}); err != nil {
		return fmt.Errorf("follow the network interfaces: %w", err)
	}
	if err := netlink.AddrSubscribeWithOptions(addrs, ctx.Done(), netlink.AddrSubscribeOptions{ErrorCallback: onError}); err != nil {
		return fmt.Errorf("follow the network addresses: %w", err)
	}
	n.m.spawn(func() {
		for links != nil || addrs != nil {
			select {
			case _, ok := <-links:
				if !ok {
					links = nil
				}
			case _, ok := <-addrs:
				if !ok {
					addrs = nil
				}
			}
			wake()
		}
	})
	return nil
}

// follow looks at the interfaces when something changed, and now and then in
// case a message was lost.
func (n *network) follow(ctx context.Context, updates <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-updates:
			// Pods make many changes at once.
			if !sleep(ctx, 50*time.Millisecond) {
				return
			}
		case <-time.After(15 * time.Second):
		}
		n.look()
	}
}

// look reads the interfaces, begins to look after new ones and publishes what
// it saw.
func (n *network) look() {
	all, err := netlink.LinkList()
	if err != nil {
		n.log.Warn("cannot list the network interfaces", "error", err)
		return
	}
	var links []netplan.Link
	for _, l := range all {
		if !isPhysical(l) {
			continue
		}
		n.lookAfter(l)
		link := describeLink(l)
		if radio := n.radioOf(link.Name); radio != nil {
			link.Wireless, link.Reason = true, radio.Reason
		}
		links = append(links, link)
	}
	n.publish(netplan.WiredFirst(links))
}

// isPhysical tells Ethernet cards (and the virtual machine's) from bridges,
// pods' ends of cables, tunnels.
func isPhysical(l netlink.Link) bool {
	a := l.Attrs()
	if a.Flags&net.FlagLoopback != 0 || len(a.HardwareAddr) != 6 {
		return false
	}
	_, err := os.Stat("/sys/class/net/" + a.Name + "/device")
	return err == nil
}

func describeLink(l netlink.Link) netplan.Link {
	a := l.Attrs()
	// Not IFF_RUNNING: the kernel sets that up to a second later.
	out := netplan.Link{Name: a.Name, MAC: a.HardwareAddr.String(), Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0}
	addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return out
	}
	for _, ad := range addrs {
		if ip, ok := netip.AddrFromSlice(ad.IP); ok {
			ones, _ := ad.Mask.Size()
			out.Addresses = append(out.Addresses, netip.PrefixFrom(ip.Unmap(), ones))
		}
	}
	return out
}

// lookAfter brings an interface up by its rule, once.
func (n *network) lookAfter(l netlink.Link) {
	a := l.Attrs()
	n.mu.Lock()
	if n.started == nil || n.started[a.Name] {
		n.mu.Unlock()
		return
	}
	n.started[a.Name] = true
	leases := n.leases
	n.clients.Add(1) // stop waits for this, too
	n.mu.Unlock()
	defer n.clients.Done()
	rule := netplan.Rule(n.m.config().Network.Interfaces, a.Name, a.HardwareAddr.String())
	n.log.Info("interface found", "name", a.Name, "mac", a.HardwareAddr.String(), "dhcp", rule.UseDHCP(), "ignore", rule.Ignore)
	if rule.Ignore {
		return
	}
	wireless := isWireless(a.Name)
	if err := netlink.LinkSetUp(l); err != nil {
		n.log.Error("cannot bring the interface up", "name", a.Name, "error", err)
		if !wireless { // a radio that is switched off comes up later
			return
		}
	}
	if wireless {
		n.joinWireless(a.Name)
	}
	if err := setStatic(l, rule); err != nil {
		n.log.Error("static address", "name", a.Name, "error", err)
		n.m.board.SetProblem("static/"+a.Name, fmt.Sprintf("%s: %v", a.Name, err))
	}
	if rule.UseDHCP() {
		d := &dhcpClient{n: n, name: a.Name, log: n.log.With("interface", a.Name)}
		n.clients.Add(1)
		n.m.spawn(func() { defer n.clients.Done(); d.run(leases) })
	}
}

// setStatic gives the interface the addresses and the default route of its rule.
func setStatic(l netlink.Link, rule config.Interface) error {
	for _, s := range rule.Addresses {
		addr, err := netlink.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("address %s: %w", s, err)
		}
		if err := netlink.AddrReplace(l, addr); err != nil {
			return fmt.Errorf("set the address %s: %w", s, err)
		}
	}
	if rule.Gateway == "" {
		return nil
	}
	return setGateway(l, net.ParseIP(rule.Gateway))
}

// routeMetric is the default route's; a lower interface index wins a tie. A cable
// goes before Wi-Fi.
const (
	routeMetric         = 1024
	wirelessRouteMetric = 4096
)

func setGateway(l netlink.Link, gw net.IP) error {
	metric := routeMetric
	if isWireless(l.Attrs().Name) {
		metric = wirelessRouteMetric
	}
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Gw: gw, Priority: metric + l.Attrs().Index}
	err := netlink.RouteReplace(r)
	if errors.Is(err, unix.ENETUNREACH) { // the router is outside the network (RFC 3442 sites)
		r.SetFlag(netlink.FLAG_ONLINK)
		err = netlink.RouteReplace(r)
	}
	if err != nil {
		return fmt.Errorf("set the default route by %s: %w", gw, err)
	}
	return nil
}

// publish puts what was seen into the status and tells who waits for the
// node's address.
func (n *network) publish(links []netplan.Link) {
	n.mu.Lock()
	before := n.address
	n.address, _ = netplan.NodeAddress(links, n.m.config().Network.Interfaces, before)
	n.settled = netplan.Settled(links, n.m.config().Network.Interfaces)
	after := n.address
	if after != before {
		close(n.changed)
		n.changed = make(chan struct{})
	}
	if all := reachable(links, after); !slices.Equal(all, n.all) {
		n.all = all
		close(n.moved)
		n.moved = make(chan struct{})
	}
	n.mu.Unlock()
	if netplan.Connected(links) {
		n.m.board.ClearProblem("network")
	} else {
		n.m.board.SetProblem("network", netplan.Problem(links, n.m.config().Network.Interfaces))
	}
	n.m.board.SetProblem("clusterlan", clusterOnLAN(links))
	n.m.board.SetProblem("wifi", missingRadio(n.m.config().Network.WiFi, netplan.CountWireless(links)))
	ifs := make([]api.Interface, len(links))
	for i, l := range links {
		ifs[i] = api.Interface{Name: l.Name, MAC: l.MAC, Up: l.Carrier, Addresses: []string{}, Wireless: n.radioOf(l.Name)}
		for _, p := range l.Addresses {
			ifs[i].Addresses = append(ifs[i].Addresses, p.String())
		}
	}
	if s, _ := n.m.board.Get(); !slices.EqualFunc(s.Interfaces, ifs, sameInterface) {
		n.m.board.Update(func(s *api.Status) { s.Interfaces = ifs })
	}
}

func sameInterface(a, b api.Interface) bool {
	if (a.Wireless == nil) != (b.Wireless == nil) || a.Wireless != nil && *a.Wireless != *b.Wireless {
		return false
	}
	return a.Name == b.Name && a.MAC == b.MAC && a.Up == b.Up && slices.Equal(a.Addresses, b.Addresses)
}

// nodeAddress returns the node's address and a channel that is closed when it
// changes.
func (n *network) nodeAddress() (netip.Addr, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.address, n.changed
}

// addresses returns where others may reach the node, its own address first, and
// a channel that is closed when that changes.
func (n *network) addresses() ([]netip.Addr, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all, n.moved
}

// clusterOnLAN says which interface is in a network that the cluster uses for
// itself; "" when none is.
func clusterOnLAN(links []netplan.Link) string {
	for _, l := range links {
		for _, p := range l.Addresses {
			if cluster, is := firewall.Conflict(p.Masked()); is {
				return fmt.Sprintf("%s is in %s, which overlaps %s, the cluster's own addresses: who has one of them there cannot reach this node; give that LAN other addresses", l.Name, p.Masked(), cluster)
			}
		}
	}
	return ""
}

// names returns the interfaces that are looked after.
func (n *network) names() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.started))
}

// reachable returns the addresses of the links that others can use.
func reachable(links []netplan.Link, first netip.Addr) []netip.Addr {
	var all []netip.Addr
	for _, l := range links {
		for _, p := range l.Addresses {
			if a := p.Addr(); a.IsGlobalUnicast() && a != first {
				all = append(all, a)
			}
		}
	}
	if first.IsValid() {
		all = append([]netip.Addr{first}, all...)
	}
	return all
}

// waitAddress waits until the node has an address, at most for limit (0: until
// ctx ends).
func (n *network) waitAddress(ctx context.Context, limit time.Duration) (netip.Addr, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	for {
		addr, changed := n.nodeAddress()
		if addr.IsValid() {
			return addr, nil
		}
		select {
		case <-ctx.Done():
			return netip.Addr{}, ctx.Err()
		case <-changed:
		}
	}
}

// waitSettled waits until every interface with a link has an address; false
// after limit.
func (n *network) waitSettled(ctx context.Context, limit time.Duration) bool {
	for end := time.Now().Add(limit); ; {
		n.mu.Lock()
		settled := n.settled
		n.mu.Unlock()
		if settled {
			return true
		}
		if time.Now().After(end) || !sleep(ctx, 20*time.Millisecond) {
			return false
		}
	}
}

// learn notes what a DHCP server told on an interface.
func (n *network) learn(name string, info leaseInfo) {
	n.mu.Lock()
	n.learned[name] = info
	n.mu.Unlock()
	if err := n.writeResolv(); err != nil {
		n.log.Error("cannot write resolv.conf", "error", err)
	}
}

// timeServers returns the NTP servers that DHCP named.
func (n *network) timeServers() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for _, info := range n.learned {
		all = append(all, info.ntp...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// resolvers returns the name servers and search domains, best first: an
// interface's configured servers in place of those that DHCP named on it.
// learned is by the interfaces' names.
func resolvers(rules []config.Interface, learned map[string]leaseInfo) (servers []netip.Addr, domains []string) {
	for _, r := range rules {
		for _, s := range r.Nameservers {
			if a, err := netip.ParseAddr(s); err == nil {
				servers = append(servers, a)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(learned)) {
		info := learned[name]
		if len(netplan.Rule(rules, name, info.mac).Nameservers) == 0 {
			servers = append(servers, info.dns...)
		}
		domains = append(domains, info.domains...)
	}
	return servers, domains
}

// writeResolv writes /run/resolv.conf.
func (n *network) writeResolv() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	content := netplan.Resolv(resolvers(n.m.config().Network.Interfaces, n.learned))
	if old, err := os.ReadFile("/run/resolv.conf"); err == nil && string(old) == string(content) {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// In place, not by rename: /etc/resolv.conf may be bind-mounted somewhere.
	return os.WriteFile("/run/resolv.conf", content, 0o644)
}

// searchDomains splits what a server calls the domain name.
func searchDomains(s string) []string { return strings.Fields(strings.ReplaceAll(s, ",", " ")) }
