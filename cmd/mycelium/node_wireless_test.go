package main

import (
	"testing"

	"github.com/digital-mycelium/os/pkg/api"
)

func TestWirelessText(t *testing.T) {
	for want, w := range map[string]api.Wireless{
		`wlan0 in "home", signal -52 dBm`:               {SSID: "home", Signal: -52},
		`wlan0 in "a\x1b"`:                              {SSID: "a\x1b"},
		"wlan0 not connected: the password of is wrong": {Reason: "the password of is wrong"},
		"wlan0 not connected:":                          {},
	} {
		if got := wirelessText("wlan0", w); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
