package config

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
)

const head = "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\n"

// testInvite founds a network and returns its id and an invite into it.
func testInvite(t testing.TB) (identity.NetworkID, identity.Token) {
	t.Helper()
	dir, now := t.TempDir(), time.Now()
	root, key := identity.GenerateKey(), identity.GenerateKey()
	network := identity.NetworkOf(root.Public())
	delegation, err := identity.Sign(root, identity.Delegation{
		Network: network, Root: root.Public(), Issuer: key.Public(), Caps: identity.Caps{Node: identity.Server},
		MaxValidity: time.Hour, FirstSerial: 1, Count: 10, NotBefore: now, NotAfter: now.Add(time.Hour),
	})
	var clock *identity.Clock
	if err == nil {
		clock, err = identity.OpenClock(filepath.Join(dir, "clock"), now, nil)
	}
	var verifier *identity.Verifier
	if err == nil {
		verifier, err = identity.CreateVerifier(filepath.Join(dir, "trust"), network, identity.NetworkID{}, clock)
	}
	var issuer *identity.Issuer
	if err == nil {
		issuer, err = identity.CreateIssuer(filepath.Join(dir, "ledger"), key, delegation, verifier)
	}
	var token identity.Token
	if err == nil {
		token, err = issuer.Invite(identity.Caps{Node: identity.Agent}, 1, time.Hour)
	}
	if err != nil {
		t.Fatal(err)
	}
	return network, token
}

// full returns a Config with every field set.
func full(t testing.TB) *Config {
	network, invite := testInvite(t)
	yes, no := true, false
	return &Config{
		APIVersion: APIVersion, Kind: Kind, Hostname: "kitchen",
		Network: Network{Interfaces: []Interface{
			{Name: "eth0", DHCP: &yes, Addresses: []string{"192.168.1.10/24", "fd00::1/64"}, Gateway: "192.168.1.1", Nameservers: []string{"192.168.1.1"}},
			{MAC: "52:54:00:12:34:56", Ignore: true},
		}, WiFi: WiFi{Country: "DE", Networks: []WiFiNetwork{{SSID: "home \"1\"", Password: "correct horse"}, {SSID: "guests", Hidden: true}}}},
		Time:       Time{Servers: []string{"ntp.example.org", "10.0.0.1:1123"}},
		Membership: Membership{Network: network.String(), Invite: Secret(invite.Reveal()), Peers: []string{"192.168.1.20", "node.example.org:6441"}},
		Kubernetes: Kubernetes{Labels: map[string]string{"example.org/room": "kitchen", "count": "3"}},
		Update: Update{
			Server: "https://releases.example.org/os", Root: "sha256:" + strings.Repeat("0a", 32), Channel: "beta", Automatic: true,
			Window: Window{Days: []string{"sat", "sun"}, From: "23:00", To: "05:00"}, Interval: "1h", Trial: "5m",
			Developers: []string{identity.GenerateKey().Public().String()},
			Checks:     []Check{{Name: "shop", HTTP: "http://127.0.0.1:30080/healthz"}, {Name: "database", TCP: "192.168.1.5:5432"}},
		},
		Console: Console{Dashboard: &no},
		Install: Install{Live: true, Disk: "serial:S3Z9", Wipe: true, After: AfterPowerOff},
	}
}

func TestRoundTrip(t *testing.T) {
	for name, c := range map[string]*Config{"default": Default(), "full": full(t)} {
		doc, err := c.Document()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(doc)
		if err != nil {
			t.Fatalf("%s: %v in\n%s", name, err, doc)
		}
		if !reflect.DeepEqual(got, c) {
			t.Errorf("%s: got %#v, want %#v", name, got, c)
		}
	}
}

// badDocument is a document that Parse refuses with an error that holds want.
type badDocument struct{ name, doc, want string }

func badDocuments(t testing.TB) []badDocument {
	t.Helper()
	network, invite := testInvite(t)
	stranger, _ := testInvite(t)
	mistyped := []byte(invite.Reveal())
	mistyped[len(mistyped)/2] ^= 1
	return []badDocument{
		{"empty", "", "the document is empty"},
		{"only a comment", "# nothing\n", "the document is empty"},
		{"syntax", head + "hostname: [a\n", "near line 2"},
		{"tab", head + "time:\n\tservers: []\n", "line 4"},
		{"two documents", head + "---\n" + head, "more than one YAML document"},
		{"a list", "- a\n", "line 1, column 1: must be a mapping, not a list"},
		{"no version", "kind: NodeConfig\n", "apiVersion: is \"\" (write apiVersion: mycelium.os/v1alpha1)"},
		{"other version", "apiVersion: v2\nkind: NodeConfig\n", "line 1, column 13: apiVersion: is \"v2\""},
		{"other kind", "apiVersion: mycelium.os/v1alpha1\nkind: Pod\n", "line 2, column 7: kind: is \"Pod\""},
		{"unknown near", head + "hostnme: a\n", "line 3, column 1: hostnme: unknown field (did you mean hostname?)"},
		{"unknown far", head + "zzz: a\n", "zzz: unknown field (known here: apiVersion, kind, hostname"},
		{"unknown deep", head + "network:\n  interfaces:\n    - name: eth0\n      gatway: 10.0.0.1\n", "line 6, column 7: network.interfaces[0].gatway: unknown field (did you mean gateway?)"},
		{"case", head + "Hostname: a\n", "did you mean hostname?"},
		{"twice", head + "hostname: a\nhostname: b\n", "line 4, column 1: hostname: stands twice, first on line 3"},
		{"anchor", head + "hostname: &a b\n", "anchors and aliases are not allowed"},
		{"merge", head + "<<: {hostname: a}\n", "keys must be plain words"},
		{"number as text", head + "hostname: 12\n", "line 3, column 11: hostname: must be text, not a number (write \"12\" in quotes)"},
		{"text as list", head + "time:\n  servers: a\n", "line 4, column 12: time.servers: must be a list, not text"},
		{"text as bool", head + "console:\n  dashboard: maybe\n", "console.dashboard: must be true or false"},
		{"list as text", head + "hostname: [a]\n", "hostname: must be a single value, not a list"},
		{"disk", head + "install: {disk: /dev/sda}\n", "install.disk: \"/dev/sda\" is no disk (auto, a name like sda, serial:"},
		{"disk by a rule", head + "install: {disk: \"size:big\"}\n", "install.disk: \"size:big\" is no disk"},
		{"after", head + "install: {disk: auto, after: eject}\n", "install.after: \"eject\" is nothing to do (reboot, poweroff or stay)"},
		{"wipe without a disk", head + "install: {live: true, wipe: true}\n", "install.wipe: there is no disk to wipe"},
		{"after without a disk", head + "install: {after: stay}\n", "install.after: there is nothing that it comes after"},
		{"bad host name", head + "hostname: Kitchen_1\n", "hostname: \"Kitchen_1\" is no host name"},
		{"nameless interface", head + "network:\n  interfaces:\n    - dhcp: true\n", "line 5, column 7: network.interfaces[0]: the interface is not named"},
		{"name and mac", head + "network:\n  interfaces:\n    - {name: eth0, mac: '52:54:00:12:34:56'}\n", "the interface is not named"},
		{"bad mac", head + "network:\n  interfaces:\n    - mac: '52:54'\n", "is no hardware address"},
		{"bad name", head + "network:\n  interfaces:\n    - name: lo\n", "is no name of a network interface"},
		{"same interface", head + "network:\n  interfaces:\n    - name: eth0\n    - name: eth0\n", "names the same interface as network.interfaces[0]"},
		{"ignored with address", head + "network:\n  interfaces:\n    - name: eth0\n      ignore: true\n      addresses: [10.0.0.1/8]\n", "an ignored interface has no addresses"},
		{"no prefix", head + "network:\n  interfaces:\n    - name: eth0\n      addresses: [10.0.0.1]\n", "line 6, column 19: network.interfaces[0].addresses[0]"},
		{"multicast", head + "network:\n  interfaces:\n    - name: eth0\n      addresses: [224.0.0.1/8]\n", "is no address with prefix length"},
		{"gateway elsewhere", head + "network:\n  interfaces:\n    - name: eth0\n      addresses: [10.0.0.1/24]\n      gateway: 10.0.1.1\n", "10.0.1.1 cannot be reached"},
		{"bad gateway", head + "network:\n  interfaces:\n    - name: eth0\n      gateway: router\n", "\"router\" is no address"},
		{"bad nameserver", head + "network:\n  interfaces:\n    - name: eth0\n      nameservers: [dns.example]\n", "write an address, not a name"},
		{"bad time server", head + "time:\n  servers: ['a b', 'x:0', 'y:70000']\n", "time.servers[2]"},
		{"bad network", head + "membership:\n  network: myc1-home\n", "line 4, column 12: membership.network: network id \"myc1-home\""},
		{"mistyped network", head + "membership:\n  network: " + network.String()[1:] + "\n", "copy it from: mycelium network list"},
		{"bad invite", head + "membership:\n  invite: please\n", "line 4, column 11: membership.invite: is no invite"},
		{"mistyped invite", head + "membership:\n  invite: " + string(mistyped) + "\n", "membership.invite: is no invite"},
		{"half an invite", head + "membership:\n  invite: " + string(mistyped[:100]) + "\n", "membership.invite: is no invite"},
		{"another network's invite", head + "membership:\n  network: " + stranger.String() + "\n  invite: " + invite.Reveal() + "\n", "membership.invite: is of the network " + network.String()},
		{"bad peer", head + "membership:\n  peers: [10.0.0.1, 'http://10.0.0.1/']\n", "membership.peers[1]: \"http://10.0.0.1/\" is neither"},
		{"bad label", head + "kubernetes:\n  labels: {'a/b/c': x}\n", "is no Kubernetes label"},
		{"label type", head + "kubernetes:\n  labels: {a: 3}\n", "kubernetes.labels.a: must be text, not a number"},
		{"server without root", head + "update:\n  server: http://10.0.0.1/os\n", "update: update.server and update.root belong together (give both, or none)"},
		{"bad server", head + "update:\n  server: ftp://10.0.0.1/os\n  root: sha256:" + strings.Repeat("a", 64) + "\n", "line 4, column 11: update.server: "},
		{"bad root", head + "update:\n  server: http://10.0.0.1/os\n  root: sha256:" + strings.Repeat("A", 64) + "\n", "line 5, column 9: update.root: "},
		{"automatic from nowhere", head + "update: {automatic: true}\n", "update.automatic: there is nowhere to update from"},
		{"bad channel", head + "update: {channel: Stable}\n", "update.channel: "},
		{"short interval", head + "update: {interval: 59s}\n", "update.interval: \"59s\" is no such duration (from 1m0s to 720h0m0s"},
		{"long trial", head + "update: {trial: 3h}\n", "update.trial: "},
		{"bad day", head + "update: {window: {days: [monday]}}\n", "update.window.days[0]: \"monday\" is no day"},
		{"half a window", head + "update: {window: {from: '02:00'}}\n", "update.window: from and to belong together"},
		{"bad time", head + "update: {window: {from: '2:00', to: '25:00'}}\n", "update.window.from: \"2:00\" is no time of the day"},
		{"empty window", head + "update: {window: {from: '02:00', to: '02:00'}}\n", "update.window.to: the window ends when it begins"},
		{"bad developer", head + "update: {developers: [ann]}\n", "update.developers[0]: "},
		{"a check of nothing", head + "update: {checks: [{name: x}]}\n", "update.checks[0]: the check asks nothing, or two things"},
		{"a check without a name", head + "update: {checks: [{tcp: '10.0.0.1:1'}]}\n", "update.checks[0].name: "},
		{"two checks of a name", head + "update: {checks: [{name: x, tcp: '10.0.0.1:1'}, {name: x, tcp: '10.0.0.1:2'}]}\n", "update.checks[1].name: "},
		{"bad check", head + "update: {checks: [{name: x, tcp: '10.0.0.1'}, {name: y, http: 'http://u:p@h/'}]}\n", "update.checks[0].tcp: "},
		{"the section api of old", head + "api:\n  key: mycinvite1\n", "line 3, column 1: api: unknown field (remove it: a node gets its certificate when it is enrolled, by membership.invite or by mycelium node enrol)"},
		{"api elsewhere", head + "membership:\n  api: {}\n", "line 4, column 3: membership.api: unknown field (known here: network, invite, peers)"},
		{"secret type", head + "membership:\n  invite: 4711\n", "membership.invite: must be text, not a number (write it in quotes)"},
		{"tag bool", head + "console:\n  dashboard: !!bool maybe\n", "console.dashboard: must be true or false"},
		{"own tag", head + "hostname: !mine a\n", "hostname: must be text, not a value with a tag"},
		{"too large", strings.Repeat("#", MaxSize+1), "are too many"},
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range badDocuments(t) {
		c, err := Parse([]byte(tt.doc))
		if err == nil {
			t.Errorf("%s: no error, got %+v", tt.name, c)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %q, want it to hold %q", tt.name, err, tt.want)
		}
		if strings.Contains(err.Error(), "mycinvite1") {
			t.Errorf("%s: the error shows the invite: %v", tt.name, err)
		}
		if !errors.As(err, new(Errors)) {
			t.Errorf("%s: error of type %T", tt.name, err)
		}
	}
}

// TestParseWindows: what Windows' editors write is right, too.
func TestParseWindows(t *testing.T) {
	c, err := Parse([]byte("\ufeff" + strings.ReplaceAll(head+"hostname: kitchen\n", "\n", "\r\n")))
	if err != nil || c.Hostname != "kitchen" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestParseReportsAll(t *testing.T) {
	_, err := Parse([]byte(head + "foo: 1\nbar: 2\n"))
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != 2 {
		t.Fatalf("got %v, want two errors", err)
	}
}

func TestUseDHCP(t *testing.T) {
	yes, no := true, false
	tests := []struct {
		rule Interface
		want bool
	}{
		{Interface{}, true},
		{Interface{DHCP: &no}, false},
		{Interface{Addresses: []string{"10.0.0.1/8"}}, false},
		{Interface{Addresses: []string{"10.0.0.1/8"}, DHCP: &yes}, true},
		{Interface{Ignore: true}, false},
	}
	for _, tt := range tests {
		if got := tt.rule.UseDHCP(); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.rule, got, tt.want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"hostname", "network", "time"}
	for word, want := range map[string]string{"hostnam": "hostname", "netork": "network", "times": "time", "TIME": "time", "xylophone": "", "": ""} {
		if got := nearest(word, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	doc, err := full(f).Document()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(doc)
	f.Add([]byte(head))
	f.Add([]byte(head + "network: {interfaces: [{name: eth0, addresses: [10.0.0.1/8]}]}"))
	f.Add([]byte(head + "hostname: &a\nkubernetes: {labels: {a: *a}}"))
	current := full(f)
	shown, err := current.DisplayDocument()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(shown)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		updated, updateErr := ParseUpdate(b, current)
		if err == nil && (updateErr != nil || !reflect.DeepEqual(updated, c)) {
			t.Fatalf("a document without (secret) is another one as an update: %v", updateErr)
		}
		if c, err = updated, updateErr; err != nil {
			return
		}
		again, err := c.Document()
		if err != nil {
			t.Fatal(err)
		}
		c2, err := Parse(again)
		if err != nil {
			t.Fatalf("own document is refused: %v\n%s", err, again)
		}
		if d, _ := c2.Document(); string(d) != string(again) {
			t.Fatalf("not stable:\n%s\n%s", again, d)
		}
	})
}

func TestInstall(t *testing.T) {
	for doc, live := range map[string]bool{"": false, "install: {}\n": false, "install: {live: true}\n": true, "install: {disk: auto}\n": true} {
		c, err := Parse([]byte(head + doc))
		if err != nil || c.Install.IsLive() != live {
			t.Errorf("%q: live %v, %v", doc, c != nil && c.Install.IsLive(), err)
		}
	}
	for disk, want := range map[string]bool{
		"auto": true, "sda": true, "nvme0n1": true, "mmcblk0": true, "serial:S3Z9NB0K": true, "model:Samsung SSD 980": true, "size:largest": true,
		"": false, "/dev/sda": false, "sda;": false, "serial:": false, "size:": false, "uuid:1": false, "Sda": false,
	} {
		if ValidDisk(disk) != want {
			t.Errorf("disk %q: %v, want %v", disk, !want, want)
		}
	}
}
