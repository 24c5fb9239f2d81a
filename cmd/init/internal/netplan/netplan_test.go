package netplan

import (
	"net/netip"
	"testing"

	"github.com/digital-mycelium/os/pkg/config"
)

func link(name string, carrier bool, addrs ...string) Link {
	l := Link{Name: name, MAC: "52:54:00:00:00:01", Carrier: carrier}
	for _, a := range addrs {
		l.Addresses = append(l.Addresses, netip.MustParsePrefix(a))
	}
	return l
}

func TestRule(t *testing.T) {
	rules := []config.Interface{{Name: "eth0", Ignore: true}, {MAC: "52:54:00:AB:cd:01", Gateway: "x"}}
	if r := Rule(rules, "eth0", "00:00:00:00:00:00"); !r.Ignore {
		t.Error("not found by name")
	}
	if r := Rule(rules, "eth1", "52:54:00:ab:cd:01"); r.Gateway != "x" {
		t.Error("not found by hardware address")
	}
	if r := Rule(rules, "eth2", "00:00:00:00:00:00"); r.Ignore || !r.UseDHCP() {
		t.Error("an interface without a rule does not use DHCP")
	}
	if r := Rule(rules, "", ""); r.Ignore || r.Gateway != "" {
		t.Error("a rule matched nothing")
	}
}

func TestNodeAddress(t *testing.T) {
	a := netip.MustParseAddr
	rules := []config.Interface{{Name: "lan0", Addresses: []string{"10.77.0.1/24"}}}
	tests := []struct {
		name    string
		links   []Link
		current netip.Addr
		want    netip.Addr
	}{
		{"none", nil, netip.Addr{}, netip.Addr{}},
		{"only link-local and IPv6", []Link{link("eth0", true, "169.254.1.1/16", "fd00::1/64")}, netip.Addr{}, netip.Addr{}},
		{"first", []Link{link("eth0", true), link("eth1", true, "10.0.0.1/8", "10.0.0.2/8")}, netip.Addr{}, a("10.0.0.1")},
		{"keeps the current", []Link{link("eth0", true, "10.0.0.1/8"), link("eth1", true, "10.0.0.2/8")}, a("10.0.0.2"), a("10.0.0.2")},
		{"a static one goes before", []Link{link("eth0", true, "10.0.0.1/8"), link("lan0", true, "10.0.0.3/8", "10.77.0.1/24")}, a("10.0.0.1"), a("10.77.0.1")},
		{"a static one without a link", []Link{link("eth0", true, "10.0.0.1/8"), link("lan0", false, "10.77.0.1/24")}, netip.Addr{}, a("10.0.0.1")},
		{"only a static one without a link", []Link{link("lan0", false, "10.77.0.1/24")}, netip.Addr{}, netip.Addr{}},
		{"its cable is pulled", []Link{link("eth0", true, "10.0.0.1/8"), link("lan0", false, "10.77.0.1/24")}, a("10.77.0.1"), a("10.77.0.1")},
		{"the lease's cable is pulled", []Link{link("eth0", false, "10.0.0.1/8"), link("eth1", true, "10.0.0.2/8")}, a("10.0.0.1"), a("10.0.0.1")},
		{"current is gone", []Link{link("eth0", true, "10.0.0.1/8")}, a("10.0.0.9"), a("10.0.0.1")},
	}
	for _, tt := range tests {
		got, ok := NodeAddress(tt.links, rules, tt.current)
		if got != tt.want || ok != tt.want.IsValid() {
			t.Errorf("%s: %v, %v", tt.name, got, ok)
		}
	}
}

func TestConnected(t *testing.T) {
	tests := []struct {
		links []Link
		want  bool
	}{
		{nil, false},
		{[]Link{link("eth0", false, "10.0.0.1/8")}, false},
		{[]Link{link("eth0", true, "169.254.0.1/16", "fd00::1/64")}, false},
		{[]Link{link("eth0", false), link("eth1", true, "10.0.0.1/8")}, true},
	}
	for i, tt := range tests {
		if got := Connected(tt.links); got != tt.want {
			t.Errorf("%d: %v", i, got)
		}
	}
}

func TestSettled(t *testing.T) {
	rules := []config.Interface{{Name: "eth8", Addresses: []string{"10.1.0.1/16"}}, {Name: "eth9", Ignore: true}}
	tests := []struct {
		name  string
		links []Link
		want  bool
	}{
		{"nothing", nil, false},
		{"no link", []Link{link("eth0", false)}, false},
		{"no address", []Link{link("eth0", true, "fe80::1/64")}, false},
		{"only IPv6 without DHCP's answer", []Link{link("eth0", true, "fd00::1/64")}, false},
		{"one", []Link{link("eth0", true, "fe80::1/64", "10.0.0.1/8")}, true},
		{"one of two", []Link{link("eth0", true, "10.0.0.1/8"), link("eth1", true)}, false},
		{"the other has no link", []Link{link("eth0", true, "10.0.0.1/8"), link("eth1", false)}, true},
		{"the static one has no link yet", []Link{link("eth0", true, "10.0.0.1/8"), link("eth8", false, "10.1.0.1/16")}, false},
		{"the static one has its link", []Link{link("eth0", true, "10.0.0.1/8"), link("eth8", true, "10.1.0.1/16")}, true},
		{"the other is ignored", []Link{link("eth0", true, "10.0.0.1/8"), link("eth9", true)}, true},
	}
	for _, tt := range tests {
		if got := Settled(tt.links, rules); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestProblem(t *testing.T) {
	rules := []config.Interface{{Name: "eth1", Ignore: true}, {Name: "eth2", Addresses: []string{"fd00::1/64"}}}
	tests := []struct {
		links []Link
		want  string
	}{
		{nil, "no network: this machine has no network interface that the system knows"},
		{[]Link{link("eth0", false)}, "no network: eth0 has no link: plug in its cable"},
		{
			[]Link{link("eth0", true), link("eth1", true), link("eth2", true)},
			"no network: eth0 waits for an address from a DHCP server; eth1 is ignored by the configuration; eth2 has no address in the configuration",
		},
	}
	for _, tt := range tests {
		if got := Problem(tt.links, rules); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestResolv(t *testing.T) {
	a := netip.MustParseAddr
	got := string(Resolv(
		[]netip.Addr{a("10.0.2.3"), a("0.0.0.0"), {}, a("10.0.2.3"), a("fd00::1"), a("1.1.1.1"), a("8.8.8.8")},
		[]string{"lan", "lan", "bad\nnameserver 6.6.6.6", "", "example.org"},
	))
	want := "# Written by init from the configuration and DHCP.\nnameserver 10.0.2.3\nnameserver fd00::1\nnameserver 1.1.1.1\nsearch lan example.org\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := string(Resolv(nil, nil)); got != "# Written by init from the configuration and DHCP.\n" {
		t.Errorf("got %q", got)
	}
}
