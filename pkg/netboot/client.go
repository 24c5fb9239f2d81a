package netboot

import (
	"bytes"
	"fmt"
	"net"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// MAC is an Ethernet hardware address.
type MAC [6]byte

// ParseMAC reads "aa:bb:cc:dd:ee:ff" or "aa-bb-cc-dd-ee-ff", in either case.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != len(MAC{}) {
		return MAC{}, fmt.Errorf("%q is no hardware address: write it as aa:bb:cc:dd:ee:ff", s)
	}
	return MAC(hw), nil
}

// String returns it in lower case with colons.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// FileName returns it in lower case with dashes, as it stands in URLs and names of files.
func (m MAC) FileName() string { return strings.ReplaceAll(m.String(), ":", "-") }

// Platform is what an operating system sees of a machine before it runs.
type Platform struct {
	// Arch is Go's name of the architecture, "amd64" or "arm64".
	Arch string
	// EFI is false for the BIOS of a PC.
	EFI bool
}

// platforms are those that can be started.
func platforms() []Platform {
	return []Platform{{"amd64", false}, {"amd64", true}, {"arm64", true}}
}

// String returns "bios-amd64", "efi-amd64" or "efi-arm64", which ParsePlatform reads.
func (p Platform) String() string {
	if p.EFI {
		return "efi-" + p.Arch
	}
	return "bios-" + p.Arch
}

// ParsePlatform reads what String returns.
func ParsePlatform(s string) (Platform, error) {
	for _, p := range platforms() {
		if p.String() == s {
			return p, nil
		}
	}
	return Platform{}, fmt.Errorf("no platform %q", s)
}

// Loader is the name of the iPXE that the platform's firmware starts.
func (p Platform) Loader() string {
	switch {
	case !p.EFI:
		return "undionly.kpxe" // with the network card's own driver
	case p.Arch == "arm64":
		return "ipxe-arm64.efi"
	}
	return "snponly.efi" // with the firmware's driver, which is there for every card it boots from
}

// PiLoader is what the ROM of a Raspberry Pi 3 starts. Later models have it in an EEPROM.
const PiLoader = "bootcode.bin"

// Loaders returns the names of the files that firmware may ask for: of iPXE, and
// PiLoader.
func Loaders() []string {
	names := []string{PiLoader}
	for _, p := range platforms() {
		names = append(names, p.Loader())
	}
	return names
}

// Way is by what a machine boots over the network.
type Way string

// The ways.
const (
	PXE  Way = "PXE"
	HTTP Way = "HTTP"
	IPXE Way = "iPXE"
	Pi   Way = "Raspberry Pi"
)

// Client is a machine that asks to be booted.
type Client struct {
	MAC      MAC
	Way      Way
	Platform Platform
}

// Identify says who sent a DHCP packet. ok is false when the machine is not
// booting over the network, or has hardware that cannot be booted; reason says
// the latter and is empty for the former.
func Identify(p *dhcpv4.DHCPv4) (c Client, ok bool, reason string) {
	if p.HWType != iana.HWTypeEthernet || len(p.ClientHWAddr) != len(MAC{}) {
		return Client{}, false, ""
	}
	c.MAC = MAC(p.ClientHWAddr)
	class := p.ClassIdentifier()
	http := strings.HasPrefix(class, classHTTP)
	if !http && !strings.HasPrefix(class, classPXE) {
		return c, false, ""
	}
	arch, known := architecture(p, class)
	if !known {
		return c, false, "it does not say its architecture (DHCP option 93)"
	}
	if c.Platform, known = platformOf(arch); !known {
		return c, false, fmt.Sprintf("no image runs on its architecture (%s, %d)", arch, arch)
	}
	switch {
	case isIPXE(p):
		c.Way = IPXE
	case http:
		c.Way = HTTP
	case isPi(p, c.MAC):
		c.Way, c.Platform = Pi, Platform{Arch: "arm64"}
	default:
		c.Way = PXE
	}
	return c, true, ""
}

// How the vendor class (option 60) begins of machines that boot.
const (
	classPXE  = "PXEClient"
	classHTTP = "HTTPClient"
)

// architecture reads option 93, or the vendor class, which says the same
// ("PXEClient:Arch:00007:UNDI:003016").
func architecture(p *dhcpv4.DHCPv4, class string) (iana.Arch, bool) {
	if archs := p.ClientArch(); len(archs) > 0 {
		return archs[0], true
	}
	fields := strings.Split(class, ":")
	if len(fields) < 3 || fields[1] != "Arch" {
		return 0, false
	}
	var n uint16
	if _, err := fmt.Sscanf(fields[2], "%05d", &n); err != nil {
		return 0, false
	}
	return iana.Arch(n), true
}

func platformOf(a iana.Arch) (Platform, bool) {
	switch a {
	case iana.INTEL_X86PC:
		return Platform{Arch: "amd64"}, true
	case iana.EFI_X86_64, iana.EFI_BC, iana.EFI_X86_64_HTTP, iana.EFI_BC_HTTP: // EFI_BC is what old firmware and iPXE say for x86-64
		return Platform{Arch: "amd64", EFI: true}, true
	case iana.EFI_ARM64, iana.EFI_ARM64_HTTP:
		return Platform{Arch: "arm64", EFI: true}, true
	}
	return Platform{}, false
}

// isIPXE knows iPXE by its user class (option 77), which it sends without the
// length that RFC 3004 wants.
func isIPXE(p *dhcpv4.DHCPv4) bool {
	raw := p.Options.Get(dhcpv4.OptionUserClassInformation)
	return bytes.Equal(raw, []byte("iPXE")) || bytes.Equal(raw, []byte("\x04iPXE"))
}

// isPi knows the boot ROM of a Raspberry Pi, which calls itself a PC. Since the
// Pi 4 it names itself in the client's GUID (option 97); before, only its
// hardware address tells.
func isPi(p *dhcpv4.DHCPv4, mac MAC) bool {
	if !strings.HasPrefix(p.ClassIdentifier(), "PXEClient:Arch:00000:UNDI:002001") {
		return false
	}
	if guid := p.Options.Get(dhcpv4.OptionClientMachineIdentifier); len(guid) > 4 && bytes.HasPrefix(guid[1:], []byte("RPi")) {
		return true
	}
	switch [3]byte(mac[:3]) { // of the IEEE's register: the foundation and its trading company
	case [3]byte{0xb8, 0x27, 0xeb}, [3]byte{0xdc, 0xa6, 0x32}, [3]byte{0xe4, 0x5f, 0x01},
		[3]byte{0xd8, 0x3a, 0xdd}, [3]byte{0x2c, 0xcf, 0x67}, [3]byte{0x28, 0xcd, 0xc1}, [3]byte{0x88, 0xa2, 0x9e}:
		return true
	}
	return false
}
