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
	API        API        `yaml:"api"`
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

// API opens the machine API: all three or none. The node does not listen
// without them.
type API struct {
	// CA is the PEM certificate (or several) that clients' certificates are
	// verified by.
	CA string `yaml:"ca" change:"reboot"`
	// Certificate is the node's own, PEM.
	Certificate string `yaml:"certificate" change:"reboot"`
	// Key belongs to Certificate, PEM.
	Key Secret `yaml:"key" change:"reboot"`
}

// Enabled reports whether the machine API is configured.
func (a API) Enabled() bool { return a.CA != "" }

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
// every Ethernet interface, no machine API.
func Default() *Config {
	return &Config{APIVersion: APIVersion, Kind: Kind}
}
