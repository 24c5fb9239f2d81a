package firewall

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lab is a node with its neighbours, each a network namespace. The node's is the
// one that the test runs in.
//
//	outside 192.0.2.2 ── eth0 192.0.2.1 ─┐
//	member 100.64.0.2 ── mesh 100.64.0.1 ─ node
//	pod     10.42.0.5 ── cni0  10.42.0.1 ─┘
type lab struct {
	t                    *testing.T
	outside, member, pod int // file descriptors of namespaces
}

const (
	meshName, bridgeName = "mycelium0", "cni0"
	// patience is how long to wait for what should come, and impatience for what
	// should not.
	patience, impatience = 20 * time.Second, 300 * time.Millisecond
)

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t}
	l.outside, l.member, l.pod = l.namespace(), l.namespace(), l.namespace()
	up := func(link netlink.Link, addresses ...string) {
		l.must(netlink.LinkSetUp(link))
		for _, a := range addresses {
			addr, err := netlink.ParseAddr(a)
			l.must(err)
			addr.Flags = unix.IFA_F_NODAD
			l.must(netlink.AddrAdd(link, addr))
		}
	}
	get := func(name string) netlink.Link {
		link, err := netlink.LinkByName(name)
		l.must(err)
		return link
	}
	route := func(to, via string) {
		_, dst, err := net.ParseCIDR(to)
		l.must(err)
		l.must(netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(via)}))
	}
	for name, ns := range map[string]int{"eth0": l.outside, meshName: l.member, "veth0": l.pod} {
		l.must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "far"}))
		l.must(netlink.LinkSetNsFd(get("far"), ns))
	}
	l.must(netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}}))
	l.must(netlink.LinkSetMaster(get("veth0"), get(bridgeName)))
	up(get("lo"))
	up(get("veth0"))
	up(get("eth0"), "192.0.2.1/24", "2001:db8::1/64")
	up(get(meshName), "100.64.0.1/10")
	up(get(bridgeName), "10.42.0.1/24")
	l.must(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))
	for _, name := range []string{"all", "eth0", meshName, bridgeName} {
		l.must(os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/rp_filter", []byte("0"), 0))
	}
	route("10.42.1.0/24", "100.64.0.2")
	route("0.0.0.0/0", "192.0.2.2")
	// Outside is whoever it likes to be, and knows the way to the cluster.
	l.in(l.outside, func() {
		up(get("far"), "192.0.2.2/24", "2001:db8::2/64")
		up(get("lo"), "100.64.0.9/32", "10.43.0.9/32", "10.42.9.9/32")
		route("10.42.0.0/16", "192.0.2.1")
		route("10.43.0.0/16", "192.0.2.1")
		route("100.64.0.0/10", "192.0.2.1")
	})
	l.in(l.member, func() {
		up(get("far"), "100.64.0.2/10")
		up(get("lo"), "10.42.1.5/32")
		route("10.42.0.0/16", "100.64.0.1")
	})
	l.in(l.pod, func() {
		up(get("far"), "10.42.0.5/24")
		up(get("lo"), "100.64.0.9/32")
		route("0.0.0.0/0", "10.42.0.1")
	})
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// namespace makes a network namespace.
func (l *lab) namespace() (fd int) {
	l.thread(func() {
		l.must(unix.Unshare(unix.CLONE_NEWNET))
		f, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		l.must(err)
		fd = f
	})
	return fd
}

// in runs f in a namespace; 0 is the node's.
func (l *lab) in(ns int, f func()) {
	l.t.Helper()
	if ns == 0 {
		f()
		return
	}
	l.thread(func() {
		l.must(unix.Setns(ns, unix.CLONE_NEWNET))
		f()
	})
}

// thread runs f in a thread of its own, which ends with it.
func (l *lab) thread(f func()) {
	l.t.Helper()
	done := make(chan bool, 1)
	go func() {
		runtime.LockOSThread()
		ok := false
		defer func() { done <- ok }() // also when f ends the goroutine
		f()
		ok = true
	}()
	if !<-done {
		l.t.FailNow()
	}
}

// serve answers at a TCP address with the address that it sees the caller at.
func (l *lab) serve(ns int, addresses ...string) {
	l.t.Helper()
	for _, address := range addresses {
		l.in(ns, func() {
			listener, err := net.Listen("tcp", address)
			l.must(err)
			l.t.Cleanup(func() { _ = listener.Close() })
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
					fmt.Fprint(conn, host)
					_ = conn.Close()
				}
			}()
		})
	}
}

// call returns the address that the server sees the caller at; "" when it is not
// reached. want is what to expect.
func (l *lab) call(ns int, from, address, want string) (seen string) {
	l.t.Helper()
	l.in(ns, func() {
		d := net.Dialer{Timeout: patience}
		if want == "" {
			d.Timeout = impatience
		}
		if from != "" {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
		}
		conn, err := d.Dial("tcp", address)
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		b, err := io.ReadAll(conn)
		l.must(err)
		seen = string(b)
	})
	return seen
}

// datagrams is a UDP socket that says who sends to it. The caller closes it.
type datagrams struct{ net.PacketConn }

func (l *lab) datagrams(ns int, address string) (d datagrams) {
	l.t.Helper()
	l.in(ns, func() {
		conn, err := net.ListenPacket("udp4", address)
		l.must(err)
		d = datagrams{conn}
	})
	return d
}

// next returns where the next datagram is from and what it was sent to.
func (l *lab) next(d datagrams) string {
	l.t.Helper()
	l.must(d.SetReadDeadline(time.Now().Add(patience)))
	buf := make([]byte, 64)
	n, addr, err := d.ReadFrom(buf)
	l.must(err)
	host, _, _ := net.SplitHostPort(addr.String())
	return host + " to " + string(buf[:n])
}

// send sends a datagram that says where it goes. "" as from is the usual address.
func (l *lab) send(ns int, from, to string) {
	l.t.Helper()
	l.in(ns, func() {
		d := net.Dialer{}
		if from != "" {
			d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
		}
		conn, err := d.Dial("udp4", to+":9000")
		l.must(err)
		defer func() { _ = conn.Close() }()
		_, err = conn.Write([]byte(to))
		// The sender's own node may refuse at once.
		if err != nil && !errors.Is(err, unix.EPERM) {
			l.t.Fatal(err)
		}
	})
}
