package discover

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// space is a network namespace.
type space struct{ netns.NsHandle }

func newSpace(t *testing.T) space {
	t.Helper()
	var s space
	var err error
	onThread(func() { s.NsHandle, err = netns.New() })
	noErr(t, err)
	t.Cleanup(func() { noErr(t, s.Close()) })
	return s
}

// onThread runs f on a thread of its own, which ends with it.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: nobody else gets this thread
		f()
	}()
	<-done
}

// do runs f in the namespace. Sockets that f opens stay there.
func (s space) do(f func() error) (err error) {
	onThread(func() {
		if err = netns.Set(s.NsHandle); err == nil {
			err = f()
		}
	})
	return err
}

func (s space) look(name string) (at sight, err error) {
	err = s.do(func() error { at, err = kernel{}.look(name); return err })
	return at, err
}

func (s space) open(name string, index int, f family) (c *net.UDPConn, err error) {
	err = s.do(func() error { c, err = kernel{}.open(name, index, f); return err })
	return c, err
}

// segment is an Ethernet segment: a bridge in a namespace of its own.
type segment struct {
	space
	t     *testing.T
	hosts int
}

func newSegment(t *testing.T) *segment {
	s := &segment{space: newSpace(t), t: t}
	noErr(t, s.do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "br0"
		snoop := false
		return up(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snoop}, "br0")
	}))
	return s
}

func up(l netlink.Link, name string) error {
	if err := netlink.LinkAdd(l); err != nil {
		return fmt.Errorf("add %s: %w", name, err)
	}
	got, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(got)
}

// host is a machine on the segment, with the interface eth0.
type host struct {
	space
	seg     *segment
	port    string // its end at the bridge
	address netip.Addr
}

func (s *segment) host() *host {
	s.t.Helper()
	s.hosts++
	h := &host{newSpace(s.t), s, fmt.Sprintf("port%d", s.hosts), netip.AddrFrom4([4]byte{192, 168, 7, byte(s.hosts)})}
	noErr(s.t, h.do(func() error { // an address can be used at once
		return os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0)
	}))
	h.plug()
	return h
}

// plug makes eth0 and connects it.
func (h *host) plug() {
	t := h.seg.t
	t.Helper()
	noErr(t, h.seg.do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = h.port
		if err := up(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(h.NsHandle)}, h.port); err != nil {
			return err
		}
		l, err := netlink.LinkByName(h.port)
		if err != nil {
			return err
		}
		br, err := netlink.LinkByName("br0")
		if err != nil {
			return err
		}
		return netlink.LinkSetMaster(l, br)
	}))
	noErr(t, h.do(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: h.address.AsSlice(), Mask: net.CIDRMask(24, 32)}}); err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	}))
}

func (h *host) unplug() {
	h.seg.t.Helper()
	noErr(h.seg.t, h.do(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkDel(l)
	}))
}

// running is discovery on a host.
type running struct {
	*Listener
	hints chan Hint
	stop  func()
}

func (h *host) listen(o Options) *running {
	t := h.seg.t
	ctx, cancel := context.WithCancel(context.Background())
	if o.Interfaces == nil {
		o.Interfaces = func() []string { return []string{"eth0"} }
	}
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	r := &running{hints: make(chan Hint, 1000)}
	r.Listener = listen(ctx, o, func(h Hint) { r.hints <- h }, h.space, 100*time.Millisecond)
	r.stop = sync.OnceFunc(func() { cancel(); <-r.Done() })
	t.Cleanup(r.stop)
	return r
}

// await waits for a hint that the function wants.
func (r *running) await(t *testing.T, what string, want func(Hint) bool) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case h := <-r.hints:
			if want(h) {
				return
			}
		case <-limit:
			t.Fatalf("no hint: %s; %+v", what, r.Counters())
		}
	}
}

// eventually waits for what only a counter shows.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !is() {
		select {
		case <-look.C:
		case <-limit:
			t.Fatalf("not seen: %s", what)
		}
	}
}

func is(f Flags) func() Flags { return func() Flags { return f } }

func at(a netip.Addr, f Flags) func(Hint) bool {
	return func(h Hint) bool { return h == Hint{a, f} }
}

func linkLocal(h Hint) bool { return h.Address.Is6() && h.Address.Zone() == "eth0" }

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNewcomerFindsTheMembers(t *testing.T) {
	s := newSegment(t)
	issuer, server, newcomer := s.host(), s.host(), s.host()
	first := issuer.listen(Options{Network: ours, Flags: is(Flags{Member: true, Issuer: true})})
	second := server.listen(Options{Network: ours, Flags: is(Flags{Member: true, Server: true})})
	first.await(t, "the other member", at(server.address, Flags{Member: true, Server: true}))
	second.await(t, "the other member by IPv6", linkLocal)
	third := newcomer.listen(Options{Network: ours, Flags: is(Flags{})})
	third.await(t, "the issuer", at(issuer.address, Flags{Member: true, Issuer: true}))
	third.await(t, "a member by IPv6", linkLocal)
	for range len(first.hints) {
		if h := <-first.hints; h.Address == newcomer.address || !h.Flags.Member {
			t.Errorf("a newcomer tells of itself: %+v", h)
		}
	}
	if c := third.Counters(); c.Foreign != 0 || c.Malformed != 0 || c.Heard == 0 {
		t.Errorf("%+v", c)
	}
}

// Two networks on one segment count each other's packets, and no more.
func TestNetworksDoNotMeet(t *testing.T) {
	s := newSegment(t)
	a, b := s.host(), s.host()
	flags := Flags{Member: true, Issuer: true}
	one := a.listen(Options{Network: ours, Flags: is(flags)})
	other := b.listen(Options{Network: theirs, Flags: is(flags)})
	c := s.host()
	third := c.listen(Options{Network: theirs, Flags: is(flags)})
	third.await(t, "its own network", at(b.address, flags))
	other.await(t, "its own network", at(c.address, flags))
	eventually(t, "packets of the other network", func() bool { return one.Counters().Foreign >= 4 })
	if c := one.Counters(); c.Heard != 0 || c.Malformed != 0 || len(one.hints) != 0 {
		t.Errorf("%+v, %d hints", c, len(one.hints))
	}
}

func TestInterfacesComeAndGo(t *testing.T) {
	s := newSegment(t)
	a, b := s.host(), s.host()
	flags := Flags{Member: true}
	one := a.listen(Options{Network: ours, Flags: is(flags)})
	other := b.listen(Options{Network: ours, Flags: is(flags)})
	one.await(t, "b", at(b.address, flags))
	other.await(t, "a", at(a.address, flags))
	b.unplug()
	b.address = netip.MustParseAddr("192.168.7.77")
	b.plug()
	one.await(t, "b on its new interface", at(b.address, flags))
	other.await(t, "a, from the new interface", at(a.address, flags))
	// another address on the same interface is told at once
	noErr(t, b.do(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		old := &netlink.Addr{IPNet: &net.IPNet{IP: b.address.AsSlice(), Mask: net.CIDRMask(24, 32)}}
		b.address = netip.MustParseAddr("192.168.7.78")
		if err := netlink.AddrDel(l, old); err != nil {
			return err
		}
		return netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: b.address.AsSlice(), Mask: net.CIDRMask(24, 32)}})
	}))
	one.await(t, "b at its new address", at(b.address, flags))
	one.stop()
	other.stop()
}

// A node that becomes a member answers from then on; one whose interfaces are
// none of those to look on is silent.
func TestFlagsAndInterfacesAreThoseOfTheMoment(t *testing.T) {
	s := newSegment(t)
	a, b := s.host(), s.host()
	var mu sync.Mutex
	var flags Flags
	var names []string
	locked := func(f func()) { mu.Lock(); defer mu.Unlock(); f() }
	one := a.listen(Options{
		Network:    ours,
		Flags:      func() (f Flags) { locked(func() { f = flags }); return f },
		Interfaces: func() (n []string) { locked(func() { n = names }); return n },
	})
	other := b.listen(Options{Network: ours, Flags: is(Flags{})})
	eventually(t, "two questions by IPv4 and IPv6", func() bool { return other.Counters().Sent >= 4 })
	if c := one.Counters(); c != (Counters{}) {
		t.Errorf("no interface to look on: %+v", c)
	}
	locked(func() { flags, names = Flags{Member: true, Issuer: true}, []string{"eth0", "absent0"} })
	other.await(t, "a", at(a.address, Flags{Member: true, Issuer: true}))
}

// Packets of another network cost no memory on the whole way from the socket.
func TestReceivingAllocatesNothing(t *testing.T) {
	s := newSegment(t)
	a, b := s.host(), s.host()
	l := newListener(Options{Network: ours}, nil, nil, time.Second)
	p := prefixOf(theirs)
	strange := p.encode(packet{kindHere, Flags{}, 1})
	for _, f := range []family{ipv4, ipv6} {
		open := func(h *host) *net.UDPConn {
			at, err := h.look("eth0")
			noErr(t, err)
			c, err := h.open("eth0", at.index, f)
			noErr(t, err)
			t.Cleanup(func() { noErr(t, c.Close()) })
			return c
		}
		from, to := open(a), open(b)
		var buffer [2 * packetLen]byte
		once := func(wait time.Duration) error {
			if _, err := from.WriteToUDPAddrPort(strange[:], groups[f]); err != nil {
				return err
			}
			if err := to.SetReadDeadline(time.Now().Add(wait)); err != nil {
				return err
			}
			n, sender, err := to.ReadFromUDPAddrPort(buffer[:])
			if err == nil {
				l.receive(buffer[:n], sender.Addr(), nil)
			}
			return err
		}
		eventually(t, "the segment carries packets", func() bool { return once(50*time.Millisecond) == nil })
		if allocs := testing.AllocsPerRun(200, func() { noErr(t, once(10*time.Second)) }); allocs != 0 {
			t.Errorf("%s: %v allocations", f, allocs)
		}
	}
	if got := l.Counters(); got != (Counters{Foreign: 2 * 202}) {
		t.Errorf("%+v", got)
	}
}
