package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/supplicant"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/supervise"
)

const (
	supplicantPath = "/sbin/wpa_supplicant"
	// supplicantDir holds its configurations, with the passwords, and its sockets.
	supplicantDir = "/run/wpa_supplicant"
	// signalInterval is how often the signal's strength is asked for.
	signalInterval = 15 * time.Second
)

// isWireless reports whether the interface is a wireless card's.
func isWireless(name string) bool {
	_, err := os.Stat(filepath.Join("/sys/class/net", name, "phy80211"))
	return err == nil
}

// joinWireless lets wpa_supplicant look after a wireless interface, once.
func (n *network) joinWireless(name string) {
	n.mu.Lock()
	known := slices.Contains(n.wireless, name)
	if !known {
		n.wireless = append(n.wireless, name)
	}
	n.mu.Unlock()
	if !known {
		n.m.supervise(n.supplicantSpec(name))
	}
}

// supplicantService is what the service for an interface is called.
func supplicantService(name string) string { return "wifi-" + name }

// supplicantSpec keeps wpa_supplicant running for an interface while there are
// networks to join.
func (n *network) supplicantSpec(name string) supervise.Spec {
	follower := func() {}
	return supervise.Spec{
		Name: supplicantService(name),
		Wait: func(ctx context.Context) error { return n.waitForNetworks(ctx, name) },
		Start: func(ctx context.Context) (supervise.Process, error) {
			follower()
			path, err := writeSupplicant(n.m.config().Network.WiFi, name)
			if err != nil {
				return nil, err
			}
			p, err := n.m.startProcess(ctx, supplicantService(name), command{
				path: supplicantPath, args: []string{"-i", name, "-D", "nl80211", "-c", path},
			})
			if err != nil {
				return nil, err
			}
			ctx, follower = context.WithCancel(ctx)
			n.m.spawn(func() { n.followWireless(ctx, name) })
			return p, nil
		},
	}
}

// waitForNetworks waits until the configuration names wireless networks.
func (n *network) waitForNetworks(ctx context.Context, name string) error {
	for len(n.m.config().Network.WiFi.Networks) == 0 {
		n.showWireless(name, supplicant.State{Reason: "the configuration names no wireless network"})
		if !sleep(ctx, time.Second) {
			return ctx.Err()
		}
	}
	if _, err := os.Stat(supplicantPath); err != nil {
		return fmt.Errorf("this system has no Wi-Fi: its OS file was built without --wifi: %w", err)
	}
	return nil
}

// writeSupplicant writes the configuration for an interface and returns its path.
func writeSupplicant(w config.WiFi, name string) (string, error) {
	document, err := supplicant.Render(w, supplicantDir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(supplicantDir, 0o700); err != nil {
		return "", fmt.Errorf("make the directory for Wi-Fi: %w", err)
	}
	// left by a life that was killed, and in the way of the next
	if err := os.Remove(filepath.Join(supplicantDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("remove the old control socket: %w", err)
	}
	path := filepath.Join("/run", "wpa_supplicant-"+name+".conf")
	if err := durable.WriteFile(path, document, 0o600); err != nil {
		return "", fmt.Errorf("write the configuration for Wi-Fi: %w", err)
	}
	return path, nil
}

// followWireless keeps what is shown of a wireless interface up to date until ctx
// ends.
func (n *network) followWireless(ctx context.Context, name string) {
	for sleep(ctx, 200*time.Millisecond) {
		c, err := supplicant.Dial(filepath.Join(supplicantDir, name), "/run/wpa-answers-"+name)
		if err != nil {
			continue // it has not begun yet, or has ended: its service says so
		}
		err = n.followEvents(ctx, name, c)
		if cerr := c.Close(); ctx.Err() == nil {
			n.log.Info("Wi-Fi is not followed any more", "interface", name, "error", errors.Join(err, cerr))
		}
	}
}

// followEvents shows what wpa_supplicant says.
func (n *network) followEvents(ctx context.Context, name string, c *supplicant.Control) error {
	var state supplicant.State
	for {
		reply, err := c.Ask("STATUS")
		if err != nil {
			return err
		}
		state = state.Status(reply)
		if state.Connected {
			if reply, err = c.Ask("SIGNAL_POLL"); err != nil {
				return err
			}
			state.Signal, _ = supplicant.Signal(reply)
		}
		n.showWireless(name, state)
		event, ok, err := c.Event(ctx, signalInterval)
		if err != nil {
			return err
		}
		if ok {
			state = state.Event(event)
		}
	}
}

// signalStep is by how much a signal must change to be shown anew, in dB.
const signalStep = 4

// showWireless notes the state of a wireless interface and lets it be published.
func (n *network) showWireless(name string, s supplicant.State) {
	n.mu.Lock()
	old, known := n.radio[name]
	if known && old.Connected == s.Connected && old.SSID == s.SSID && old.Reason == s.Reason && max(old.Signal-s.Signal, s.Signal-old.Signal) < signalStep {
		n.mu.Unlock()
		return
	}
	if n.radio == nil {
		n.radio = map[string]supplicant.State{}
	}
	n.radio[name] = s
	wake := n.wake
	n.mu.Unlock()
	if old.Connected != s.Connected || old.Reason != s.Reason {
		n.log.Info("Wi-Fi", "interface", name, "connected", s.Connected, "ssid", s.SSID, "reason", s.Reason)
	}
	if wake != nil {
		wake()
	}
}

// radioOf returns what is known of a wireless interface, nil for others.
func (n *network) radioOf(name string) *api.Wireless {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.wireless, name) {
		return nil
	}
	s := n.radio[name]
	return &api.Wireless{SSID: s.SSID, Signal: s.Signal, Reason: s.Reason}
}

// rejoin lets every wireless interface begin anew, with the networks of the
// configuration that runs.
func (m *machine) rejoin() {
	m.mu.Lock()
	services := m.services
	m.mu.Unlock()
	m.net.mu.Lock()
	names := slices.Clone(m.net.wireless)
	m.net.mu.Unlock()
	for _, s := range services {
		if slices.ContainsFunc(names, func(name string) bool { return s.Status().Name == supplicantService(name) }) {
			s.Restart("the wireless networks changed")
		}
	}
}

// missingRadio says why networks of the configuration cannot be joined at all; ""
// when they can.
func missingRadio(w config.WiFi, wireless int) string {
	if len(w.Networks) == 0 || wireless > 0 {
		return ""
	}
	if _, err := os.Stat(supplicantPath); err != nil {
		return "network.wifi: this system has no Wi-Fi: use one that was built with --wifi"
	}
	return "network.wifi: there is no wireless interface: the machine has no card that the system knows, or no firmware for it (mycelium node logs kernel says which)"
}
