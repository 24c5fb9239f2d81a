package netboot

import (
	"bytes"
	"net"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// sent is what a kind of firmware sends, in the shape that it was recorded in.
type sent struct {
	name  string
	mac   string
	class string
	// arch is option 93; negative for none.
	arch int
	// user is option 77 as it stands in the packet, guid option 97, asks option 55.
	user, guid string
	asks       []uint8
}

func machine(name string) sent {
	for _, s := range []sent{
		{name: "SeaBIOS with iPXE", mac: "52:54:00:77:00:0a", class: "PXEClient:Arch:00000:UNDI:002001", arch: 0, user: "iPXE", asks: []uint8{1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 175, 203}},
		{name: "BIOS", mac: "00:1b:21:00:00:01", class: "PXEClient:Arch:00000:UNDI:002001", arch: 0, asks: []uint8{1, 2, 3, 5, 6, 11, 12, 13, 15, 43, 54, 60, 67, 128}},
		{name: "OVMF PXE", mac: "52:54:00:77:00:0b", class: "PXEClient:Arch:00007:UNDI:003001", arch: 7, asks: []uint8{1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 43, 54, 60, 66, 67, 97}},
		{name: "old UEFI", mac: "52:54:00:77:00:1b", class: "PXEClient:Arch:00009:UNDI:003016", arch: 9},
		{name: "UEFI without option 93", mac: "52:54:00:77:00:2b", class: "PXEClient:Arch:00007:UNDI:003016", arch: -1},
		{name: "OVMF HTTP", mac: "52:54:00:77:00:0c", class: "HTTPClient:Arch:00016:UNDI:003001", arch: 16, asks: []uint8{1, 3, 6, 54, 60, 67}},
		{name: "iPXE of OVMF HTTP", mac: "52:54:00:77:00:0c", class: "PXEClient:Arch:00007:UNDI:003010", arch: 7, user: "iPXE"},
		{name: "iPXE with a length", mac: "52:54:00:77:00:0d", class: "PXEClient:Arch:00011:UNDI:003010", arch: 11, user: "\x04iPXE"},
		{name: "edk2 arm64 PXE", mac: "52:54:00:77:00:0e", class: "PXEClient:Arch:00011:UNDI:003001", arch: 11},
		{name: "edk2 arm64 HTTP", mac: "52:54:00:77:00:0f", class: "HTTPClient:Arch:00019:UNDI:003001", arch: 19},
		{name: "Raspberry Pi 3", mac: "b8:27:eb:01:02:03", class: "PXEClient:Arch:00000:UNDI:002001", arch: 0, asks: []uint8{1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135}},
		{name: "Raspberry Pi 4", mac: "dc:a6:32:01:02:03", class: "PXEClient:Arch:00000:UNDI:002001", arch: 0, guid: "\x00RPi4\x11\xc0\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08"},
		{name: "Raspberry Pi of a new block", mac: "02:00:00:01:02:03", class: "PXEClient:Arch:00000:UNDI:002001", arch: 0, guid: "\x00RPi5\x11\xc0\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08"},
		{name: "32-bit UEFI", mac: "52:54:00:77:00:10", class: "PXEClient:Arch:00006:UNDI:003016", arch: 6},
		{name: "no architecture", mac: "52:54:00:77:00:11", class: "PXEClient", arch: -1},
		{name: "Linux", mac: "52:54:00:77:00:12", arch: -1},
		{name: "Windows", mac: "52:54:00:77:00:13", class: "MSFT 5.0", arch: -1},
	} {
		if s.name == name {
			return s
		}
	}
	panic("no machine " + name)
}

// packet is the machine's packet of a kind, as it comes from the wire.
func (s sent) packet(t testing.TB, kind dhcpv4.MessageType, more ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	mac, err := net.ParseMAC(s.mac)
	if err != nil {
		t.Fatal(err)
	}
	p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(mac), dhcpv4.WithMessageType(kind)}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	if s.class != "" {
		p.UpdateOption(dhcpv4.OptClassIdentifier(s.class))
	}
	if s.arch >= 0 {
		p.UpdateOption(dhcpv4.OptClientArch(iana.Arch(s.arch)))
	}
	if s.user != "" {
		p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionUserClassInformation, []byte(s.user)))
	}
	if s.guid != "" {
		p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionClientMachineIdentifier, []byte(s.guid)))
	}
	if s.asks != nil {
		p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionParameterRequestList, s.asks))
	}
	read, err := dhcpv4.FromBytes(p.ToBytes())
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func TestIdentify(t *testing.T) {
	pc, efi, arm := Platform{"amd64", false}, Platform{"amd64", true}, Platform{"arm64", true}
	for _, want := range []struct {
		name     string
		way      Way
		platform Platform
	}{
		{"SeaBIOS with iPXE", IPXE, pc},
		{"BIOS", PXE, pc},
		{"OVMF PXE", PXE, efi},
		{"old UEFI", PXE, efi},
		{"UEFI without option 93", PXE, efi},
		{"OVMF HTTP", HTTP, efi},
		{"iPXE of OVMF HTTP", IPXE, efi},
		{"iPXE with a length", IPXE, arm},
		{"edk2 arm64 PXE", PXE, arm},
		{"edk2 arm64 HTTP", HTTP, arm},
		{"Raspberry Pi 3", Pi, Platform{Arch: "arm64"}},
		{"Raspberry Pi 4", Pi, Platform{Arch: "arm64"}},
		{"Raspberry Pi of a new block", Pi, Platform{Arch: "arm64"}},
	} {
		s := machine(want.name)
		c, ok, reason := Identify(s.packet(t, dhcpv4.MessageTypeDiscover))
		if !ok || reason != "" || c.Way != want.way || c.Platform != want.platform || c.MAC.String() != s.mac {
			t.Errorf("%s: %+v, %v, %q", want.name, c, ok, reason)
		}
	}
	for name, speaks := range map[string]bool{"32-bit UEFI": true, "no architecture": true, "Linux": false, "Windows": false} {
		if c, ok, reason := Identify(machine(name).packet(t, dhcpv4.MessageTypeDiscover)); ok || (reason != "") != speaks {
			t.Errorf("%s: %+v, %v, %q", name, c, ok, reason)
		}
	}
	p := machine("BIOS").packet(t, dhcpv4.MessageTypeDiscover)
	p.HWType = iana.HWTypeInfiniband
	if _, ok, _ := Identify(p); ok {
		t.Error("a machine that is not on Ethernet")
	}
}

func TestNames(t *testing.T) {
	for _, p := range platforms() {
		if got, err := ParsePlatform(p.String()); err != nil || got != p {
			t.Errorf("%s: %v, %v", p, got, err)
		}
	}
	if _, err := ParsePlatform("bios-arm64"); err == nil {
		t.Error("a platform that does not exist")
	}
	for _, text := range []string{"AA:bb:cc:dd:ee:ff", "aa-bb-cc-dd-ee-FF"} {
		mac, err := ParseMAC(text)
		if err != nil || mac.String() != "aa:bb:cc:dd:ee:ff" || mac.FileName() != "aa-bb-cc-dd-ee-ff" {
			t.Errorf("%s: %v, %v", text, mac, err)
		}
	}
	for _, text := range []string{"", "aa:bb:cc:dd:ee", "00:00:00:00:fe:80:00:00", "aa:bb:cc:dd:ee:gg"} {
		if mac, err := ParseMAC(text); err == nil {
			t.Errorf("%q: %v", text, mac)
		}
	}
	if names := Loaders(); len(names) != 4 || bytes.Count([]byte(names[0]), []byte("/")) > 0 {
		t.Error(names)
	}
}
