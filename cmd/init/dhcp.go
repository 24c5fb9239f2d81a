package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
)

// dhcpClient keeps an IPv4 lease on one interface (RFC 2131).
type dhcpClient struct {
	n    *network
	name string
	log  *slog.Logger
	// held is the address that the lease gave, nil without one.
	held *netlink.Addr
}

// Delays in seconds between attempts grow from the first to the last.
const (
	dhcpFirstDelay = 500 * time.Millisecond
	dhcpLastDelay  = 30 * time.Second
	// minLease bounds what a mad server may make us do, in both directions.
	minLease = time.Minute
	maxLease = 7 * 24 * time.Hour
)

// run asks for a lease until there is one, renews it, and begins again when it
// is lost, until ctx ends.
func (d *dhcpClient) run(ctx context.Context) {
	delay := dhcpFirstDelay
	for ctx.Err() == nil {
		if !d.waitCarrier(ctx) {
			return
		}
		lease, err := d.request(ctx)
		if err != nil {
			d.log.Info("no lease", "error", err, "again_in", delay)
			if !sleep(ctx, delay) {
				return
			}
			delay = min(2*delay, dhcpLastDelay)
			continue
		}
		delay = dhcpFirstDelay
		if err := d.apply(lease.ACK); err != nil {
			d.log.Error("cannot use the lease", "error", err)
			if !sleep(ctx, dhcpLastDelay) {
				return
			}
			continue
		}
		d.keep(ctx, lease)
	}
}

// waitCarrier waits until the interface has a link. The answer comes quickest
// by asking sysfs often: it costs nothing beside a network without a cable.
func (d *dhcpClient) waitCarrier(ctx context.Context) bool {
	for !d.carrier() {
		if !sleep(ctx, 100*time.Millisecond) {
			return false
		}
	}
	return true
}

func (d *dhcpClient) carrier() bool { return readLine("/sys/class/net/"+d.name+"/carrier") == "1" }

// client opens a socket for one exchange.
func (d *dhcpClient) client() (*nclient4.Client, error) {
	c, err := nclient4.New(d.name, nclient4.WithTimeout(time.Second), nclient4.WithRetry(3))
	if err != nil {
		return nil, fmt.Errorf("open the DHCP socket: %w", err)
	}
	return c, nil
}

func (d *dhcpClient) close(c *nclient4.Client) {
	if err := c.Close(); err != nil {
		d.log.Info("cannot close the DHCP socket", "error", err)
	}
}

// options are what we say and ask for in each message.
func (d *dhcpClient) options() []dhcpv4.Modifier {
	return []dhcpv4.Modifier{
		dhcpv4.WithOption(dhcpv4.OptHostName(d.n.m.hostname)),
		dhcpv4.WithRequestedOptions(dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer,
			dhcpv4.OptionDomainName, dhcpv4.OptionNTPServers, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionIPAddressLeaseTime),
	}
}

func (d *dhcpClient) request(ctx context.Context) (*nclient4.Lease, error) {
	c, err := d.client()
	if err != nil {
		return nil, err
	}
	defer d.close(c)
	return c.Request(ctx, d.options()...)
}

// keep renews the lease and returns when it is lost.
func (d *dhcpClient) keep(ctx context.Context, lease *nclient4.Lease) {
	for {
		length := leaseTime(lease.ACK)
		expires := time.Now().Add(length)
		wait := length / 2
		for {
			cut, ok := d.waitOrLinkLoss(ctx, wait)
			if !ok {
				return
			}
			next, err := d.renew(ctx, lease)
			if err == nil {
				lease = next
				break
			}
			d.log.Info("lease not renewed", "error", err)
			left := time.Until(expires)
			if errors.As(err, new(*nclient4.ErrNak)) {
				left = 0 // the server wants it back
			}
			if cut || left <= 0 {
				// Another network perhaps: ask anew, and keep the address until
				// another one is given or the lease ends.
				if left <= 0 {
					d.drop()
				}
				return
			}
			wait = max(left/2, 10*time.Second)
		}
		if err := d.apply(lease.ACK); err != nil {
			d.log.Error("cannot use the renewed lease", "error", err)
		}
	}
}

// waitOrLinkLoss waits for limit, or less when the link is cut meanwhile: then
// until it is back. ok is false when ctx ended.
func (d *dhcpClient) waitOrLinkLoss(ctx context.Context, limit time.Duration) (cut, ok bool) {
	for end := time.Now().Add(limit); time.Now().Before(end); {
		if !sleep(ctx, time.Second) {
			return false, false
		}
		if !d.carrier() {
			d.log.Info("link lost")
			return true, d.waitCarrier(ctx)
		}
	}
	return false, true
}

func (d *dhcpClient) renew(ctx context.Context, lease *nclient4.Lease) (*nclient4.Lease, error) {
	c, err := d.client()
	if err != nil {
		return nil, err
	}
	defer d.close(c)
	return c.Renew(ctx, lease, d.options()...)
}

func leaseTime(ack *dhcpv4.DHCPv4) time.Duration {
	return min(max(ack.IPAddressLeaseTime(time.Hour), minLease), maxLease)
}

// apply gives the interface what the server granted.
func (d *dhcpClient) apply(ack *dhcpv4.DHCPv4) error {
	link, err := netlink.LinkByName(d.name)
	if err != nil {
		return err
	}
	mask := ack.SubnetMask()
	if mask == nil {
		mask = ack.YourIPAddr.DefaultMask()
	}
	seconds := int(leaseTime(ack).Seconds())
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: ack.YourIPAddr, Mask: mask}, ValidLft: seconds, PreferedLft: seconds}
	if d.held != nil && !d.held.IPNet.IP.Equal(addr.IPNet.IP) {
		d.drop()
	}
	if mtu := mtuOption(ack); mtu > 0 && mtu < link.Attrs().MTU {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			d.log.Warn("cannot set the MTU", "mtu", mtu, "error", err)
		}
	}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("set the address %s: %w", addr.IPNet, err)
	}
	d.held = addr
	if routers := ack.Router(); len(routers) > 0 {
		if err := setGateway(link, routers[0]); err != nil {
			return err
		}
	}
	info := leaseInfo{mac: link.Attrs().HardwareAddr.String(), domains: searchDomains(ack.DomainName())}
	for _, ip := range ack.DNS() {
		if a, ok := netip.AddrFromSlice(ip); ok {
			info.dns = append(info.dns, a.Unmap())
		}
	}
	for _, ip := range ack.NTPServers() {
		info.ntp = append(info.ntp, ip.String())
	}
	d.n.learn(d.name, info)
	d.log.Info("lease", "address", addr.IPNet.String(), "seconds", seconds, "routers", ack.Router())
	return nil
}

// drop takes the leased address off the interface.
func (d *dhcpClient) drop() {
	if d.held == nil {
		return
	}
	link, err := netlink.LinkByName(d.name)
	if err == nil {
		err = netlink.AddrDel(link, d.held)
	}
	d.log.Info("address given up", "address", d.held.IPNet.String(), "error", err)
	d.held = nil
}

// mtuOption returns option 26, 0 when the server sent none that IPv4 allows.
func mtuOption(ack *dhcpv4.DHCPv4) int {
	b := ack.Options.Get(dhcpv4.OptionInterfaceMTU)
	if len(b) != 2 {
		return 0
	}
	if mtu := int(b[0])<<8 | int(b[1]); mtu >= 576 {
		return mtu
	}
	return 0
}
