package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestParseUpdate: what is shown can be edited and applied to the configuration
// that it shows.
func TestParseUpdate(t *testing.T) {
	current := full(t)
	shown, err := current.DisplayDocument()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseUpdate(shown, current)
	if err != nil || !reflect.DeepEqual(got, current) {
		t.Errorf("%v; got %#v of\n%s", err, got, shown)
	}
	edited := strings.Replace(string(shown), "hostname: kitchen", "hostname: cellar", 1)
	if got, err = ParseUpdate([]byte(edited), current); err != nil || got.Hostname != "cellar" || got.Membership.Invite != current.Membership.Invite {
		t.Errorf("edited: %v", err)
	}
	if current.Hostname != "kitchen" {
		t.Error("what is replaced was changed")
	}
	_, invite := testInvite(t)
	replaced := head + "membership: {invite: " + invite.Reveal() + "}\n"
	for _, c := range []*Config{current, Default(), nil} {
		if got, err := ParseUpdate([]byte(replaced), c); err != nil || got.Membership.Invite.Reveal() != invite.Reveal() {
			t.Errorf("a new secret: %v", err)
		}
		if got, err := ParseUpdate([]byte(head), c); err != nil || got.Membership.Invite != "" {
			t.Errorf("a secret that is left out: %v", err)
		}
		if _, err := ParseUpdate([]byte(head+"hostnam: x\n"), c); err == nil {
			t.Error("a wrong document is taken")
		}
	}
}

// TestParseUpdateOfUnknown: without what is replaced, all but the secrets is checked.
func TestParseUpdateOfUnknown(t *testing.T) {
	current := full(t)
	shown, err := current.DisplayDocument()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseUpdate(shown, nil)
	if err != nil || got.Hostname != "kitchen" || got.Membership.Invite.Reveal() != redacted {
		t.Errorf("%v, %v", got, err)
	}
	for doc, want := range map[string]string{
		"membership: {invite: (secret), network: y}\n":                        "membership.network",
		"hostname: (secret)\n":                                                "is no host name",
		"membership: {invite: ((secret))}\n":                                  "is no invite",
		"membership: {invite: (secret), peers: [a b]}\n":                      "membership.peers[0]",
		"membership: {invite: ' (secret)'}\n":                                 "is no invite",
		"membership: {invite: (secret)}\nkubernetes: {labels: {a: (secret)}}": "is no Kubernetes label",
	} {
		if _, err := ParseUpdate([]byte(head+doc), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", doc, err, want)
		}
	}
}

// TestParseUpdateRefuses: a secret that is not there, and one that does not fit
// what is new. No error shows one.
func TestParseUpdateRefuses(t *testing.T) {
	current := full(t)
	other, _ := testInvite(t)
	for _, tc := range []struct {
		current      *Config
		doc, field   string
		line, column int
	}{
		{Default(), "membership:\n  invite: (secret)\n", "membership.invite", 4, 11},
		{Default(), "membership:\n  invite: \"(secret)\"\n", "membership.invite", 4, 11},
		{current, fmt.Sprintf("membership: {network: %s, invite: (secret)}\n", other), "membership.invite", 3, 77},
	} {
		_, err := ParseUpdate([]byte(head+tc.doc), tc.current)
		var list Errors
		if !errors.As(err, &list) || len(list) != 1 || list[0].Field != tc.field || list[0].Line != tc.line || list[0].Column != tc.column {
			t.Errorf("%s: error %v", tc.doc, err)
			continue
		}
		if strings.Contains(err.Error(), current.Membership.Invite.Reveal()) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

// TestParseUpdateOfLists: a password stays with its network when the list is put in
// another order, and goes to no other.
func TestParseUpdateOfLists(t *testing.T) {
	current := Default()
	current.Network.WiFi = WiFi{Country: "DE", Networks: []WiFiNetwork{{SSID: "home [0]", Password: "first secret"}, {SSID: "a.b", Password: "second secret"}}}
	got, err := ParseUpdate([]byte(head+"network: {wifi: {country: DE, networks: [{password: (secret), ssid: a.b}, {ssid: 'home [0]', password: (secret)}]}}\n"), current)
	if err != nil || got.Network.WiFi.Networks[0].Password != "second secret" || got.Network.WiFi.Networks[1].Password != "first secret" {
		t.Errorf("%v", err)
	}
	for _, doc := range []string{"{ssid: other, password: (secret)}", "{password: (secret)}"} {
		if _, err := ParseUpdate([]byte(head+"network: {wifi: {country: DE, networks: ["+doc+"]}}\n"), current); err == nil || !strings.Contains(err.Error(), "in place of a secret") {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

// TestSecretsOfLists: items of maps, and of lists whose items nothing names, have no
// place of their own, so none is kept there by mistake.
func TestSecretsOfLists(t *testing.T) {
	type inner struct {
		Key Secret `yaml:"key"`
	}
	v := struct {
		A    inner             `yaml:"a"`
		B    *inner            `yaml:"b"`
		None *inner            `yaml:"none"`
		List []inner           `yaml:"list"`
		Map  map[string]Secret `yaml:"map"`
	}{A: inner{"1"}, B: &inner{"2"}, List: []inner{{"3"}}, Map: map[string]Secret{"x": "4"}}
	found := map[string]Secret{}
	secretsOf(reflect.ValueOf(v), "", found)
	if len(found) != 2 || found["a.key"] != "1" || found["b.key"] != "2" {
		t.Errorf("%d found", len(found))
	}
}
