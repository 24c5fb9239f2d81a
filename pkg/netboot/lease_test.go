package netboot

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestLeases(t *testing.T) {
	l, err := NewLeases("192.168.77.0-192.168.77.3", server) // .0 is the network, .1 the server
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := MAC{1}, MAC{2}, MAC{3}
	offer := func(who MAC, wanted string, at time.Time, want string) {
		t.Helper()
		var w netip.Addr
		if wanted != "" {
			w = netip.MustParseAddr(wanted)
		}
		got, ok := l.Offer(who, w, at)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("offer to %s: %v, %v, want %q", who, got, ok, want)
		}
	}
	confirm := func(who MAC, address string, at time.Time, want bool) {
		t.Helper()
		if got := l.Confirm(who, netip.MustParseAddr(address), at); got != want {
			t.Errorf("confirm %s for %s: %v", address, who, got)
		}
	}
	offer(a, "", started, "192.168.77.2")
	offer(a, "192.168.77.3", started, "192.168.77.2") // the same as before
	offer(b, "192.168.77.1", started, "192.168.77.3") // not the server's
	offer(c, "", started, "")
	confirm(a, "192.168.77.2", started, true)
	offer(c, "", started.Add(2*offerTime), "192.168.77.3") // b did not come back
	confirm(b, "192.168.77.3", started.Add(2*offerTime), false)
	confirm(b, "192.168.77.9", started, false)
	confirm(b, "192.168.77.0", started, false)
	l.Decline(c, started.Add(2*offerTime))
	offer(c, "", started.Add(2*offerTime), "")
	offer(c, "", started.Add(2*offerTime+declineTime), "192.168.77.3")
	l.Release(a)
	offer(b, "192.168.77.2", started.Add(2*offerTime), "192.168.77.2")
	confirm(a, "192.168.77.2", started.Add(2*offerTime), false)
	confirm(a, "192.168.77.2", started.Add(5*LeaseTime), true) // asks for its old one, which nobody has any more
}

func TestLeasesRefuse(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "FIRST-LAST",
		"192.168.77.10":                 "FIRST-LAST",
		"192.168.77.20-192.168.77.10":   "FIRST-LAST",
		"fe80::1-fe80::2":               "FIRST-LAST",
		"192.168.76.10-192.168.77.20":   "does not lie in",
		"192.168.77.100-192.168.78.100": "does not lie in",
	} {
		if _, err := NewLeases(text, server); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := NewLeases("10.0.0.1-10.255.0.1", netip.MustParsePrefix("10.0.0.1/8")); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a huge range: %v", err)
	}
	if got := broadcast(netip.MustParsePrefix("10.1.2.3/20")); got.String() != "10.1.15.255" {
		t.Error(got)
	}
}
