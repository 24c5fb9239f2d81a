package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/vishvananda/netlink"
)

// accessPoint makes an interface of the node an access point, by the node's own
// wpa_supplicant, with a DHCP server that has one address to give.
func accessPoint(args []string) error {
	if len(args) != 5 {
		return errors.New("want INTERFACE SSID PASSWORD OWN-ADDRESS/LENGTH LEASED-ADDRESS")
	}
	name, ssid, password := args[0], args[1], args[2]
	own, network, err := net.ParseCIDR(args[3])
	if err != nil {
		return err
	}
	leased := net.ParseIP(args[4])
	const conf = "/accesspoint.conf"
	text := fmt.Sprintf("country=DE\nnetwork={\n ssid=%q\n mode=2\n frequency=2412\n key_mgmt=WPA-PSK\n proto=RSN\n pairwise=CCMP\n psk=%q\n}\n", ssid, password)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	// The program is in the node's root, which process 1 has.
	supplicant := exec.CommandContext(context.Background(), "/proc/1/root/sbin/wpa_supplicant", "-i", name, "-D", "nl80211", "-c", conf)
	supplicant.Stdout, supplicant.Stderr = os.Stdout, os.Stderr
	if err := supplicant.Start(); err != nil {
		return fmt.Errorf("start wpa_supplicant: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- supplicant.Wait() }()
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: &net.IPNet{IP: own, Mask: network.Mask}}); err != nil {
		return fmt.Errorf("give %s its address: %w", name, err)
	}
	server, err := server4.NewServer(name, nil, func(conn net.PacketConn, _ net.Addr, m *dhcpv4.DHCPv4) {
		if err := lease(conn, m, own, leased, network.Mask); err != nil {
			fmt.Println("dhcp:", err)
		}
	})
	if err != nil {
		return fmt.Errorf("serve DHCP: %w", err)
	}
	go func() { ended <- server.Serve() }()
	fmt.Println("access point", ssid)
	return <-ended
}

// lease answers a client.
func lease(conn net.PacketConn, m *dhcpv4.DHCPv4, own, leased net.IP, mask net.IPMask) error {
	kind := dhcpv4.MessageTypeAck
	if m.MessageType() == dhcpv4.MessageTypeDiscover {
		kind = dhcpv4.MessageTypeOffer
	}
	reply, err := dhcpv4.NewReplyFromRequest(m,
		dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(leased), dhcpv4.WithServerIP(own),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(own)), dhcpv4.WithOption(dhcpv4.OptSubnetMask(mask)),
		dhcpv4.WithOption(dhcpv4.OptIPAddressLeaseTime(time.Hour)))
	if err != nil {
		return err
	}
	_, err = conn.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort})
	return err
}
