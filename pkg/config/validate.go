package config

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/digital-mycelium/os/pkg/identity"
)

// validate adds an error for every value that is well-formed YAML of the right
// type and still makes no sense. A secret that is still "(secret)" is not known
// here.
func (d *decoder) validate(c *Config) {
	if c.APIVersion != APIVersion {
		d.at("apiVersion", "write apiVersion: "+APIVersion, "is %q", c.APIVersion)
	}
	if c.Kind != Kind {
		d.at("kind", "write kind: "+Kind, "is %q", c.Kind)
	}
	if c.Hostname != "" && !isLabel(c.Hostname) {
		d.at("hostname", "lower-case letters, digits and inner hyphens, at most 63", "%q is no host name", c.Hostname)
	}
	seen := map[string]string{}
	for i, rule := range c.Network.Interfaces {
		d.validateInterface(fmt.Sprintf("network.interfaces[%d]", i), rule, seen)
	}
	d.validateWiFi(c.Network.WiFi)
	d.validateHosts("time.servers", c.Time.Servers)
	d.validateMembership(c.Membership)
	d.validateUpdate(c.Update)
	d.validateInstall(c.Install)
	for _, key := range sortedKeys(c.Kubernetes.Labels) {
		if !isLabelKey(key) || !isLabelValue(c.Kubernetes.Labels[key]) {
			d.at("kubernetes.labels."+key, "at most 63 letters, digits, '-', '_', '.', the key with an optional DNS prefix/", "is no Kubernetes label")
		}
	}
}

// at adds an error at the place where field stands, or at its nearest parent.
func (d *decoder) at(field, hint, format string, args ...any) {
	path := field
	for d.positions[path] == nil && path != "" {
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	d.fail(d.positions[path], field, hint, format, args...)
}

func (d *decoder) validateInterface(path string, rule Interface, seen map[string]string) {
	switch {
	case (rule.Name == "") == (rule.MAC == ""):
		d.at(path, "give exactly one of name and mac", "the interface is not named")
		return
	case rule.MAC != "":
		if hw, err := net.ParseMAC(rule.MAC); err != nil || len(hw) != 6 {
			d.at(path+".mac", "write it like 52:54:00:12:34:56", "%q is no hardware address", rule.MAC)
		}
	case len(rule.Name) > 15 || strings.ContainsAny(rule.Name, "/ \t\n:") || rule.Name == "lo":
		d.at(path+".name", "at most 15 characters, like eth0", "%q is no name of a network interface", rule.Name)
	}
	key := strings.ToLower(rule.Name + rule.MAC)
	if other, twice := seen[key]; twice {
		d.at(path, "merge the two", "names the same interface as %s", other)
	}
	seen[key] = path
	if rule.Ignore && (len(rule.Addresses) > 0 || rule.Gateway != "" || (rule.DHCP != nil && *rule.DHCP)) {
		d.at(path+".ignore", "remove ignore, or addresses, gateway and dhcp", "an ignored interface has no addresses")
	}
	d.validateAddresses(path, rule)
}

func (d *decoder) validateAddresses(path string, rule Interface) {
	var networks []netip.Prefix
	for i, a := range rule.Addresses {
		p, err := netip.ParsePrefix(a)
		if err != nil || p.Addr().IsMulticast() || p.Addr().IsUnspecified() {
			d.at(fmt.Sprintf("%s.addresses[%d]", path, i), "write address/length like 192.168.1.10/24", "%q is no address with prefix length", a)
			continue
		}
		networks = append(networks, p)
	}
	if rule.Gateway != "" {
		gw, err := netip.ParseAddr(rule.Gateway)
		switch {
		case err != nil:
			d.at(path+".gateway", "write an address like 192.168.1.1", "%q is no address", rule.Gateway)
		case !slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(gw) }) && !gw.IsLinkLocalUnicast():
			d.at(path+".gateway", "one of addresses must be on its network", "%s cannot be reached", gw)
		}
	}
	for i, s := range rule.Nameservers {
		if _, err := netip.ParseAddr(s); err != nil {
			d.at(fmt.Sprintf("%s.nameservers[%d]", path, i), "write an address, not a name", "%q is no address", s)
		}
	}
}

func (d *decoder) validateHosts(path string, hosts []string) {
	for i, s := range hosts {
		if !isHostPort(s) {
			d.at(fmt.Sprintf("%s[%d]", path, i), "write host or host:port", "%q is neither the name nor the address of a host", s)
		}
	}
}

// validateMembership refuses what no network could be joined with. An invite
// that has expired is right here: only its issuer can say whether it is spent.
func (d *decoder) validateMembership(m Membership) {
	network, networkErr := identity.ParseNetworkID(m.Network)
	if m.Network != "" && networkErr != nil {
		d.at("membership.network", "copy it from: mycelium network list", "%v", networkErr)
	}
	if m.Invite != "" && m.Invite != redacted {
		token, err := identity.ParseToken(m.Invite.Reveal())
		switch {
		case err != nil: // without err: nothing of a token is shown
			d.at("membership.invite", "copy it again, in one line, as mycelium invite printed it", "is no invite: characters are mistyped or missing")
		case m.Network != "" && networkErr == nil && token.Invite().Network != network:
			d.at("membership.invite", "make one there: mycelium invite", "is of the network %s, not of membership.network", token.Invite().Network)
		}
	}
	d.validateHosts("membership.peers", m.Peers)
}

var (
	labelPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	namePattern  = regexp.MustCompile(`^[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$`)
)

// isLabel reports whether s is a DNS label (RFC 1123) in lower case.
func isLabel(s string) bool { return labelPattern.MatchString(s) }

// isDomain reports whether s is a DNS name of such labels.
func isDomain(s string) bool {
	return len(s) <= 253 && !slices.ContainsFunc(strings.Split(s, "."), func(l string) bool { return !isLabel(l) })
}

func isLabelKey(s string) bool {
	prefix, name, found := strings.Cut(s, "/")
	if !found {
		return namePattern.MatchString(prefix)
	}
	return isDomain(prefix) && namePattern.MatchString(name)
}

func isLabelValue(s string) bool { return s == "" || namePattern.MatchString(s) }

// isHostPort reports whether s is a host name or address with an optional port.
func isHostPort(s string) bool {
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
		host = h
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return isDomain(strings.ToLower(strings.TrimSuffix(host, ".")))
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
