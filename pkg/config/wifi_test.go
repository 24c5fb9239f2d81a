package config

import (
	"strings"
	"testing"
)

func TestWiFi(t *testing.T) {
	doc := func(wifi string) []byte { return []byte(head + "network: {wifi: " + wifi + "}\n") }
	for _, good := range []string{
		"{}",
		"{country: DE}",
		"{country: DE, networks: [{ssid: home, password: 'correct horse'}]}",
		"{country: DE, networks: [{ssid: home}, {ssid: ' home', hidden: true}]}",
		`{country: "NO", networks: [{ssid: "\"a\\\n\x00", password: "\"';#$ \\~"}]}`,
		"{country: DE, networks: [{ssid: ääääääääääääääää, password: '12345678'}]}",
		"{country: DE, networks: [{ssid: home, password: " + strings.Repeat("a", 63) + "}]}",
		"{country: DE, networks: [{ssid: home, password: '" + strings.Repeat("0aF9", 16) + "'}]}",
	} {
		if _, err := Parse(doc(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"{country: de}": "two capital letters",
		"{country: 49}": "must be text",
		"{networks: [{ssid: home, password: '12345678'}]}":                                        "country is missing",
		"{country: DE, networks: [{password: '12345678'}]}":                                       "1 to 32 bytes",
		"{country: DE, networks: [{ssid: äääääääääääääääää}]}":                                    "34 bytes",
		"{country: DE, networks: [{ssid: a}, {ssid: b}, {ssid: a}]}":                              "is that of network.wifi.networks[0], too",
		"{country: DE, networks: [{ssid: a, password: kanari7}]}":                                 "networks[0].password",
		"{country: DE, networks: [{ssid: a, password: kanariä-kanari}]}":                          "networks[0].password",
		`{country: DE, networks: [{ssid: a, password: "kanari\nkanari"}]}`:                        "networks[0].password",
		"{country: DE, networks: [{ssid: a, password: '" + strings.Repeat("kanari-+", 8) + "'}]}": "networks[0].password",
		"{country: DE, networks: [{ssid: a, passwort: x}]}":                                       "did you mean password?",
	} {
		_, err := Parse(doc(bad))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", bad, err, want)
		} else if strings.Contains(err.Error(), "kanari") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}
