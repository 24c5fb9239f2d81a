package system

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
)

// The wireless network of the story wifi.
const (
	wifiSSID     = "Attic's 1st"
	wifiPassword = "correct horse #1"
	wifiLease    = "192.168.77.20"
)

// wifi: a node with two simulated radios joins the network of the access point on its
// second one, says when the password is wrong, and takes the right one while it runs.
func wifi(t *testing.T, suite *lab.Suite) {
	on, err := suite.WithRadios(t.Context())
	must(t, "image", err)
	c := config.Default()
	c.Network.Interfaces = []config.Interface{{Name: "wlan1", Ignore: true}}
	c.Network.WiFi = config.WiFi{Country: "DE", Networks: []config.WiFiNetwork{{SSID: wifiSSID, Password: "wrong" + wifiPassword}}}
	m := on.Machine(t, lab.MachineSpec{Name: "wifi", Config: c})
	must(t, "start", m.Start(t.Context()))
	must(t, "enrol", m.Enrol(t.Context()))
	awaitRadio(t, m, "the search", func(w api.Wireless) bool { return w.SSID == "" && w.Reason != "" })
	_, err = m.WaitStatus(within(t, lab.ReadyTimeout), "a Ready node", func(s *api.Status) (bool, string) {
		return s.Kubernetes.NodeReady, s.Kubernetes.Reason
	})
	must(t, "Ready", err)
	must(t, "load the probe", m.LoadProbe(t.Context()))
	must(t, "access point", m.RunPrivileged(t.Context(), "accesspoint", "accesspoint", "wlan1", wifiSSID, wifiPassword, "192.168.77.1/24", wifiLease))
	awaitRadio(t, m, "the wrong password", func(w api.Wireless) bool {
		return w.Reason == fmt.Sprintf("the password of %q is wrong", wifiSSID)
	})

	changes := (&updating{Machine: m}).reconfigure(t, func(c *config.Config) { c.Network.WiFi.Networks[0].Password = wifiPassword })
	if config.NeedsReboot(changes) {
		t.Errorf("it waits for a reboot: %+v", changes)
	}
	awaitRadio(t, m, "the network", func(w api.Wireless) bool { return w.SSID == wifiSSID && w.Reason == "" && w.Signal < 0 })
	_, err = m.WaitStatus(within(t, time.Minute), "an address", func(s *api.Status) (bool, string) {
		return slices.ContainsFunc(s.Interfaces, func(i api.Interface) bool {
			return i.Wireless != nil && slices.Contains(i.Addresses, wifiLease+"/24")
		}), fmt.Sprintf("%+v", s.Interfaces)
	})
	must(t, "DHCP", err)
	events, err := m.Events()
	must(t, "console", err)
	for _, e := range events {
		if strings.Contains(fmt.Sprint(e), wifiPassword) {
			t.Errorf("the console shows the password: %+v", e)
		}
	}
}

// awaitRadio waits for what the status says of wlan0.
func awaitRadio(t *testing.T, m *lab.Machine, what string, done func(api.Wireless) bool) {
	t.Helper()
	_, err := m.WaitStatus(within(t, 2*time.Minute), what, func(s *api.Status) (bool, string) {
		for _, i := range s.Interfaces {
			if i.Name == "wlan0" && i.Wireless != nil {
				return done(*i.Wireless), fmt.Sprintf("%+v", *i.Wireless)
			}
		}
		return false, fmt.Sprintf("no radio wlan0: %+v, problems %q", s.Interfaces, s.Problems)
	})
	must(t, what, err)
}
