package netboot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/pin/tftp/v3"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// Bounds of what the segment can make the server do at once.
const (
	maxConnections = 256
	maxTransfers   = 64
	packetsSecond  = 200
)

// Serve answers on the interface until ctx ends: DHCP and its proxy port, TFTP,
// and HTTP. Every socket is bound to the interface. c.Neighbour is set to the
// kernel's neighbour table when it is nil. It needs the capabilities
// CAP_NET_BIND_SERVICE and CAP_NET_RAW.
func Serve(ctx context.Context, interfaceName string, c *Config) error {
	l, err := listen(ctx, interfaceName, c.Network)
	if err != nil {
		return err
	}
	defer l.close()
	if c.Neighbour == nil {
		c.Neighbour = func(a netip.Addr) (MAC, error) { return neighbour(interfaceName, a) }
	}
	g, ctx := errgroup.WithContext(ctx)
	answering := &answerer{config: c, limit: rate.NewLimiter(packetsSecond, packetsSecond)}
	g.Go(func() error { return answering.serve(ctx, l.dhcp, PortDHCP) })
	g.Go(func() error { return answering.serve(ctx, l.proxy, PortProxy) })
	g.Go(func() error { return serveTFTP(ctx, l.tftp, c) })
	g.Go(func() error { return serveHTTP(ctx, l.http, c) })
	return g.Wait()
}

// listeners are an interface's sockets.
type listeners struct {
	dhcp, proxy, tftp net.PacketConn
	http              net.Listener
}

func listen(ctx context.Context, interfaceName string, n Network) (l *listeners, err error) {
	l = &listeners{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return bind(c, interfaceName) }}
	server := n.Server.Addr().String()
	for _, p := range []struct {
		conn *net.PacketConn
		host string
		port int
	}{{&l.dhcp, "0.0.0.0", PortDHCP}, {&l.proxy, "0.0.0.0", PortProxy}, {&l.tftp, server, PortTFTP}} {
		address := net.JoinHostPort(p.host, fmt.Sprint(p.port))
		if *p.conn, err = lc.ListenPacket(ctx, "udp4", address); err != nil {
			return nil, listenError(interfaceName, address, err)
		}
	}
	address := net.JoinHostPort(server, fmt.Sprint(n.HTTPPort))
	if l.http, err = lc.Listen(ctx, "tcp4", address); err != nil {
		return nil, listenError(interfaceName, address, err)
	}
	return l, nil
}

// bind ties a socket to an interface, before it gets its port.
func bind(c syscall.RawConn, interfaceName string) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = errors.Join(
			unix.BindToDevice(int(fd), interfaceName),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
			// a DHCP server for another interface, or for this one's addresses, may run here
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		)
	}); e != nil {
		return e
	}
	return err
}

func listenError(interfaceName, address string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, fs.ErrPermission):
		hint = ": run it as root, or give the program the right: setcap cap_net_bind_service,cap_net_raw+ep PROGRAM"
	case errors.Is(err, unix.EADDRINUSE):
		hint = ": another program has the port (ss -lunpt shows which)"
	}
	return fmt.Errorf("listen on %s of interface %s: %w%s", address, interfaceName, err, hint)
}

func (l *listeners) close() {
	for _, c := range []io.Closer{l.dhcp, l.proxy, l.tftp, l.http} {
		if c != nil {
			_ = c.Close() // nothing is lost that a machine does not ask for again
		}
	}
}

// answerer answers DHCP packets of two ports, one at a time: leases are shared.
type answerer struct {
	config *Config
	limit  *rate.Limiter
	mu     sync.Mutex
}

func (a *answerer) serve(ctx context.Context, conn net.PacketConn, port int) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read from port %d: %w", port, err)
		}
		udp, ok := from.(*net.UDPAddr)
		if !ok || !a.limit.Allow() {
			continue
		}
		p, err := dhcpv4.FromBytes(buf[:n])
		if err != nil {
			continue // not DHCP
		}
		a.answer(conn, port, udp.AddrPort(), p)
	}
}

func (a *answerer) answer(conn net.PacketConn, port int, from netip.AddrPort, p *dhcpv4.DHCPv4) {
	a.mu.Lock()
	defer a.mu.Unlock()
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	answer := Decide(p, port, from, a.config.Network, time.Now())
	if answer.Boots || answer.Reason != "" {
		a.config.Machines.asked(answer)
	}
	if answer.Packet == nil {
		return
	}
	if _, err := conn.WriteTo(answer.Packet.ToBytes(), net.UDPAddrFromAddrPort(answer.To)); err != nil {
		a.config.Log.Error("an answer was not sent", "to", answer.To, "machine", p.ClientHWAddr, "error", err)
	}
}

func serveTFTP(ctx context.Context, conn net.PacketConn, c *Config) error {
	slots := make(chan struct{}, maxTransfers)
	s := tftp.NewServer(func(name string, to io.ReaderFrom) error {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			return errors.New("busy")
		}
		transfer, ok := to.(tftp.OutgoingTransfer)
		if !ok {
			return errors.New("no transfer")
		}
		peer := transfer.RemoteAddr()
		f, size, err := c.OpenTFTP(name, peer.AddrPort().Addr().Unmap())
		if err != nil {
			return err
		}
		defer f.Close()
		transfer.SetSize(size)
		_, err = to.ReadFrom(f) // firmware asks for the size alone, breaks off and asks again: no error to tell of
		return err
	}, nil)
	s.SetTimeout(2 * time.Second)
	stop := context.AfterFunc(ctx, s.Shutdown)
	defer stop()
	if err := s.Serve(conn); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve TFTP: %w", err)
	}
	return nil
}

func serveHTTP(ctx context.Context, l net.Listener, c *Config) error {
	s := &http.Server{
		Handler: c.Handler(), MaxHeaderBytes: 8 << 10,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 20 * time.Second, IdleTimeout: 30 * time.Second,
		WriteTimeout: 20 * time.Minute, // the operating system over a slow line
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(netutil.LimitListener(l, maxConnections)); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}

// neighbour looks an address up in the kernel's neighbour table, where it is as
// long as a connection to it lives.
func neighbour(interfaceName string, a netip.Addr) (MAC, error) {
	link, err := netlink.LinkByName(interfaceName)
	if err != nil {
		return MAC{}, fmt.Errorf("interface %s: %w", interfaceName, err)
	}
	list, err := netlink.NeighList(link.Attrs().Index, unix.AF_INET)
	if err != nil {
		return MAC{}, fmt.Errorf("read the neighbours of %s: %w", interfaceName, err)
	}
	for _, n := range list {
		if addr(n.IP) == a && len(n.HardwareAddr) == len(MAC{}) {
			return MAC(n.HardwareAddr), nil
		}
	}
	return MAC{}, fmt.Errorf("%s is no neighbour on %s", a, interfaceName)
}
