// Package config is the configuration of a node: one strict YAML document.
//
// Parse refuses what it does not know: an unknown field, a wrong type, a
// duplicate key or a value out of range is an error with its line, its column
// and, where there is one, a hint. A node without a document runs with Default.
//
//	apiVersion: mycelium.os/v1alpha1
//	kind: NodeConfig
//	hostname: kitchen
//	network:
//	  interfaces:
//	    - name: eth0
//	      addresses: [192.168.1.10/24]
//	      gateway: 192.168.1.1
//	      nameservers: [192.168.1.1]
package config

// APIVersion and Kind are what a document must begin with.
const (
	APIVersion = "mycelium.os/v1alpha1"
	Kind       = "NodeConfig"
)

// MaxSize is the largest document in bytes that Parse reads.
const MaxSize = 1 << 20

// Config is the whole document. The zero value of every field means its default.
//
// The tag change says how a node that runs takes a new value: "now" or "reboot".
// Compare reads it; every field that holds a value has it, a list or a map for
// all that is in it.
type Config struct {
	// APIVersion says by which rules the document is read.
	APIVersion string `yaml:"apiVersion" change:"now"`
	// Kind says what the document is.
	Kind string `yaml:"kind" change:"now"`
	// Hostname is the node's name: a DNS label in lower case. Without it the node
	// is called "mycelium-" and the first six digits of its machine id.
	Hostname   string     `yaml:"hostname" change:"reboot"`
	Network    Network    `yaml:"network"`
	Time       Time       `yaml:"time"`
	Membership Membership `yaml:"membership"`
	Kubernetes Kubernetes `yaml:"kubernetes"`
	Console    Console    `yaml:"console"`
}

// Network is how the node reaches others.
type Network struct {
	// Interfaces are rules for interfaces; an Ethernet interface that no rule
	// matches uses DHCP.
	Interfaces []Interface `yaml:"interfaces" change:"reboot"`
}

// Interface is the rule for one interface, named by exactly one of Name and MAC.
type Interface struct {
	// Name is the interface's name, like eth0.
	Name string `yaml:"name"`
	// MAC is the permanent hardware address, six octets in hex with colons.
	MAC string `yaml:"mac"`
	// DHCP asks for an IPv4 lease. The default is yes without Addresses, no with.
	DHCP *bool `yaml:"dhcp"`
	// Addresses are static ones in CIDR form, IPv4 or IPv6.
	Addresses []string `yaml:"addresses"`
	// Gateway is the default route's next hop, on one of Addresses' networks.
	Gateway string `yaml:"gateway"`
	// Nameservers are DNS servers; they replace those of DHCP.
	Nameservers []string `yaml:"nameservers"`
	// Ignore leaves the interface down and alone.
	Ignore bool `yaml:"ignore"`
}

// Time is where the clock comes from.
type Time struct {
	// Servers are NTP servers, each "host" or "host:port". Without any, those
	// that DHCP names are asked, else pool.ntp.org.
	Servers []string `yaml:"servers" change:"now"`
}

// Membership is how the node comes to its network, the one of identities. A node
// that has a credential is a member, whatever stands here.
type Membership struct {
	// Network is the id of the only network that the node lets itself be enrolled
	// in, as "mycelium network list" shows it. Without it any network will do.
	Network string `yaml:"network" change:"reboot"`
	// Invite is a token of "mycelium invite". With it the node asks for admission
	// by itself; without, it waits until it is enrolled.
	Invite Secret `yaml:"invite" change:"reboot"`
	// Peers are members to ask besides those that the local network shows, each
	// "host" or "host:port".
	Peers []string `yaml:"peers" change:"now"`
}

// Kubernetes is the node's part in its cluster.
type Kubernetes struct {
	// Labels are put on the node when it registers.
	Labels map[string]string `yaml:"labels" change:"now"`
}

// Console is what the node shows on its screen.
type Console struct {
	// Dashboard draws the overview on the screen; the default is on. Boot phases
	// and problems are printed either way.
	Dashboard *bool `yaml:"dashboard" change:"now"`
}

// ShowDashboard reports whether the dashboard is wanted.
func (c Console) ShowDashboard() bool { return c.Dashboard == nil || *c.Dashboard }

// UseDHCP reports whether the interface asks for a lease.
func (i Interface) UseDHCP() bool {
	if i.DHCP != nil {
		return *i.DHCP
	}
	return len(i.Addresses) == 0 && !i.Ignore
}

// Default returns the configuration of a node that was given none: DHCP on
// every Ethernet interface, nothing that says which network it belongs to.
func Default() *Config {
	return &Config{APIVersion: APIVersion, Kind: Kind}
}
