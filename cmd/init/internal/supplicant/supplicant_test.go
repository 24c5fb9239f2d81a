package supplicant

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/config"
)

// TestRender checks names and passwords that wpa_supplicant's parser would trip over.
// The keys are the test vectors of IEEE 802.11, annex J.4.
func TestRender(t *testing.T) {
	w := config.WiFi{Country: "DE", Networks: []config.WiFiNetwork{
		{SSID: "IEEE", Password: "password"},
		{SSID: "ThisIsASSID", Password: "ThisIsAPassword", Hidden: true},
		{SSID: "a\"\n}\nnetwork={\n#\x00", Password: `"#; \ 'x`},
		{SSID: "open"},
		{SSID: "key", Password: config.Secret(strings.Repeat("0aF9", 16))},
	}}
	b, err := Render(w, "/run/wpa")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, want := range []string{
		"ctrl_interface=DIR=/run/wpa\n", "country=DE\n",
		"ssid=49454545\n\tpriority=5\n", "psk=f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e\n", "sae_password=70617373776f7264\n",
		"psk=0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af\n", "scan_ssid=1\n",
		"ssid=" + hex.EncodeToString([]byte(w.Networks[2].SSID)) + "\n", "sae_password=" + hex.EncodeToString([]byte(w.Networks[2].Password.Reveal())) + "\n",
		"ssid=6f70656e\n\tpriority=2\n\tkey_mgmt=NONE\n", "key_mgmt=WPA-PSK WPA-PSK-SHA256\n\tieee80211w=1\n\tpsk=" + strings.Repeat("0af9", 16) + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "network={"); n != len(w.Networks) {
		t.Errorf("%d networks", n)
	}
	plain(t, text)
}

// plain fails if a line has anything that a parser could take for something else.
func plain(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		name, value, _ := strings.Cut(line, "=")
		switch name {
		case "ssid", "psk", "sae_password":
			if _, err := hex.DecodeString(value); err != nil {
				t.Errorf("line %q is not hexadecimal", line)
			}
		case "ctrl_interface", "country", "sae_pwe", "network", "}", "priority", "scan_ssid", "key_mgmt", "ieee80211w", "bgscan":
		default:
			t.Errorf("line %q", line)
		}
	}
}

func FuzzRender(f *testing.F) {
	f.Add("home", "correct horse", false)
	f.Add("\"}\nnetwork={", "#\"';\\ 12", true)
	f.Add("\x00\xff", "ßßßßßßßß", false)
	f.Fuzz(func(t *testing.T, ssid, password string, hidden bool) {
		b, err := Render(config.WiFi{Country: "DE", Networks: []config.WiFiNetwork{{SSID: ssid, Password: config.Secret(password), Hidden: hidden}}}, "/run/wpa")
		if err != nil {
			t.Fatal(err)
		}
		plain(t, string(b))
	})
}

func TestName(t *testing.T) {
	for text, want := range map[string]string{
		`home`:                         "home",
		`K\xc3\xa4the`:                 "Käthe",
		`a\"b\\c`:                      `a"b\c`,
		`a\nb`:                         `a\nb`,
		`\xff\xfe`:                     `\xff\xfe`,
		`\x1b[31m`:                     `\x1b[31m`,
		`\x`:                           `\x`,
		`\xc`:                          `\xc`,
		`a\`:                           `a\`,
		`\xe2\x80\xae`:                 `\xe2\x80\xae`, // right-to-left override
		strings.Repeat(`\xc3\xa4`, 16): strings.Repeat("ä", 16),
	} {
		if got := Name(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestSignal(t *testing.T) {
	if n, ok := Signal("RSSI=-52\nLINKSPEED=54\nNOISE=9999\n"); !ok || n != -52 {
		t.Errorf("%d, %v", n, ok)
	}
	for _, bad := range []string{"", "FAIL\n", "RSSI=0\n", "RSSI=x", "RSSI=-9999"} {
		if _, ok := Signal(bad); ok {
			t.Errorf("%q is a signal", bad)
		}
	}
}

// TestState walks through what a person may meet: each step is an event or, without
// "CTRL", a wpa_state.
func TestState(t *testing.T) {
	const wrong = `<3>CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid="ho\"me" auth_failures=1 duration=10 reason=WRONG_KEY`
	for _, tt := range []struct {
		name      string
		steps     []string
		connected bool
		reason    string
	}{
		{"begin", []string{"SCANNING"}, false, "looking for its networks"},
		{"found", []string{"SCANNING", "ASSOCIATING"}, false, "connecting"},
		{"connected", []string{"SCANNING", "ASSOCIATING", "<3>CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:01:00 completed [id=0 id_str=]", "COMPLETED"}, true, ""},
		{"not there", []string{"SCANNING", "<3>CTRL-EVENT-NETWORK-NOT-FOUND ", "SCANNING"}, false, "none of its networks is in reach"},
		{"wrong password", []string{"SCANNING", "4WAY_HANDSHAKE", wrong, "SCANNING", "<3>CTRL-EVENT-NETWORK-NOT-FOUND", "SCANNING", "ASSOCIATING", "4WAY_HANDSHAKE"}, false, `the password of "ho\"me" is wrong`},
		{"wrong password of WPA3", []string{"AUTHENTICATING", "<3>CTRL-EVENT-AUTH-REJECT 02:00:00:00:01:00 auth_type=3 auth_transaction=2 status_code=15"}, false, "the password of the network is wrong"},
		{"other refusals", []string{"AUTHENTICATING", "<3>CTRL-EVENT-AUTH-REJECT 02:00:00:00:01:00 auth_type=0 auth_transaction=2 status_code=1"}, false, "connecting"},
		{"right at last", []string{wrong, "COMPLETED"}, true, ""},
		{"does not answer", []string{`CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid="a" auth_failures=1 duration=10 reason=CONN_FAILED`, "SCANNING"}, false, `the access point of "a" does not answer`},
		{"refused", []string{`CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid="a" auth_failures=1 duration=10 reason=AUTH_FAILED`, "ASSOCIATING"}, false, `the access point of "a" refuses the connection`},
		{"lost", []string{"COMPLETED", "<3>CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=4 locally_generated=1"}, false, "the connection was lost"},
		{"switched off", []string{"COMPLETED", "INTERFACE_DISABLED"}, false, "is switched off: use the machine's switch or key for Wi-Fi"},
		{"switched on", []string{"INTERFACE_DISABLED", "SCANNING"}, false, "looking for its networks"},
		{"no scan", []string{"SCANNING", "<3>CTRL-EVENT-SCAN-FAILED ret=-22 retry=1"}, false, "cannot look for networks (ret=-22 retry=1)"},
		{"unknown", []string{"COMPLETED", "<3>CTRL-EVENT-BSS-ADDED 1 02:00", "<>", "<3", ""}, true, ""},
	} {
		var s State
		for _, step := range tt.steps {
			if strings.Contains(step, "CTRL") || strings.HasPrefix(step, "<") {
				s = s.Event(step)
			} else {
				s = s.Status("wpa_state=" + step + "\nssid=ho\\\"me\n")
			}
		}
		if s.Connected != tt.connected || s.Reason != tt.reason || s.Connected && s.SSID != `ho"me` {
			t.Errorf("%s: %+v", tt.name, s)
		}
	}
}

func FuzzReplies(f *testing.F) {
	f.Add("wpa_state=COMPLETED\nssid=\\xc3\\xa4\n", `<3>CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid="a" auth_failures=1 duration=10 reason=WRONG_KEY`)
	f.Add("RSSI=-1", `CTRL-EVENT-SSID-TEMP-DISABLED ssid="`)
	f.Fuzz(func(t *testing.T, reply, event string) {
		s := State{}.Status(reply).Event(event).Status(reply)
		if s.Connected && s.Reason != "" || !s.Connected && s.SSID != "" {
			t.Errorf("%+v", s)
		}
		Signal(reply)
	})
}
