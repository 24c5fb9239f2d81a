// Package supplicant is wpa_supplicant's part of a node: the configuration that it
// is given, and what its control socket says (wpa_ctrl.h of its source).
package supplicant

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/digital-mycelium/os/pkg/config"
)

// Render returns the configuration for wpa_supplicant, whose control sockets are to
// stand in dir. Names and passwords are written in hexadecimal, so that none of
// their bytes means anything to its parser.
func Render(w config.WiFi, dir string) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "ctrl_interface=DIR=%s\n", dir)
	if w.Country != "" {
		fmt.Fprintf(&b, "country=%s\n", w.Country)
	}
	// WPA3's password element in both ways that access points know it
	b.WriteString("sae_pwe=2\n")
	for i, n := range w.Networks {
		lines := []string{"ssid=" + hex.EncodeToString([]byte(n.SSID)), fmt.Sprintf("priority=%d", len(w.Networks)-i)}
		if n.Hidden {
			lines = append(lines, "scan_ssid=1")
		}
		secret, err := security(n)
		if err != nil {
			return nil, err
		}
		// another access point of the network when the signal is weak
		lines = append(append(lines, secret...), `bgscan="simple:30:-70:3600"`)
		fmt.Fprintf(&b, "network={\n\t%s\n}\n", strings.Join(lines, "\n\t"))
	}
	return b.Bytes(), nil
}

// security returns the lines that say how the network is protected.
func security(n config.WiFiNetwork) ([]string, error) {
	password := n.Password.Reveal()
	switch {
	case password == "":
		return []string{"key_mgmt=NONE"}, nil
	case config.IsWiFiKey(n.Password):
		return []string{"key_mgmt=WPA-PSK WPA-PSK-SHA256", "ieee80211w=1", "psk=" + strings.ToLower(password)}, nil
	}
	// IEEE 802.11-2020, annex J.4
	key, err := pbkdf2.Key(sha1.New, password, []byte(n.SSID), 4096, 32)
	if err != nil {
		return nil, fmt.Errorf("make the key of a wireless network: %w", err)
	}
	return []string{
		"key_mgmt=SAE WPA-PSK WPA-PSK-SHA256", "ieee80211w=1",
		"psk=" + hex.EncodeToString(key), "sae_password=" + hex.EncodeToString([]byte(password)),
	}, nil
}
