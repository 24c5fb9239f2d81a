package dash

import (
	"testing"

	"github.com/digital-mycelium/os/pkg/api"
)

func TestWireless(t *testing.T) {
	for _, tt := range []struct {
		i    api.Interface
		want string
	}{
		{api.Interface{Name: "wlan0", Wireless: &api.Wireless{Reason: "connecting"}}, "wlan0 (Wi-Fi: connecting)"},
		{api.Interface{Name: "wlan0", Wireless: &api.Wireless{}}, "wlan0 (Wi-Fi)"},
		{api.Interface{Name: "wlan0", Up: true, Wireless: &api.Wireless{SSID: "home"}}, `wlan0 waits for an address (Wi-Fi "home")`},
		{api.Interface{Name: "wlan0", Up: true, Addresses: []string{"10.0.0.2/24", "fe80::1/64"}, Wireless: &api.Wireless{SSID: "a\x1b", Signal: -52}}, `wlan0 10.0.0.2/24 (Wi-Fi "a\x1b", -52 dBm)`},
		{api.Interface{Name: "eth0"}, "eth0 has no link"},
	} {
		if got := addresses([]api.Interface{tt.i}); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.i, got, tt.want)
		}
	}
}
