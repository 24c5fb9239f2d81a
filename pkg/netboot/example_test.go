package netboot_test

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/digital-mycelium/os/pkg/netboot"
)

// A machine's firmware asks on the segment, where another server gives addresses.
func ExampleDecide() {
	n := netboot.Network{Server: netip.MustParsePrefix("192.168.77.1/24"), HTTPPort: 6469}
	asks, err := dhcpv4.NewDiscovery(net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1},
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00007:UNDI:003016")),
		dhcpv4.WithOption(dhcpv4.OptClientArch(iana.EFI_X86_64)))
	if err != nil {
		panic(err)
	}
	a := netboot.Decide(asks, netboot.PortDHCP, netip.AddrPort{}, n, time.Now())
	fmt.Println(a.Client.Platform, a.Packet.BootFileName)

	asks.UpdateOption(dhcpv4.OptUserClass("iPXE")) // which then runs
	a = netboot.Decide(asks, netboot.PortDHCP, netip.AddrPort{}, n, time.Now())
	fmt.Println(a.Packet.BootFileName)
	// Output:
	// efi-amd64 snponly.efi
	// http://192.168.77.1:6469/script/52-54-00-00-00-01/efi-amd64
}
