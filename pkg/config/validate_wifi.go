package config

import (
	"fmt"
	"regexp"
)

// Lengths of IEEE 802.11: of a network's name in bytes, of a password (annex J.4).
const (
	maxSSID     = 32
	minPassword = 8
	maxPassword = 63
)

var (
	countryPattern = regexp.MustCompile(`^[A-Z]{2}$`)
	pskPattern     = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
)

func (d *decoder) validateWiFi(w WiFi) {
	const path = "network.wifi"
	switch {
	case w.Country != "" && !countryPattern.MatchString(w.Country):
		d.at(path+".country", "two capital letters, like DE", "%q is no country", w.Country)
	case w.Country == "" && len(w.Networks) > 0:
		d.at(path, "add country, like DE: radios keep to what is allowed in all of the world otherwise, and may not see the network", "the country is missing")
	}
	seen := map[string]string{}
	for i, n := range w.Networks {
		at := fmt.Sprintf("%s.networks[%d]", path, i)
		if n.SSID == "" || len(n.SSID) > maxSSID {
			d.at(at+".ssid", "1 to 32 bytes", "%q has %d bytes", n.SSID, len(n.SSID))
		}
		if other, twice := seen[n.SSID]; twice {
			d.at(at+".ssid", "remove one of them", "is that of %s, too", other)
		}
		seen[n.SSID] = at
		if n.Password != "" && n.Password != redacted && !IsWiFiPassword(n.Password) {
			d.at(at+".password", "8 to 63 printable ASCII characters, or 64 hexadecimal digits", "is no password of a wireless network")
		}
	}
}

// IsWiFiPassword reports whether a wireless network can have the password: 8 to 63
// printable ASCII characters, or 64 hexadecimal digits.
func IsWiFiPassword(password Secret) bool {
	s := password.Reveal()
	if IsWiFiKey(password) {
		return true
	}
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(s) >= minPassword && len(s) <= maxPassword
}

// IsWiFiKey reports whether the password is a key itself: 64 hexadecimal digits.
func IsWiFiKey(password Secret) bool { return pskPattern.MatchString(password.Reveal()) }
