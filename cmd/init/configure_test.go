package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/source"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
)

const documentHead = "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\n"

// documentMachine is a machine that was given a file, and where what the API sets is kept.
func documentMachine(t *testing.T, document string) (m *machine, path string) {
	t.Helper()
	m = newMachine("test", time.Unix(1, 0))
	m.sources = []source.Candidate{found("file", "file", []byte(document), nil)}
	m.choice = source.Choose(m.sources, nil)
	m.conf.Store(m.choice.Config)
	return m, filepath.Join(t.TempDir(), "config.json")
}

// TestSetConfig: what can change at once does, the rest waits and is said, and
// the next boot finds the document.
func TestSetConfig(t *testing.T) {
	m, path := documentMachine(t, documentHead+"hostname: old\n")
	changes, err := m.setConfig(t.Context(), path, []byte(documentHead+"hostname: new\ntime: {servers: [ntp.example.org]}\nconsole: {dashboard: false}\n"), false)
	if err != nil || !config.NeedsReboot(changes) || len(changes) != 3 {
		t.Errorf("changes %+v, %v", changes, err)
	}
	c := m.config()
	if c.Hostname != "old" || !slices.Equal(c.Time.Servers, []string{"ntp.example.org"}) || c.Console.ShowDashboard() {
		t.Errorf("runs with %+v", c)
	}
	s, _ := m.board.Get()
	if s.Configuration != source.SetName || !slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "reboot") && strings.Contains(p, "hostname") }) {
		t.Errorf("status: %q, %q", s.Configuration, s.Problems)
	}
	if doc, _, err := m.configuration(); err != nil || !strings.Contains(string(doc), "hostname: new\n") {
		t.Errorf("who reads, edits and sets would lose what waits: %v\n%s", err, doc)
	}
	set, err := readSet(path)
	if err != nil {
		t.Fatal(err)
	}
	if choice := source.Choose(m.sources, set); choice.Name != source.SetName || choice.Config.Hostname != "new" {
		t.Errorf("the next boot chooses %+v", choice)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if changes, err := m.setConfig(t.Context(), path, []byte(documentHead+"hostname: old\n"), false); err != nil || config.NeedsReboot(changes) {
		t.Fatalf("back again: %+v, %v", changes, err)
	}
	if s, _ := m.board.Get(); len(s.Problems) != 0 {
		t.Errorf("problems stay: %q", s.Problems)
	}
}

// TestSetConfigChangesNothing: a dry run, a wrong document, a caller who has
// gone and a full disk leave the node as it was.
func TestSetConfigChangesNothing(t *testing.T) {
	m, path := documentMachine(t, documentHead+"hostname: old\n")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	right := documentHead + "time: {servers: [ntp.example.org]}\n"
	tests := []struct {
		name     string
		ctx      context.Context
		path     string
		document string
		dryRun   bool
		changes  []config.Change
		err      string
	}{
		{"a dry run", t.Context(), path, right, true, []config.Change{{Field: "hostname", Reboot: true}, {Field: "time.servers"}}, ""},
		{"a wrong document", t.Context(), path, documentHead + "hostnam: new\n", false, nil, "line 3"},
		{"a dry run of a wrong document", t.Context(), path, documentHead + "hostnam: new\n", true, nil, "line 3"},
		{"nobody waits for the answer", gone, path, right, false, nil, "canceled"},
		{"it cannot be kept", t.Context(), filepath.Join(path, "below", "a", "file"), right, false, nil, "nothing was changed"},
	}
	for _, tt := range tests {
		changes, err := m.setConfig(tt.ctx, tt.path, []byte(tt.document), tt.dryRun)
		if !slices.Equal(changes, tt.changes) || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %+v, %v", tt.name, changes, err)
		}
		if wrong := strings.Contains(tt.err, "line"); errors.As(err, new(config.Errors)) != wrong {
			t.Errorf("%s: error of type %T", tt.name, err)
		}
		s, _ := m.board.Get()
		if c := m.config(); c.Hostname != "old" || len(c.Time.Servers) != 0 || s.Configuration != "" || len(s.Problems) != 0 {
			t.Errorf("%s: runs with %+v, says %q and %q", tt.name, c, s.Configuration, s.Problems)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: kept", tt.name)
		}
	}
}

// TestSetConfigKeepsSecrets: who reads, edits and sets keeps the secrets that the
// node does not show, also those that wait for a reboot.
func TestSetConfigKeepsSecrets(t *testing.T) {
	invite := testInvite(t)
	given, err := (&config.Config{APIVersion: config.APIVersion, Kind: config.Kind, Membership: config.Membership{Invite: config.Secret(invite)}}).Document()
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]func() (*machine, string){
		"given": func() (*machine, string) { return documentMachine(t, string(given)) },
		"waiting": func() (*machine, string) {
			m, path := documentMachine(t, documentHead)
			if _, err := m.setConfig(t.Context(), path, given, false); err != nil {
				t.Fatal(err)
			}
			return m, path
		},
	} {
		m, path := m()
		shown, _, err := m.configuration()
		if err != nil || strings.Contains(string(shown), invite) || !strings.Contains(string(shown), "invite: (secret)") {
			t.Fatalf("%s: %v; it shows %s", name, err, shown)
		}
		edited := append(shown, "time: {servers: [ntp.example.org]}\n"...)
		want := config.Compare(m.config(), m.choice.Config)
		for _, dryRun := range []bool{true, false} {
			changes, err := m.setConfig(t.Context(), path, edited, dryRun)
			changes = slices.DeleteFunc(changes, func(c config.Change) bool { return c.Field == "time.servers" })
			if err != nil || !slices.Equal(changes, want) {
				t.Errorf("%s, dry run %v: changes %+v, %v; want %+v besides", name, dryRun, changes, err, want)
			}
		}
		set, err := readSet(path)
		if err != nil {
			t.Fatal(err)
		}
		next := source.Choose(m.sources, set)
		if next.Err != nil || next.Config.Membership.Invite.Reveal() != invite || !slices.Equal(next.Config.Time.Servers, []string{"ntp.example.org"}) {
			t.Errorf("%s: the next boot chooses %+v", name, next)
		}
		if m.choice.Config.Membership.Invite.Reveal() != invite {
			t.Errorf("%s: the node has lost its secret", name)
		}
	}
	m, path := documentMachine(t, documentHead+"hostname: old\n")
	var list config.Errors
	_, err = m.setConfig(t.Context(), path, []byte(documentHead+"membership: {invite: (secret)}\n"), false)
	if _, kept := os.Stat(path); !errors.As(err, &list) || list[0].Field != "membership.invite" || kept == nil {
		t.Errorf("a secret that the node does not have: %v", err)
	}
}

// testInvite founds a network and returns the token of an invite into it.
func testInvite(t *testing.T) string {
	t.Helper()
	dir, now := t.TempDir(), time.Now()
	root, key := identity.GenerateKey(), identity.GenerateKey()
	network := identity.NetworkOf(root.Public())
	delegation, err := identity.Sign(root, identity.Delegation{
		Network: network, Root: root.Public(), Issuer: key.Public(), Caps: identity.Caps{Node: identity.Agent},
		MaxValidity: time.Hour, FirstSerial: 1, Count: 1, NotBefore: now, NotAfter: now.Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	clock, err := identity.OpenClock(filepath.Join(dir, "clock"), now, nil)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := identity.CreateVerifier(filepath.Join(dir, "trust"), network, identity.NetworkID{}, clock)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := identity.CreateIssuer(filepath.Join(dir, "ledger"), key, delegation, verifier)
	if err != nil {
		t.Fatal(err)
	}
	token, err := issuer.Invite(identity.Caps{Node: identity.Agent}, 1, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return token.Reveal()
}

// TestSetConfigRecovers: what the API sets ends what was wrong with the places.
func TestSetConfigRecovers(t *testing.T) {
	m, path := documentMachine(t, documentHead+"hostnam: kitchen\n")
	m.board.SetProblem("phase/config", "boot phase config failed")
	m.board.SetProblem(fetchProblem, "the configuration cannot be fetched")
	asking, end := context.WithCancel(t.Context())
	m.endFetch = end
	if _, err := m.setConfig(t.Context(), path, []byte(documentHead+"time: {servers: [ntp.example.org]}\n"), false); err != nil {
		t.Fatal(err)
	}
	if s, _ := m.board.Get(); len(s.Problems) != 0 || s.Configuration != source.SetName {
		t.Errorf("says %q and %q", s.Configuration, s.Problems)
	}
	if asking.Err() == nil {
		t.Error("the node still asks for a document that does not count any more")
	}
}

// TestDryRun: what would change is said, even for a node whose place for the
// document does not exist.
func TestDryRun(t *testing.T) {
	m, _ := documentMachine(t, documentHead+"hostname: old\n")
	changes, err := m.applyConfiguration(t.Context(), []byte(documentHead+"hostname: new\n"), true)
	if err != nil || !slices.Equal(changes, []config.Change{{Field: "hostname", Reboot: true}}) || m.config().Hostname != "old" {
		t.Errorf("%+v, %v; runs with %+v", changes, err, m.config())
	}
}

func TestConfigurationHidesSecrets(t *testing.T) {
	m, _ := documentMachine(t, documentHead)
	c := config.Default()
	c.Membership.Invite = "s3cret"
	m.choice.Config = c
	m.showSource("the place")
	doc, from, err := m.configuration()
	if err != nil || from != "the place" || strings.Contains(string(doc), "s3cret") || !strings.Contains(string(doc), "invite: (secret)") {
		t.Errorf("%v, from %q:\n%s", err, from, doc)
	}
}

// TestKeepFetched: what was fetched is found again for the same URL and pin.
func TestKeepFetched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fetched.json")
	parse := func(text string) source.Location {
		l, err := source.ParseLocation(text)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	document := []byte(documentHead + "hostname: kitchen\n")
	here := parse("https://example.org/node.yaml")
	if doc, err := readFetched(path, here); doc != nil || err != nil {
		t.Errorf("nothing was fetched: %q, %v", doc, err)
	}
	if err := keepFetched(path, here, document); err != nil {
		t.Fatal(err)
	}
	if doc, err := readFetched(path, here); err != nil || string(doc) != string(document) {
		t.Errorf("%q, %v", doc, err)
	}
	for _, other := range []string{"https://example.org/other.yaml", fmt.Sprintf("https://example.org/node.yaml#sha256=%x", sha256.Sum256(document))} {
		if doc, err := readFetched(path, parse(other)); doc != nil || err != nil {
			t.Errorf("%s: %q, %v", other, doc, err)
		}
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := keepFetched(path, here, document); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("written again although nothing changed: %v", err)
	}
	if err := keepFetched(path, here, []byte(documentHead+"hostnam: kitchen\n")); err != nil {
		t.Fatal(err)
	}
	if doc, err := readFetched(path, here); doc != nil || !errors.Is(err, source.ErrDocument) {
		t.Errorf("a document that this version does not understand: %q, %v", doc, err)
	}
}

func TestReadSetDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if s, err := readSet(path); s != nil || err != nil {
		t.Errorf("none: %v, %v", s, err)
	}
	if err := os.WriteFile(path, []byte(`{"repl`), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := readSet(path); s != nil || err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("damaged: %v, %v", s, err)
	}
}

func TestReadLimited(t *testing.T) {
	path := filepath.Join(t.TempDir(), configName)
	if err := os.WriteFile(path, make([]byte, 3*config.MaxSize), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := readLimited(path)
	if _, parseErr := config.Parse(b); err != nil || parseErr == nil || len(b) > config.MaxSize+1 {
		t.Errorf("%d bytes, %v, %v", len(b), err, parseErr)
	}
	_, err = readLimited(filepath.Dir(path))
	if c := found("a directory", "file", nil, err); c.Err == nil {
		t.Error("a directory of that name is no problem")
	}
	_, err = readLimited(path + "x")
	if c := found("a missing file", "file", nil, err); c.Err != nil || c.ID != "" {
		t.Errorf("a missing file: %+v", c)
	}
}
