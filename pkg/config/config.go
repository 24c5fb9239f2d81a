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

import (
	"slices"
	"strings"
	"time"
)

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
	Update     Update     `yaml:"update"`
	Console    Console    `yaml:"console"`
	Install    Install    `yaml:"install"`
}

// Network is how the node reaches others.
type Network struct {
	// Interfaces are rules for interfaces; an Ethernet interface that no rule
	// matches uses DHCP.
	Interfaces []Interface `yaml:"interfaces" change:"reboot"`
	// WiFi is for wireless cards. An interface of one takes its addresses as others do.
	WiFi WiFi `yaml:"wifi"`
}

// WiFi is which wireless networks the node joins. Every wireless interface that is
// not ignored looks for them.
type WiFi struct {
	// Country is where the node stands, two capital letters as DE (ISO 3166-1): it
	// says which channels and what power are allowed. Without it radios would keep to
	// what is allowed everywhere, so that networks want one.
	Country string `yaml:"country" change:"now"`
	// Networks are those to join, the first that is there.
	Networks []WiFiNetwork `yaml:"networks" change:"now"`
}

// WiFiNetwork is a wireless network: WPA2 or WPA3 with a password, or open.
type WiFiNetwork struct {
	// SSID is the network's name, 1 to 32 bytes.
	SSID string `yaml:"ssid"`
	// Password is 8 to 63 printable ASCII characters, or the key itself as 64
	// hexadecimal digits (WPA2 alone). Without it only an open network is joined.
	Password Secret `yaml:"password"`
	// Hidden says that the network does not show its name: it is asked for.
	Hidden bool `yaml:"hidden"`
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

// Update is where the node's next operating systems come from, who may send one by
// hand, and when it takes them by itself.
type Update struct {
	// Server is the URL of a release repository, http or https: its metadata is
	// signed, so that http does as well.
	Server string `yaml:"server" change:"now"`
	// Root is the digest of the repository's first root metadata, as "mycelium
	// release create" prints it: "sha256:" and 64 hexadecimal digits. Releases that do
	// not go back to it are refused.
	Root string `yaml:"root" change:"now"`
	// Channel is which of the repository's releases the node follows; the default is
	// stable.
	Channel string `yaml:"channel" change:"now"`
	// Automatic lets the node update by itself, within Window, one node of the
	// network after the other.
	Automatic bool `yaml:"automatic" change:"now"`
	// Window is when the node may start an update by itself; the default is always.
	Window Window `yaml:"window"`
	// Interval is the mean time between two questions to the server, as "2h"; at
	// least a minute. The default is two hours.
	Interval string `yaml:"interval" change:"now"`
	// Trial is how long a new system may take to show that it works before the old
	// one is taken back, as "10m", from a minute to two hours. The default is 10 minutes.
	Trial string `yaml:"trial" change:"now"`
	// Developers are public keys of who may push an operating system by hand, as
	// "mycelium update key" prints them.
	Developers []string `yaml:"developers" change:"now"`
	// Checks are the owner's own: each must pass in a new system before it is kept.
	Checks []Check `yaml:"checks" change:"now"`
}

// Window is a time of the day, in UTC.
type Window struct {
	// Days are of mon, tue, wed, thu, fri, sat and sun; the default is every day. A
	// window over midnight belongs to the day on which it begins.
	Days []string `yaml:"days" change:"now"`
	// From and To are "HH:MM"; To may be earlier, on the next day. Without both the
	// window is the whole day.
	From string `yaml:"from" change:"now"`
	// To is when the window ends.
	To string `yaml:"to" change:"now"`
}

// Check asks a service, of exactly one of the kinds HTTP and TCP.
type Check struct {
	// Name is what the check is called when it fails.
	Name string `yaml:"name"`
	// HTTP is a URL that must answer a GET with a status below 400.
	HTTP string `yaml:"http"`
	// TCP is "host:port" that must accept a connection.
	TCP string `yaml:"tcp"`
}

// Install makes the disk, or the stick, that carries the document one to install
// from: the system that is started from it runs from memory and leaves every disk
// alone, but for the one that it is told to install itself on. A system that is
// installed has no such section and takes no notice of one.
type Install struct {
	// Live runs the system from memory. Disk does so, too.
	Live bool `yaml:"live" change:"reboot"`
	// Disk is what the system installs itself on when it is started: "auto" for the
	// only disk that is blank or holds this system already, a name such as sda, or
	// "serial:" and what the disk's serial number begins with, "model:" and what its
	// model begins with, "size:" and "smallest" or "largest". Without it the system
	// waits for an order. What it has installed once it does not install again.
	Disk string `yaml:"disk" change:"reboot"`
	// Wipe gives up whatever is on the disk. Without it STATE and DATA of this system
	// are kept, and a disk with anything else is refused.
	Wipe bool `yaml:"wipe" change:"reboot"`
	// After is what comes after the installation: "reboot" (the default), "poweroff",
	// or "stay" to go on from memory.
	After string `yaml:"after" change:"reboot"`
}

// IsLive reports whether a system runs from memory that is started from the disk
// that carries the document.
func (i Install) IsLive() bool { return i.Live || i.Disk != "" }

// What Install.After says.
const (
	AfterReboot   = "reboot"
	AfterPowerOff = "poweroff"
	AfterStay     = "stay"
)

// Defaults of Update.
const (
	DefaultChannel  = "stable"
	DefaultInterval = 2 * time.Hour
	DefaultTrial    = 10 * time.Minute
)

// FollowedChannel is the channel, or its default.
func (u Update) FollowedChannel() string {
	if u.Channel == "" {
		return DefaultChannel
	}
	return u.Channel
}

// PollInterval is the interval, or its default.
func (u Update) PollInterval() time.Duration { return durationOr(u.Interval, DefaultInterval) }

// TrialTime is how long a trial may take, or its default.
func (u Update) TrialTime() time.Duration { return durationOr(u.Trial, DefaultTrial) }

func durationOr(text string, def time.Duration) time.Duration {
	if d, err := time.ParseDuration(text); err == nil {
		return d
	}
	return def
}

// Contains reports whether the window is open at t.
func (w Window) Contains(t time.Time) bool {
	t = t.UTC()
	if w.From == "" || w.To == "" {
		return w.on(t)
	}
	from, to, now := minuteOf(w.From), minuteOf(w.To), t.Hour()*60+t.Minute()
	if from < to {
		return w.on(t) && from <= now && now < to
	}
	return w.on(t) && now >= from || w.on(t.AddDate(0, 0, -1)) && now < to
}

// on reports whether the window may begin on the day of t.
func (w Window) on(t time.Time) bool {
	return len(w.Days) == 0 || slices.Contains(w.Days, strings.ToLower(t.Weekday().String()[:3]))
}

// minuteOf returns the minute of the day of "HH:MM", -1 when it is none.
func minuteOf(text string) int {
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != 5 {
		return -1
	}
	return t.Hour()*60 + t.Minute()
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
