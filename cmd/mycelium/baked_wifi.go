package main

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/config"
)

// wifiFlags are the wireless network that a machine joins.
type wifiFlags struct {
	ssid, passwordFile, country string
	// password is what was read for it; asked says that it was.
	password config.Secret
	asked    bool
}

func (w *wifiFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&w.ssid, "wifi-ssid", "", "name of the wireless network that the machine joins")
	f.StringVar(&w.passwordFile, "wifi-password-file", "", "file with its password (- is standard input); asked for on the terminal otherwise")
	f.StringVar(&w.country, "wifi-country", "", "where the machine stands, two letters as DE: it decides on channels and power")
}

// given reports whether anything is asked for.
func (w *wifiFlags) given() bool { return w.ssid+w.passwordFile+w.country != "" }

// check says what is wrong with the flags in themselves.
func (w *wifiFlags) check() error {
	switch {
	case !w.given():
		return nil
	case w.ssid == "":
		return errors.New("--wifi-country and --wifi-password-file are of use together with --wifi-ssid NAME alone")
	case w.country == "":
		return errors.New("--wifi-ssid needs --wifi-country too, as DE: radios keep to what is allowed in all of the world otherwise, and may not see the network")
	case !utf8.ValidString(w.ssid):
		return fmt.Errorf("--wifi-ssid %q: it is not text in UTF-8", w.ssid)
	}
	return nil
}

// ask reads the password, once.
func (w *wifiFlags) ask(cmd *cobra.Command) (err error) {
	if w.ssid == "" || w.asked {
		return nil
	}
	var password string
	if w.passwordFile != "" {
		password, err = passphraseFromFile(cmd, w.passwordFile)
	} else {
		password, err = readSecret(cmd, fmt.Sprintf("Password of the wireless network %q (nothing: it is open): ", w.ssid))
	}
	if err != nil {
		return fmt.Errorf("password of the wireless network: %w (--wifi-password-file reads it from a file)", err)
	}
	w.password, w.asked = config.Secret(password), true
	if password != "" && !config.IsWiFiPassword(w.password) {
		return errors.New("that is no password of a wireless network: it has 8 to 63 printable ASCII characters, or is a key of 64 hexadecimal digits")
	}
	return nil
}

// section is the part of a document that says so; c is what it says already, by
// the name of from.
func (w *wifiFlags) section(c *config.Config, from string) (string, error) {
	if w.ssid == "" {
		return "", nil
	}
	if n := c.Network; len(n.Interfaces) > 0 || n.WiFi.Country != "" || len(n.WiFi.Networks) > 0 {
		return "", fmt.Errorf("--wifi-ssid: %s has a section network already: write the wireless network in there", from)
	}
	text := fmt.Sprintf("\nnetwork:\n  wifi:\n    country: %q\n    networks:\n      - ssid: %q\n", w.country, w.ssid)
	if w.password != "" {
		text += fmt.Sprintf("        password: %q\n", w.password.Reveal())
	}
	return text, nil
}
