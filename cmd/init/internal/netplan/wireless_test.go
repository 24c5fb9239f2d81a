package netplan

import (
	"strings"
	"testing"
)

func TestWireless(t *testing.T) {
	links := WiredFirst([]Link{{Name: "wlan0", Wireless: true, Reason: "connecting"}, {Name: "eth0"}, {Name: "wlan1", Wireless: true}, {Name: "eth1"}})
	var names []string
	for _, l := range links {
		names = append(names, l.Name)
	}
	if got := strings.Join(names, " "); got != "eth0 eth1 wlan0 wlan1" || CountWireless(links) != 2 {
		t.Errorf("%s, %d wireless", got, CountWireless(links))
	}
	if got := Problem(links, nil); !strings.Contains(got, "eth0 has no link: plug in its cable; ") || !strings.Contains(got, "wlan0 (Wi-Fi): connecting") {
		t.Error(got)
	}
}
