package netboot

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// The UDP ports that are listened on.
const (
	PortDHCP  = 67
	PortTFTP  = 69
	PortProxy = 4011
	// portClient is where machines without an address listen.
	portClient = 68
)

// Network is what DHCP answers hold of the segment.
type Network struct {
	// Server is this machine's address there, with the length of its network.
	Server netip.Prefix
	// HTTPPort is where Handler is served.
	HTTPPort int
	// Router and DNS are given with addresses; zero for none.
	Router, DNS netip.Addr
	// Leases make this the segment's DHCP server; nil leaves addresses to another one.
	Leases *Leases
	// Serves says whether there is an image for the machine; nil means yes to all.
	// The reason is for people.
	Serves func(Client) (ok bool, reason string)
}

// URL returns the address of a path that Handler serves.
func (n Network) URL(path string) string {
	return fmt.Sprintf("http://%s%s", netip.AddrPortFrom(n.Server.Addr(), uint16(n.HTTPPort)), path)
}

// Answer is what becomes of a DHCP packet.
type Answer struct {
	// Packet goes to To; nil for silence.
	Packet *dhcpv4.DHCPv4
	To     netip.AddrPort
	// Client is who asked, if Boots.
	Client Client
	// Boots: the machine was told what to boot.
	Boots bool
	// Reason says in words why a machine that boots over the network got no
	// answer. It is empty for everybody else's packets.
	Reason string
}

// Decide answers a packet that came from the address from to port (PortDHCP or
// PortProxy). Machines that do not boot over the network get an answer only as
// lessees of n.Leases. It does no input or output; the packet is not changed.
func Decide(p *dhcpv4.DHCPv4, port int, from netip.AddrPort, n Network, now time.Time) Answer {
	if p.OpCode != dhcpv4.OpcodeBootRequest || !unset(p.GatewayIPAddr) { // a relay's: of another segment
		return Answer{}
	}
	c, boots, reason := Identify(p)
	if boots && n.Serves != nil {
		boots, reason = n.Serves(c)
	}
	a := Answer{Client: c, Reason: reason}
	switch {
	case port == PortProxy:
		if !boots || !from.Addr().Is4() || from.Addr().IsUnspecified() {
			return a
		}
		a.To = from
		a.Packet = n.reply(p, dhcpv4.MessageTypeAck)
	case n.Leases != nil:
		a.Packet, a.To = n.lend(p, now)
	case boots && p.MessageType() == dhcpv4.MessageTypeDiscover:
		a.Packet, a.To = n.reply(p, dhcpv4.MessageTypeOffer), toAll()
	}
	if a.Packet == nil || !boots || a.Packet.MessageType() == dhcpv4.MessageTypeNak {
		return a
	}
	a.Boots, a.Reason = true, ""
	n.boot(p, a.Packet, c, port == PortProxy || n.Leases == nil)
	return a
}

func toAll() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), portClient)
}

func unset(ip net.IP) bool { return len(ip) == 0 || ip.IsUnspecified() }

func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// reply is an answer without an address.
func (n Network) reply(p *dhcpv4.DHCPv4, kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	server := net.IP(n.Server.Addr().AsSlice())
	r := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootReply, HWType: p.HWType, TransactionID: p.TransactionID, Flags: p.Flags,
		ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero,
		ClientHWAddr: append(net.HardwareAddr(nil), p.ClientHWAddr...), Options: dhcpv4.Options{},
	}
	r.UpdateOption(dhcpv4.OptMessageType(kind))
	r.UpdateOption(dhcpv4.OptServerIdentifier(server))
	if id := p.Options.Get(dhcpv4.OptionClientIdentifier); id != nil { // RFC 6842
		r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionClientIdentifier, id))
	}
	return r
}

// lend is the answer of the segment's own DHCP server (RFC 2131 section 4.3).
func (n Network) lend(p *dhcpv4.DHCPv4, now time.Time) (*dhcpv4.DHCPv4, netip.AddrPort) {
	if len(p.ClientHWAddr) != len(MAC{}) {
		return nil, netip.AddrPort{}
	}
	mac, server := MAC(p.ClientHWAddr), addr(p.ServerIdentifier())
	switch p.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		if a, ok := n.Leases.Offer(mac, addr(p.RequestedIPAddress()), now); ok {
			return n.lent(p, dhcpv4.MessageTypeOffer, a), toAll()
		}
	case dhcpv4.MessageTypeRequest:
		if server.IsValid() && server != n.Server.Addr() { // it chose another server
			n.Leases.Release(mac)
			return nil, netip.AddrPort{}
		}
		wanted := addr(p.RequestedIPAddress())
		to := toAll()
		if !wanted.IsValid() {
			wanted = addr(p.ClientIPAddr)
			to = netip.AddrPortFrom(wanted, portClient) // it has the address and renews the lease
		}
		if !n.Leases.Confirm(mac, wanted, now) {
			return n.reply(p, dhcpv4.MessageTypeNak), toAll()
		}
		return n.lent(p, dhcpv4.MessageTypeAck, wanted), to
	case dhcpv4.MessageTypeRelease:
		n.Leases.Release(mac)
	case dhcpv4.MessageTypeDecline:
		n.Leases.Decline(mac, now)
	}
	return nil, netip.AddrPort{}
}

// lent is an answer with an address.
func (n Network) lent(p *dhcpv4.DHCPv4, kind dhcpv4.MessageType, a netip.Addr) *dhcpv4.DHCPv4 {
	r := n.reply(p, kind)
	r.YourIPAddr = a.AsSlice()
	r.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(n.Server.Bits(), 32)))
	r.UpdateOption(dhcpv4.OptIPAddressLeaseTime(LeaseTime))
	if n.Router.IsValid() {
		r.UpdateOption(dhcpv4.OptRouter(n.Router.AsSlice()))
	}
	if n.DNS.IsValid() {
		r.UpdateOption(dhcpv4.OptDNS(n.DNS.AsSlice()))
	}
	return r
}

// boot adds to a reply what the machine is to start.
func (n Network) boot(p, r *dhcpv4.DHCPv4, c Client, proxy bool) {
	server := net.IP(n.Server.Addr().AsSlice())
	r.ServerIPAddr = server
	file := c.Platform.Loader()
	switch c.Way {
	case IPXE:
		file = n.URL(scriptPath(c))
	case HTTP:
		file = n.URL(pathLoader + file)
	case Pi:
		file = "" // it knows what it wants
	}
	r.BootFileName = file
	if file != "" && (c.Way == HTTP || p.IsOptionRequested(dhcpv4.OptionBootfileName)) {
		r.UpdateOption(dhcpv4.OptBootFileName(file))
	}
	if id := p.Options.Get(dhcpv4.OptionClientMachineIdentifier); id != nil {
		r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionClientMachineIdentifier, id))
	}
	switch {
	case c.Way == HTTP:
		r.UpdateOption(dhcpv4.OptClassIdentifier(classHTTP))
		return
	case c.Way == Pi:
		r.UpdateOption(dhcpv4.OptClassIdentifier(classPXE))
		r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, piMenu()))
	case proxy:
		r.UpdateOption(dhcpv4.OptClassIdentifier(classPXE))
		// PXE_DISCOVERY_CONTROL with bit 3: start the file named here, ask nobody else
		r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, []byte{6, 1, 8, 255}))
	}
	r.UpdateOption(dhcpv4.OptTFTPServerName(n.Server.Addr().String()))
}

// piMenu is the boot menu without which a Raspberry Pi ignores an answer: one
// server of type 0 with that very name.
func piMenu() []byte {
	const name = "Raspberry Pi Boot"
	menu := append([]byte{6, 1, 3, 10, 4, 0, 'P', 'X', 'E', 9, byte(3 + len(name)), 0, 0, byte(len(name))}, name...)
	return append(menu, 255)
}

// Paths that Handler serves.
const (
	pathScript = "/script/"
	pathLoader = "/loader/"
	pathImage  = "/image/"
	pathConfig = "/config"
	pathReport = "/report"
)

func scriptPath(c Client) string {
	return pathScript + c.MAC.FileName() + "/" + c.Platform.String()
}

// parseScriptPath reads what scriptPath returns, without its beginning.
func parseScriptPath(rest string) (MAC, Platform, error) {
	name, platform, _ := strings.Cut(rest, "/")
	mac, err := ParseMAC(name)
	if err != nil || mac.FileName() != name {
		return MAC{}, Platform{}, fmt.Errorf("no machine %q", name)
	}
	p, err := ParsePlatform(platform)
	return mac, p, err
}
