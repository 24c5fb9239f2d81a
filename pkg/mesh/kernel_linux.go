package mesh

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

const (
	// RouteProtocol marks the package's routes (rtnetlink(7), rtm_protocol).
	RouteProtocol = 109
	// routeMetric makes every other route to the same destination win.
	routeMetric = 9000
)

// ErrUnsupported: the kernel has no WireGuard.
var ErrUnsupported = errors.New("the kernel has no WireGuard")

// kernel is the real device.
type kernel struct {
	name    string
	index   int
	address netip.Addr
	wg      control
}

// control is wgctrl.Client, as far as it is needed.
type control interface {
	Device(name string) (*wgtypes.Device, error)
	ConfigureDevice(name string, c wgtypes.Config) error
	Close() error
}

func openKernel(name string, key [32]byte, address netip.Prefix, port, mtu int) (*kernel, error) {
	if err := remove(name); err != nil {
		return nil, fmt.Errorf("remove the interface of an earlier run: %w", err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	if err := netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs}); errors.Is(err, unix.EOPNOTSUPP) {
		return nil, fmt.Errorf("%w: build it with CONFIG_WIREGUARD, or load the module", ErrUnsupported)
	} else if err != nil {
		return nil, fmt.Errorf("make the interface: %w", err)
	}
	wg, err := wgctrl.New()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("talk to WireGuard: %w", err), remove(name))
	}
	k := &kernel{name: name, address: address.Addr(), wg: wg}
	private := wgtypes.Key(key)
	if err := wg.ConfigureDevice(name, wgtypes.Config{PrivateKey: &private, ListenPort: &port, ReplacePeers: true}); err != nil {
		return nil, errors.Join(fmt.Errorf("set key and port %d: %w", port, err), k.close())
	}
	if err := k.up(address); err != nil {
		return nil, errors.Join(err, k.close())
	}
	return k, nil
}

// up gives the interface its address and starts it.
func (k *kernel) up(address netip.Prefix) error {
	link, err := netlink.LinkByName(k.name)
	if err != nil {
		return fmt.Errorf("find the interface: %w", err)
	}
	k.index = link.Attrs().Index
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(address)}); err != nil {
		return fmt.Errorf("give the interface the address %s: %w", address, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("start the interface: %w", err)
	}
	return nil
}

func remove(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return err
	}
	return netlink.LinkDel(link)
}

func (k *kernel) close() error { return errors.Join(k.wg.Close(), remove(k.name)) }

func (k *kernel) read() (state, error) {
	dev, err := k.wg.Device(k.name)
	if err != nil {
		return state{}, fmt.Errorf("WireGuard's peers: %w", err)
	}
	s := state{peers: make(map[Key]kernelPeer, len(dev.Peers))}
	for _, p := range dev.Peers {
		kp := kernelPeer{
			keepalive: p.PersistentKeepaliveInterval, received: p.ReceiveBytes, sent: p.TransmitBytes,
		}
		if p.Endpoint != nil {
			e := p.Endpoint.AddrPort()
			kp.endpoint = netip.AddrPortFrom(e.Addr().Unmap(), e.Port())
		}
		if p.LastHandshakeTime.Unix() > 0 {
			kp.handshake = p.LastHandshakeTime
		}
		for _, n := range p.AllowedIPs {
			if prefix, ok := prefixOf(&n); ok {
				kp.allowed = append(kp.allowed, prefix)
			}
		}
		slices.SortFunc(kp.allowed, comparePrefixes)
		s.peers[Key(p.PublicKey)] = kp
	}
	if s.routes, err = k.routes(); err != nil {
		return state{}, fmt.Errorf("routes: %w", err)
	}
	if err := k.surroundings(&s); err != nil {
		return state{}, fmt.Errorf("this machine's addresses: %w", err)
	}
	return s, nil
}

func (k *kernel) routes() ([]netip.Prefix, error) {
	filter := &netlink.Route{LinkIndex: k.index, Protocol: RouteProtocol}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	for _, r := range routes {
		if p, ok := prefixOf(r.Dst); ok {
			out = append(out, p)
		}
	}
	return out, nil
}

// surroundings fills in the machine's addresses and the networks that it is on.
// Bridges and their ports are those of containers, and lead to no other machine.
func (k *kernel) surroundings(s *state) error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	leads := map[int]bool{}
	for _, l := range links {
		inner := slices.Contains([]string{"bridge", "veth", "wireguard"}, l.Type())
		a := l.Attrs()
		leads[a.Index] = !inner && a.Index != k.index && a.Flags&net.FlagLoopback == 0 && a.Flags&net.FlagUp != 0
	}
	for _, a := range addrs {
		p, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		s.own = append(s.own, p.Unmap())
		if prefix, ok := prefixOf(a.IPNet); ok && leads[a.LinkIndex] {
			s.near = append(s.near, prefix)
		}
	}
	return nil
}

func (k *kernel) write(c changes) error {
	var errs []error
	if len(c.peers) > 0 {
		if err := k.wg.ConfigureDevice(k.name, wgtypes.Config{Peers: peerConfigs(c.peers)}); err != nil {
			errs = append(errs, fmt.Errorf("WireGuard's peers: %w", err))
		}
	}
	for _, p := range c.oldRoutes {
		if err := netlink.RouteDel(k.route(p)); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("remove the route to %s: %w", p, err))
		}
	}
	for _, p := range c.newRoutes {
		if err := netlink.RouteAdd(k.route(p)); err != nil {
			errs = append(errs, fmt.Errorf("add a route to %s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

func (k *kernel) route(to netip.Prefix) *netlink.Route {
	r := &netlink.Route{LinkIndex: k.index, Dst: ipNet(to), Protocol: RouteProtocol, Priority: routeMetric}
	if to.Addr().Is4() {
		r.Scope = netlink.SCOPE_LINK
		if k.address.Is4() {
			r.Src = k.address.AsSlice() // whatever other addresses the machine has
		}
	}
	return r
}

func peerConfigs(cs []peerChange) []wgtypes.PeerConfig {
	interval := keepalive
	var out []wgtypes.PeerConfig
	for _, c := range cs {
		p := wgtypes.PeerConfig{
			PublicKey: wgtypes.Key(c.key), Remove: c.remove, UpdateOnly: !c.create && !c.remove, ReplaceAllowedIPs: c.replace,
		}
		if c.keepalive {
			p.PersistentKeepaliveInterval = &interval
		}
		if c.endpoint.IsValid() {
			p.Endpoint = net.UDPAddrFromAddrPort(c.endpoint)
		}
		for _, a := range c.allowed {
			p.AllowedIPs = append(p.AllowedIPs, *ipNet(a))
		}
		out = append(out, p)
	}
	return out
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefixOf returns n in canonical form; false for none.
func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if !ok || size == 0 {
		return netip.Prefix{}, false
	}
	if a = a.Unmap(); a.BitLen() != size {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, bits).Masked(), true
}

var _ device = (*kernel)(nil)
