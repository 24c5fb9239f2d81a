package netboot

import (
	"bytes"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

var (
	server  = netip.MustParsePrefix("192.168.77.1/24")
	nowhere = netip.MustParseAddrPort("0.0.0.0:68")
	started = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func proxy() Network { return Network{Server: server, HTTPPort: 6469} }

func lender(t testing.TB, text string) Network {
	t.Helper()
	n := proxy()
	n.Router, n.DNS = netip.MustParseAddr("192.168.77.254"), netip.MustParseAddr("192.168.77.253")
	var err error
	if n.Leases, err = NewLeases(text, server); err != nil {
		t.Fatal(err)
	}
	return n
}

// bootFiles are what each firmware is told to start.
func bootFiles() map[string]string {
	return map[string]string{
		"SeaBIOS with iPXE":  "http://192.168.77.1:6469/script/52-54-00-77-00-0a/bios-amd64",
		"BIOS":               "undionly.kpxe",
		"OVMF PXE":           "snponly.efi",
		"old UEFI":           "snponly.efi",
		"OVMF HTTP":          "http://192.168.77.1:6469/loader/snponly.efi",
		"iPXE of OVMF HTTP":  "http://192.168.77.1:6469/script/52-54-00-77-00-0c/efi-amd64",
		"iPXE with a length": "http://192.168.77.1:6469/script/52-54-00-77-00-0d/efi-arm64",
		"edk2 arm64 PXE":     "ipxe-arm64.efi",
		"edk2 arm64 HTTP":    "http://192.168.77.1:6469/loader/ipxe-arm64.efi",
		"Raspberry Pi 4":     "",
	}
}

func TestDecideAsProxy(t *testing.T) {
	for name, file := range bootFiles() {
		p := machine(name).packet(t, dhcpv4.MessageTypeDiscover)
		a := Decide(p, PortDHCP, nowhere, proxy(), started)
		if !a.Boots || a.Packet == nil || a.Reason != "" {
			t.Errorf("%s: no answer: %+v", name, a)
			continue
		}
		r, err := dhcpv4.FromBytes(a.Packet.ToBytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.MessageType() != dhcpv4.MessageTypeOffer || r.TransactionID != p.TransactionID || !bytes.Equal(r.ClientHWAddr, p.ClientHWAddr) {
			t.Errorf("%s: %s", name, r.Summary())
		}
		if !r.YourIPAddr.IsUnspecified() || r.Options.Has(dhcpv4.OptionIPAddressLeaseTime) {
			t.Errorf("%s: a proxy lends an address: %s", name, r.Summary())
		}
		if r.BootFileName != file || !r.ServerIPAddr.Equal(server.Addr().AsSlice()) || !r.ServerIdentifier().Equal(server.Addr().AsSlice()) {
			t.Errorf("%s: told to start %q of %s", name, r.BootFileName, r.ServerIPAddr)
		}
		if a.To.String() != "255.255.255.255:68" {
			t.Errorf("%s: sent to %s", name, a.To)
		}
		wantClass := classPXE
		if a.Client.Way == HTTP {
			wantClass = classHTTP
			if r.BootFileNameOption() != file {
				t.Errorf("%s: option 67 is %q", name, r.BootFileNameOption())
			}
		}
		if r.ClassIdentifier() != wantClass {
			t.Errorf("%s: class %q", name, r.ClassIdentifier())
		}
		if len(a.Packet.ToBytes()) > 548 {
			t.Errorf("%s: %d bytes are more than every machine takes", name, len(a.Packet.ToBytes()))
		}
	}
	r := Decide(machine("Raspberry Pi 4").packet(t, dhcpv4.MessageTypeDiscover), PortDHCP, nowhere, proxy(), started).Packet
	if menu := r.Options.Get(dhcpv4.OptionVendorSpecificInformation); !bytes.Contains(menu, []byte("Raspberry Pi Boot")) {
		t.Errorf("a Raspberry Pi gets the menu %q", menu)
	}
	if guid := r.Options.Get(dhcpv4.OptionClientMachineIdentifier); string(guid) != machine("Raspberry Pi 4").guid {
		t.Errorf("the GUID comes back as %q", guid)
	}
}

// TestDecideSilence: who is not booting over the network hears nothing from a proxy.
func TestDecideSilence(t *testing.T) {
	relayed := dhcpv4.WithGatewayIP(net.IPv4(10, 0, 0, 1))
	for _, c := range []struct {
		name string
		p    *dhcpv4.DHCPv4
		port int
	}{
		{"Linux", machine("Linux").packet(t, dhcpv4.MessageTypeDiscover), PortDHCP},
		{"Windows", machine("Windows").packet(t, dhcpv4.MessageTypeInform), PortDHCP},
		{"Windows at the proxy's port", machine("Windows").packet(t, dhcpv4.MessageTypeRequest), PortProxy},
		{"a request to the DHCP server", machine("OVMF PXE").packet(t, dhcpv4.MessageTypeRequest), PortDHCP},
		{"a relay's", machine("OVMF PXE").packet(t, dhcpv4.MessageTypeDiscover, relayed), PortDHCP},
		{"another server's answer", machine("OVMF PXE").packet(t, dhcpv4.MessageTypeOffer, func(d *dhcpv4.DHCPv4) { d.OpCode = dhcpv4.OpcodeBootReply }), PortDHCP},
		{"the proxy's port from no address", machine("OVMF PXE").packet(t, dhcpv4.MessageTypeRequest), PortProxy},
	} {
		if a := Decide(c.p, c.port, nowhere, proxy(), started); a.Packet != nil || a.Boots {
			t.Errorf("%s: %s", c.name, a.Packet.Summary())
		}
	}
	a := Decide(machine("32-bit UEFI").packet(t, dhcpv4.MessageTypeDiscover), PortDHCP, nowhere, proxy(), started)
	if a.Packet != nil || !strings.Contains(a.Reason, "EFI IA32") {
		t.Errorf("32-bit UEFI: %+v", a)
	}
	n := proxy()
	n.Serves = func(Client) (bool, string) { return false, "there is no image" }
	a = Decide(machine("OVMF PXE").packet(t, dhcpv4.MessageTypeDiscover), PortDHCP, nowhere, n, started)
	if a.Packet != nil || a.Boots || a.Reason != "there is no image" {
		t.Errorf("without an image: %+v", a)
	}
}

func TestDecideAtTheProxysPort(t *testing.T) {
	from := netip.MustParseAddrPort("192.168.77.50:4011")
	a := Decide(machine("OVMF PXE").packet(t, dhcpv4.MessageTypeRequest), PortProxy, from, proxy(), started)
	if a.Packet == nil || a.To != from || a.Packet.MessageType() != dhcpv4.MessageTypeAck || a.Packet.BootFileName != "snponly.efi" {
		t.Errorf("%+v", a)
	}
}

func TestDecideAsServer(t *testing.T) {
	n := lender(t, "192.168.77.100-192.168.77.101")
	boot := machine("OVMF PXE")
	offer := Decide(boot.packet(t, dhcpv4.MessageTypeDiscover), PortDHCP, nowhere, n, started)
	if !offer.Boots || offer.Packet.YourIPAddr.String() != "192.168.77.100" || offer.Packet.BootFileName != "snponly.efi" {
		t.Fatalf("offer: %s", offer.Packet.Summary())
	}
	if offer.Packet.Options.Has(dhcpv4.OptionVendorSpecificInformation) {
		t.Error("the only server needs no vendor options")
	}
	request := []dhcpv4.Modifier{
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server.Addr().AsSlice())),
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(192, 168, 77, 100))),
	}
	ack := Decide(boot.packet(t, dhcpv4.MessageTypeRequest, request...), PortDHCP, nowhere, n, started)
	r := ack.Packet
	if !ack.Boots || r.MessageType() != dhcpv4.MessageTypeAck || r.YourIPAddr.String() != "192.168.77.100" || r.IPAddressLeaseTime(0) != LeaseTime ||
		net.IP(r.SubnetMask()).String() != "255.255.255.0" || r.Router()[0].String() != "192.168.77.254" || r.DNS()[0].String() != "192.168.77.253" {
		t.Fatalf("ack: %s", r.Summary())
	}
	// The operating system that runs then, and renews its lease by unicast.
	runs := boot
	runs.class, runs.arch = "", -1
	renew := Decide(runs.packet(t, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(net.IPv4(192, 168, 77, 100))), PortDHCP, nowhere, n, started.Add(LeaseTime/2))
	if renew.Boots || renew.Packet.MessageType() != dhcpv4.MessageTypeAck || renew.To.String() != "192.168.77.100:68" || renew.Packet.BootFileName != "" {
		t.Errorf("renewal: %+v", renew)
	}
	// Another one wants the same address, gets the other, and a third none.
	other := machine("Linux")
	taken := Decide(other.packet(t, dhcpv4.MessageTypeRequest, request[1]), PortDHCP, nowhere, n, started)
	if taken.Packet.MessageType() != dhcpv4.MessageTypeNak {
		t.Errorf("a taken address: %s", taken.Packet.Summary())
	}
	second := Decide(other.packet(t, dhcpv4.MessageTypeDiscover, request[1]), PortDHCP, nowhere, n, started)
	if second.Packet.YourIPAddr.String() != "192.168.77.101" || second.Boots {
		t.Errorf("second: %s", second.Packet.Summary())
	}
	if third := Decide(machine("Windows").packet(t, dhcpv4.MessageTypeDiscover), PortDHCP, nowhere, n, started); third.Packet != nil {
		t.Errorf("third: %s", third.Packet.Summary())
	}
	// It chooses another server: the address is free again.
	elsewhere := dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 168, 77, 2)))
	if a := Decide(other.packet(t, dhcpv4.MessageTypeRequest, elsewhere), PortDHCP, nowhere, n, started); a.Packet != nil {
		t.Errorf("another server's: %s", a.Packet.Summary())
	}
	if third := Decide(machine("Windows").packet(t, dhcpv4.MessageTypeDiscover), PortDHCP, nowhere, n, started); third.Packet.YourIPAddr.String() != "192.168.77.101" {
		t.Error("no address after one was given up")
	}
}

func TestPiMenu(t *testing.T) {
	// The suboptions 6, 10 and 9, each with a length, and the end.
	var codes []byte
	menu := piMenu()
	for len(menu) > 0 && menu[0] != 255 {
		codes = append(codes, menu[0])
		menu = menu[2+int(menu[1]):]
	}
	if !reflect.DeepEqual(codes, []byte{6, 10, 9}) || len(menu) != 1 {
		t.Errorf("suboptions %v, then %v", codes, menu)
	}
}

func FuzzDecide(f *testing.F) {
	for name := range bootFiles() {
		f.Add(machine(name).packet(f, dhcpv4.MessageTypeDiscover).ToBytes(), true, false)
		f.Add(machine(name).packet(f, dhcpv4.MessageTypeRequest).ToBytes(), false, true)
	}
	f.Add(machine("Linux").packet(f, dhcpv4.MessageTypeDecline).ToBytes(), false, true)
	f.Fuzz(func(t *testing.T, b []byte, proxyPort, lends bool) {
		p, err := dhcpv4.FromBytes(b)
		if err != nil {
			return
		}
		n, port := proxy(), PortDHCP
		if lends {
			n = lender(t, "192.168.77.100-192.168.77.101")
		}
		if proxyPort {
			port = PortProxy
		}
		a := Decide(p, port, netip.MustParseAddrPort("192.168.77.50:4011"), n, started)
		if a.Packet == nil {
			return
		}
		out := a.Packet.ToBytes()
		r, err := dhcpv4.FromBytes(out)
		if err != nil || r.OpCode != dhcpv4.OpcodeBootReply {
			t.Fatalf("the answer is no answer: %v", err)
		}
		if !lends && !strings.HasPrefix(p.ClassIdentifier(), "PXEClient") && !strings.HasPrefix(p.ClassIdentifier(), "HTTPClient") {
			t.Fatalf("a proxy answers %q", p.ClassIdentifier())
		}
		if got := addr(r.YourIPAddr); !got.IsUnspecified() && (!lends || !server.Contains(got) || got == server.Addr()) {
			t.Fatalf("lends %s", got)
		}
	})
}
