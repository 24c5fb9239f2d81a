package mesh

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// wireguard stands for the kernel's part of WireGuard behind wgctrl.
type wireguard struct {
	dev wgtypes.Device
}

func (w *wireguard) Close() error { return nil }

func (w *wireguard) Device(string) (*wgtypes.Device, error) { return &w.dev, nil }

func (w *wireguard) ConfigureDevice(_ string, c wgtypes.Config) error {
	for _, p := range c.Peers {
		at := slices.IndexFunc(w.dev.Peers, func(q wgtypes.Peer) bool { return q.PublicKey == p.PublicKey })
		switch {
		case p.Remove:
			w.dev.Peers = slices.Delete(w.dev.Peers, at, at+1)
			continue
		case at < 0 && p.UpdateOnly:
			return os.ErrNotExist
		case at < 0:
			at = len(w.dev.Peers)
			w.dev.Peers = append(w.dev.Peers, wgtypes.Peer{PublicKey: p.PublicKey})
		}
		q := &w.dev.Peers[at]
		if p.Endpoint != nil {
			q.Endpoint = p.Endpoint
		}
		if p.PersistentKeepaliveInterval != nil {
			q.PersistentKeepaliveInterval = *p.PersistentKeepaliveInterval
		}
		if p.ReplaceAllowedIPs {
			q.AllowedIPs = nil
		}
		q.AllowedIPs = append(q.AllowedIPs, p.AllowedIPs...)
	}
	return nil
}

// inNamespace runs f on a thread in a network namespace of its own.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: nobody else gets this thread
		ns, err := netns.New()
		defer func() { done <- err }()
		if err == nil {
			f()
			err = ns.Close()
		}
	}()
	noErr(t, <-done)
}

// link adds an interface of a kind that leads to other machines, and one of a
// bridge, with addresses.
func link(l netlink.Link, addresses ...string) error {
	if err := netlink.LinkAdd(l); err != nil {
		return err
	}
	for _, a := range addresses {
		if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(a))}); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(l)
}

func attrs(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

// The thin part that talks to the kernel, with everything real but WireGuard.
func TestKernel(t *testing.T) {
	inNamespace(t, func() {
		for _, err := range []error{
			link(&netlink.Ifb{LinkAttrs: attrs("mycelium0")}),
			link(&netlink.Ifb{LinkAttrs: attrs("lan0")}, "192.168.1.5/24", "2001:db8::5/64"),
			link(&netlink.Bridge{LinkAttrs: attrs("cni0")}, "10.42.7.1/24"),
		} {
			if err != nil {
				t.Error(err)
				return
			}
		}
		k := &kernel{name: "mycelium0", address: netip.MustParseAddr("100.64.0.9"), wg: &wireguard{}}
		if err := k.up(netip.MustParsePrefix("100.64.0.9/10")); err != nil {
			t.Error(err)
			return
		}
		s, err := k.read()
		if err != nil || len(s.peers) != 0 || len(s.routes) != 0 {
			t.Errorf("%+v, %v", s, err)
		}
		for _, a := range []string{"100.64.0.9", "192.168.1.5", "2001:db8::5", "10.42.7.1"} {
			if !slices.Contains(s.own, netip.MustParseAddr(a)) {
				t.Errorf("%s is not among this machine's addresses: %v", a, s.own)
			}
		}
		for p, want := range map[string]bool{"192.168.1.0/24": true, "2001:db8::/64": true, "10.42.7.0/24": false, "100.64.0.0/10": false} {
			if slices.Contains(s.near, netip.MustParsePrefix(p)) != want {
				t.Errorf("%s: want near %v, have %v", p, want, s.near)
			}
		}
		checkKernelWrites(t, k)
	})
}

func checkKernelWrites(t *testing.T, k *kernel) {
	// 10.42.7.0/24 is this machine's own: a peer that is given it gets nothing
	pods := netip.MustParsePrefix("10.42.7.0/24")
	for _, want := range []map[Key]target{
		{keyA: {somewhere, []netip.Prefix{prefixY, pods, prefixX}}, keyB: {elsewhere, []netip.Prefix{prefixZ}}},
		{keyA: {elsewhere, []netip.Prefix{prefixX}}, keyB: {netip.MustParseAddrPort("[2001:db8::7]:5"), []netip.Prefix{prefixY, prefixZ}}},
		{keyB: {netip.AddrPort{}, []netip.Prefix{pods}}},
		{},
	} {
		have, err := k.read()
		if err != nil {
			t.Error(err)
			return
		}
		if err := k.write(plan(have, want)); err != nil {
			t.Error(err)
		}
		got, err := k.read()
		if err != nil {
			t.Error(err)
		} else if err := right(have, got, want); err != nil {
			t.Error(err)
		}
		if again := plan(got, want); !again.empty() {
			t.Errorf("still to do: %+v", again)
		}
		if routes, err := netlink.RouteGet(net.IPv4(10, 42, 7, 9)); err != nil || len(routes) != 1 || routes[0].LinkIndex == k.index {
			t.Errorf("a peer took this machine's pods: %v, %v", routes, err)
		}
		if _, wanted := want[keyA]; wanted {
			routes, err := netlink.RouteGet(net.IP(prefixX.Addr().AsSlice()))
			if err != nil || len(routes) != 1 || routes[0].LinkIndex != k.index || !routes[0].Src.Equal(k.address.AsSlice()) {
				t.Errorf("route to %s: %v, %v", prefixX, routes, err)
			}
		}
	}
}

func TestReadWhatTheKernelSays(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	k := &kernel{name: "lo", wg: &wireguard{wgtypes.Device{Peers: []wgtypes.Peer{
		{PublicKey: wgtypes.Key(keyA), LastHandshakeTime: time.Unix(0, 0)},
		{
			PublicKey: wgtypes.Key(keyB), LastHandshakeTime: at, ReceiveBytes: 3, TransmitBytes: 4, PersistentKeepaliveInterval: keepalive,
			Endpoint:   &net.UDPAddr{IP: net.ParseIP("192.168.1.1"), Port: 51820}, // in 16 bytes
			AllowedIPs: []net.IPNet{*ipNet(prefixX), *ipNet(prefixZ), *ipNet(prefixY)},
		},
	}}}}
	inNamespace(t, func() {
		s, err := k.read()
		if err != nil {
			t.Error(err)
			return
		}
		if a := s.peers[keyA]; a.endpoint.IsValid() || !a.handshake.IsZero() || a.allowed != nil {
			t.Errorf("%+v", a)
		}
		b := s.peers[keyB]
		if b.endpoint != somewhere || !b.handshake.Equal(at) || b.received != 3 || b.sent != 4 || !slices.Equal(b.allowed, []netip.Prefix{prefixY, prefixX, prefixZ}) {
			t.Errorf("%+v", b)
		}
	})
}

// With WireGuard an interface comes and goes, without it there is a plain error;
// neither leaves anything behind.
func TestOpen(t *testing.T) {
	inNamespace(t, func() {
		k, err := openKernel("mycelium0", [32]byte{1}, netip.MustParsePrefix("100.64.0.9/10"), 51820, 1420)
		switch {
		case err == nil:
			if s, err := k.read(); err != nil || len(s.peers) != 0 {
				t.Errorf("%+v, %v", s, err)
			}
			if err := k.close(); err != nil {
				t.Error(err)
			}
		case !errors.Is(err, ErrUnsupported):
			t.Errorf("%v", err)
		}
		if _, err := netlink.LinkByName("mycelium0"); !errors.As(err, &netlink.LinkNotFoundError{}) {
			t.Errorf("left behind: %v", err)
		}
	})
}
