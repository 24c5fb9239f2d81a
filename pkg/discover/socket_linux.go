package discover

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Port is the UDP port of discovery.
const Port = 6440

// The multicast groups: IPv4 in the site-local block (RFC 2365), IPv6 of
// link-local scope and not assigned (RFC 4291, 2.7; RFC 3307, 4.3).
var groups = map[family]netip.AddrPort{
	ipv4: netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 255, 25, 40}), Port),
	ipv6: netip.AddrPortFrom(netip.MustParseAddr("ff12::8000:1928"), Port),
}

type family int

const (
	ipv4 family = iota
	ipv6
)

func (f family) String() string { return [...]string{"IPv4", "IPv6"}[f] }

// sight is what matters of an interface.
type sight struct {
	index     int
	up        bool
	addresses string // all of them, for noticing a change
	ipv4      bool   // has an IPv4 address: without one its packets would come from nowhere
}

// kernel is the real system.
type kernel struct{}

func (kernel) look(name string) (sight, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return sight{}, err
	}
	addrs, err := i.Addrs()
	if err != nil {
		return sight{}, fmt.Errorf("addresses of %s: %w", name, err)
	}
	s := sight{index: i.Index, up: i.Flags&net.FlagUp != 0}
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			s.ipv4 = true
		}
	}
	s.addresses = strings.Join(all, " ")
	return s, nil
}

// open returns a socket that receives what is sent to the group on that
// interface and nothing else, and sends there. It is bound to the group's
// address, which package net would not do.
func (kernel) open(name string, index int, f family) (*net.UDPConn, error) {
	domain := unix.AF_INET
	if f == ipv6 {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open an %s socket: %w", f, err)
	}
	file := os.NewFile(uintptr(fd), "discovery on "+name)
	defer file.Close()
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), // other programs may listen too
		unix.BindToDevice(fd, name),
	)
	if f == ipv4 {
		err = errors.Join(err, setup4(fd, index))
	} else {
		err = errors.Join(err, setup6(fd, index))
	}
	if err != nil {
		return nil, fmt.Errorf("join the %s group %s on %s: %w", f, groups[f], name, err)
	}
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, fmt.Errorf("take over the socket on %s: %w", name, err)
	}
	return conn.(*net.UDPConn), nil
}

func setup4(fd, index int) error {
	group := groups[ipv4].Addr().As4()
	m := &unix.IPMreqn{Multiaddr: group, Ifindex: int32(index)}
	return errors.Join(
		unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, m),
		unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, m),
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0),
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0),
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: group, Port: Port}),
	)
}

func setup6(fd, index int) error {
	group := groups[ipv6].Addr().As16()
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1),
		unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: group, Interface: uint32(index)}),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, index),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 1),
		unix.Bind(fd, &unix.SockaddrInet6{Addr: group, Port: Port, ZoneId: uint32(index)}),
	)
}
