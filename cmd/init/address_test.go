package main

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/netplan"
	"github.com/digital-mycelium/os/cmd/init/internal/status"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/supervise"
)

// testMachine is a machine without hardware.
func testMachine() *machine {
	m := &machine{log: slog.New(slog.DiscardHandler), board: status.New(api.Status{})}
	m.conf.Store(config.Default())
	m.net = newNetwork(m)
	return m
}

// eth0 is an interface with the given addresses.
func eth0(addrs ...string) []netplan.Link {
	l := netplan.Link{Name: "eth0", Carrier: true}
	for _, a := range addrs {
		l.Addresses = append(l.Addresses, netip.MustParsePrefix(a))
	}
	return []netplan.Link{l}
}

// TestAddresses: where others may reach the node, its own address first.
func TestAddresses(t *testing.T) {
	m := testMachine()
	if all, _ := m.net.addresses(); len(all) != 0 {
		t.Errorf("without an address: %v", all)
	}
	_, moved := m.net.addresses()
	m.net.publish(eth0("10.0.0.1/24", "fe80::1/64", "2001:db8::1/64"))
	select {
	case <-moved:
	default:
		t.Error("nobody is told of an address")
	}
	all, moved := m.net.addresses()
	if want := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")}; !slices.Equal(all, want) {
		t.Errorf("addresses %v, want %v", all, want)
	}
	m.net.publish(eth0("10.0.0.1/24", "2001:db8::1/64"))
	select {
	case <-moved:
		t.Error("told of a change that is none")
	default:
	}
}

// TestClusterOnLAN: an interface in the cluster's own addresses is named.
func TestClusterOnLAN(t *testing.T) {
	m := testMachine()
	m.net.publish(eth0("10.42.7.9/16"))
	s, _ := m.board.Get()
	if len(s.Problems) != 1 || !strings.Contains(s.Problems[0], "10.42.0.0/16") || !strings.Contains(s.Problems[0], "eth0") {
		t.Errorf("problems %q", s.Problems)
	}
	m.net.publish(eth0("10.0.0.1/24"))
	if s, _ := m.board.Get(); len(s.Problems) != 0 {
		t.Errorf("problems %q", s.Problems)
	}
}

// TestBlockedServiceWaits: a node whose disk is not usable says why Kubernetes
// does not start.
func TestBlockedServiceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMachine()
		m.block("DATA cannot be used")
		m.supervise(m.k3sSpec())
		m.net.publish(eth0("10.0.0.1/24"))
		time.Sleep(time.Hour)
		s, _ := m.board.Get()
		if len(s.Services) != 1 || s.Services[0].State != supervise.Waiting || s.Kubernetes.Reason != "DATA cannot be used" {
			t.Errorf("services %+v, Kubernetes %+v", s.Services, s.Kubernetes)
		}
		if !slices.Equal(s.Problems, []string{"Kubernetes is off: DATA cannot be used"}) {
			t.Errorf("problems %q", s.Problems)
		}
		m.stopServices()
	})
}

// TestResolvers: a rule's name servers replace those of DHCP on its interface,
// whether it names that by name or by hardware address.
func TestResolvers(t *testing.T) {
	addr := netip.MustParseAddr
	learned := map[string]leaseInfo{
		"eth1": {mac: "52:54:00:00:00:0b", dns: []netip.Addr{addr("10.1.0.1")}, domains: []string{"one.example"}},
		"eth0": {mac: "52:54:00:00:00:0a", dns: []netip.Addr{addr("10.0.0.1")}, domains: []string{"zero.example"}},
	}
	own := []string{"192.0.2.1", "192.0.2.2"}
	tests := []struct {
		name  string
		rules []config.Interface
		want  []string
	}{
		{"no rule", nil, []string{"10.0.0.1", "10.1.0.1"}},
		{"rules without name servers", []config.Interface{{Name: "eth0"}, {MAC: "52:54:00:00:00:0b"}}, []string{"10.0.0.1", "10.1.0.1"}},
		{"by name", []config.Interface{{Name: "eth0", Nameservers: own}}, []string{"192.0.2.1", "192.0.2.2", "10.1.0.1"}},
		{"by hardware address", []config.Interface{{MAC: "52:54:00:00:00:0B", Nameservers: own}}, []string{"192.0.2.1", "192.0.2.2", "10.0.0.1"}},
		{"each", []config.Interface{{MAC: "52:54:00:00:00:0b", Nameservers: own[:1]}, {Name: "eth0", Nameservers: own[1:]}}, own},
		{"another interface's", []config.Interface{{Name: "eth2", Nameservers: own[:1]}}, []string{"192.0.2.1", "10.0.0.1", "10.1.0.1"}},
	}
	for _, tt := range tests {
		servers, domains := resolvers(tt.rules, learned)
		got := make([]string, len(servers))
		for i, s := range servers {
			got[i] = s.String()
		}
		if !slices.Equal(got, tt.want) || !slices.Equal(domains, []string{"zero.example", "one.example"}) {
			t.Errorf("%s: servers %q, want %q; domains %q", tt.name, got, tt.want, domains)
		}
	}
}
