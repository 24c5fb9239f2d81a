package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/digital-mycelium/os/pkg/networks"
)

// What has expired is renewed where the issuer is, or the way out is named.
func TestNetworkExpiry(t *testing.T) {
	d := newDesk(t)
	id, err := age.ParseX25519Recipient(d.recipient)
	if err != nil {
		t.Fatal(err)
	}
	for name, ago := range map[string]time.Duration{"month": 31 * 24 * time.Hour, "year": 400 * 24 * time.Hour} {
		store := &networks.Store{Dir: d.network(""), Now: func() time.Time { return time.Now().Add(-ago) }}
		if err := store.Create(t.Context(), name, networks.CreateOptions{Root: []age.Recipient{id}, Operator: "ann", Quota: 2}); err != nil {
			t.Fatal(err)
		}
	}
	if _, log := d.run("network revoke 1 --network month"); !strings.Contains(log, "Renewed your certificate") {
		t.Errorf("not renewed: %q", log)
	}
	if v := d.show("month"); v.Certificate.Serial != 2 || time.Until(v.Certificate.NotAfter) < 29*24*time.Hour {
		t.Errorf("renewed: %+v", v.Certificate)
	}
	const way = "mycelium network delegate --network "
	d.refused("", "invite --network month", "used up", way+"month")
	d.refused("", "invite --network year", "expired", way+"year")
	if v := d.show("year"); len(v.Problems) != 2 || !strings.Contains(v.Problems[0], way+"year") {
		t.Errorf("problems %q", v.Problems)
	}
	for _, name := range []string{"month", "year"} {
		d.run("network delegate --network " + name + " --identity " + d.identity)
		d.run("invite --network " + name)
		if v := d.show(name); len(v.Problems) != 0 {
			t.Errorf("%s: problems %q", name, v.Problems)
		}
	}
}

func TestNetworkErrorsSayWhatToDo(t *testing.T) {
	d := newDesk(t)
	d.run("network create home --recipient " + d.recipient)
	open := d.write("open", "phrase\n")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"..", ".", "../x", "a/b", "/tmp/x", ".self", "-", "A", "ä", strings.Repeat("a", 64)} {
		for _, line := range []string{"network create --recipient " + d.recipient + " -- ", "network use -- ", "network show -- ", "network delete --yes -- "} {
			d.refused("", line+name, "lower-case letters")
		}
		t.Setenv("MYCELIUM_NETWORK", name)
		d.refused("", "invite", "lower-case letters")
		t.Setenv("MYCELIUM_NETWORK", "")
	}
	for line, want := range map[string]string{
		"network create x":                                    "no terminal",
		"network create x --recipient nonsense":               "age1…",
		"network create x --passphrase-file " + open:          "set mode 0600",
		"network create x --passphrase-file /no/such":         "no such file",
		"network create x --operator A --generate-passphrase": "lower-case letters",
		"network use nothing":                                 "no such network",
		"network show nothing":                                "mycelium network list",
		"network revoke 99":                                   "the last one is 1",
		"network revoke 1":                                    "your own certificate",
		"network revoke x":                                    "mycpub1",
		"network delegate --identity " + open:                 "others can read it",
		"network rotate --overlap 0s":                         "give the members time",
		"invite --role client":                                "server or agent",
		"invite --uses 0":                                     "want 1 to 1000",
		"invite --valid 1000h":                                "at most",
		"network certificate --role god --name x":             "reader, operator or admin",
		"network certificate --role reader --name x":          "--public-key",
		"network certificate --role reader --name ../x":       "lower-case letters",
		"network import /no/such":                             "no such file",
	} {
		d.refused("", line, want)
	}
	v := d.show("")
	d.refused("", "network revoke "+v.Roots[0].Key.String(), "no member's key")
	d.refused("", "network revoke "+v.Issuers[0].Key.String(), "no member's key")

	// files that are cut short, foreign or open to others
	for _, file := range []string{"trust", "ledger", "clock", "operator.cred", "operator.age", "issuer.age", "local.key"} {
		path := d.network("home", file)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{string(whole[:len(whole)/2]), "", "something else\n"} {
			if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			d.refused("", "network show", path, "restore it from a backup")
			if out, _ := d.run("network list"); !strings.Contains(out, "home: open the network") {
				t.Errorf("the list does not show the damage of %s:\n%s", file, out)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(d.network("home", "local.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.refused("", "network show", "set mode 0600")
	config := filepath.Join(d.dir, "config/mycelium/config.yaml")
	for _, bad := range []string{"curentNetwork: home\n", "currentNetwork: ../x\n", "{"} {
		if err := os.WriteFile(config, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		d.refused("", "network list", config)
	}
}
