package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/networks"
)

// desk is an operator's computer: its XDG directories and an age identity.
type desk struct {
	t         *testing.T
	dir       string
	recipient string
	identity  string // file
	seen      strings.Builder
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, dir: t.TempDir()}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	d.recipient, d.identity = id.Recipient().String(), filepath.Join(d.dir, "identity")
	d.write("identity", id.String()+"\n")
	d.use()
	return d
}

// use makes this computer the one that commands run on.
func (d *desk) use() {
	d.t.Setenv("XDG_DATA_HOME", filepath.Join(d.dir, "data"))
	d.t.Setenv("XDG_CONFIG_HOME", filepath.Join(d.dir, "config"))
	d.t.Setenv("MYCELIUM_NETWORK", "")
}

func (d *desk) network(name string, more ...string) string {
	return filepath.Join(append([]string{d.dir, "data/mycelium/networks", name}, more...)...)
}

func (d *desk) write(name, text string) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// try runs a command line whose words are apart by blanks (” is an empty one), with typed on
// standard input, and returns what it says on standard output and error.
func (d *desk) try(typed, line string) (string, string, error) {
	d.t.Helper()
	root := newRootCommand()
	var out, log bytes.Buffer
	words := strings.Fields(line)
	for i, w := range words {
		words[i] = strings.Trim(w, "'")
	}
	root.SetArgs(words)
	root.SetIn(strings.NewReader(typed))
	root.SetOut(&out)
	root.SetErr(&log)
	err := root.ExecuteContext(withPollPause(d.t.Context(), testPause))
	d.seen.WriteString(log.String())
	if err != nil {
		d.seen.WriteString(err.Error())
	}
	return out.String(), log.String(), err
}

func (d *desk) run(line string) (out, log string) {
	d.t.Helper()
	out, log, err := d.try("", line)
	if err != nil {
		d.t.Fatalf("mycelium %s: %v", line, err)
	}
	return out, log
}

// refused checks that a command fails and that its error has the words in it.
func (d *desk) refused(typed, line string, words ...string) {
	d.t.Helper()
	out, _, err := d.try(typed, line)
	if err == nil {
		d.t.Errorf("mycelium %s went well: %s", line, out)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			d.t.Errorf("mycelium %s: error %v, want one with %q", line, err, w)
		}
	}
}

func (d *desk) show(line string) (v networkView) {
	d.t.Helper()
	out, _ := d.run("network show -o json " + line)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		d.t.Fatal(err)
	}
	return v
}

func (d *desk) open(name string) *networks.Network {
	d.t.Helper()
	store, err := openStore()
	if err != nil {
		d.t.Fatal(err)
	}
	n, err := store.Open(d.t.Context(), name)
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

// From the founding of a network to the end of a member.
func TestNetworkFromCreateToRevoke(t *testing.T) {
	d := newDesk(t)
	d.run("network create home --operator ann --recipient " + d.recipient)
	d.refused("", "network create home --recipient "+d.recipient, "already")
	token, explanation := d.run("invite --role agent --valid 1h")
	if !strings.HasPrefix(token, "mycinvite1") || strings.Count(token, "\n") != 1 || !strings.Contains(explanation, "agent") {
		t.Errorf("token %q, explanation %q", token, explanation)
	}

	// the newcomer, and the issuer that admits it
	parsed, err := identity.ParseToken(strings.TrimSpace(token))
	if err != nil {
		t.Fatal(err)
	}
	key := identity.GenerateKey()
	request, err := parsed.Request(key, [32]byte{1}, "pi")
	if err != nil {
		t.Fatal(err)
	}
	n := d.open("home")
	cred, err := n.Issuer.Admit(request)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := n.Verifier.Verify(cred)
	if err != nil || cert.Caps.Node != identity.Agent || cert.Serial != 2 {
		t.Fatalf("admitted as %+v, %v", cert, err)
	}
	n.Close()

	d.run("network revoke " + key.Public().String())
	n = d.open("home")
	defer n.Close()
	if _, err := n.Verifier.Verify(cred); !errors.Is(err, identity.ErrRevoked) {
		t.Errorf("a revoked member: %v", err)
	}
	if _, err := n.Issuer.Admit(request); !errors.Is(err, identity.ErrRevoked) {
		t.Errorf("a revoked member joins again: %v", err)
	}
}

func TestNetworkCommands(t *testing.T) {
	d := newDesk(t)
	if out, _ := d.run("network list"); !strings.Contains(out, "network create") {
		t.Errorf("empty list %q", out)
	}
	d.refused("", "network show", "network create NAME", "--network")
	d.run("network create home --operator ann --quota 4 --recipient " + d.recipient)
	d.run("network create work --operator ann --recipient " + d.recipient)

	// which one is meant: argument, flag, environment, current
	for line, want := range map[string]string{"": "home", "work": "work", "--network work": "work"} {
		if v := d.show(line); v.Name != want || v.Current != (want == "home") {
			t.Errorf("show %q is about %s", line, v.Name)
		}
	}
	d.run("network use work")
	if v := d.show(""); v.Name != "work" || !v.Current {
		t.Errorf("after use: %+v", v)
	}
	t.Setenv("MYCELIUM_NETWORK", "home")
	if v := d.show(""); v.Name != "home" {
		t.Errorf("with MYCELIUM_NETWORK: %s", v.Name)
	}
	t.Setenv("MYCELIUM_NETWORK", "")

	v := d.show("home")
	if v.Certificate.Name != "ann" || v.Certificate.Role != identity.Admin || *v.Issuers[0].Left != 3 || len(v.Roots) != 1 || len(v.Problems) != 0 {
		t.Errorf("show: %+v", v)
	}
	if _, err := identity.ParseNetworkID(v.ID); err != nil {
		t.Error(err)
	}
	if out, _ := d.run("network list"); !strings.Contains(out, "*        work") || !strings.Contains(out, v.ID) {
		t.Errorf("list:\n%s", out)
	}
	if out, _ := d.run("network list -o yaml"); !strings.Contains(out, "- name: home\n") {
		t.Errorf("list:\n%s", out)
	}
	if out, _ := d.run("__complete network use ''"); !strings.HasPrefix(out, "home\nwork\n") {
		t.Errorf("completion %q", out)
	}
	if out, _ := d.run("__complete invite --network ''"); !strings.HasPrefix(out, "home\nwork\n") {
		t.Errorf("completion %q", out)
	}

	// a rotation keeps the id, a delegation fills the quota
	d.run("network rotate --network home --identity " + d.identity + " --recipient " + d.recipient)
	d.run("network delegate --network home --quota 9 --identity " + d.identity)
	w := d.show("home")
	if w.ID != v.ID || len(w.Roots) != 2 || w.Roots[0].Until == nil || *w.Issuers[0].Left != 8 || len(w.Problems) != 0 {
		t.Errorf("after the rotation: %+v", w)
	}
	servers := w.Issuers[1]
	if !servers.Servers || servers.HandedOver || servers.API != identity.NoAPI || servers.Left != nil {
		t.Errorf("the servers' issuer: %+v", servers)
	}
	n := d.open("home")
	if err := n.MarkHandedOver(); err != nil { // as an enrolment does
		t.Fatal(err)
	}
	n.Close()
	if s := d.show("home").Issuers[1]; s.Key != servers.Key || !s.HandedOver {
		t.Errorf("the servers' issuer, handed over: %+v", s)
	}
	if out, _ := d.run("network show home"); !strings.Contains(out, "servers' issuer") {
		t.Errorf("show:\n%s", out)
	}
	d.run("network delegate --for-servers --network home --quota 5 --identity " + d.identity)
	if s := d.show("home").Issuers[1]; s.Key == servers.Key || s.HandedOver || s.Quota != 5 {
		t.Errorf("another servers' issuer: %+v", s)
	}
	d.refused("", "network delegate --network work --root-key "+d.network("home", "root-2.age")+" --identity "+d.identity, "untrusted root")
	if err := os.Rename(d.network("home", "root-2.age"), filepath.Join(d.dir, "stick.age")); err != nil {
		t.Fatal(err)
	}
	d.refused("", "network delegate --network home --identity "+d.identity, "--root-key")
	d.run("network delegate --network home --identity " + d.identity + " --root-key " + filepath.Join(d.dir, "stick.age"))

	d.refused("home\n", "network delete work", "not deleted")
	d.refused("", "network delete work", "not deleted")
	if _, _, err := d.try("work\n", "network delete work"); err != nil {
		t.Error(err)
	}
	d.refused("", "network show", "no network is chosen")
	d.run("network delete home --yes")
	if entries, err := os.ReadDir(d.network("")); err != nil || len(entries) != 1 {
		t.Errorf("deleting leaves %v, %v", entries, err)
	}
}

// The ways in which one person gives another access.
func TestNetworkAccess(t *testing.T) {
	bob := newDesk(t)
	bobsKey, _ := bob.run("network key")
	if again, _ := bob.run("network key"); again != bobsKey {
		t.Errorf("keys %q, %q", bobsKey, again)
	}
	ann := newDesk(t)
	ann.run("network create home --recipient " + ann.recipient)
	plain, sealed := filepath.Join(ann.dir, "plain"), filepath.Join(ann.dir, "sealed")
	phrase := ann.write("phrase", "correct horse battery staple\n")
	ann.run("network certificate --role operator --name bob --out " + plain + " --public-key " + bobsKey)
	ann.run("network certificate --role reader --name eve --out " + sealed + " --passphrase-file " + phrase)
	ann.refused("", "network certificate --role reader --name eve --out "+sealed+" --passphrase-file "+phrase, "exists")
	ann.refused("", "network import "+plain+" --name other", "mycelium network key")
	if out, _ := ann.run("network certificate --role reader --name bob --public-key " + bobsKey); !strings.HasPrefix(out, "-----BEGIN MYCELIUM") {
		t.Errorf("access file on standard output: %q", out)
	}
	id := ann.show("").ID

	bob.use()
	bob.run("network import " + plain + " --name anns")
	v := bob.show("")
	if v.Name != "anns" || v.ID != id || v.Certificate.Role != identity.Operator || v.Certificate.Name != "bob" || v.Issuers[0].Left != nil {
		t.Errorf("bob has %+v", v)
	}
	for _, line := range []string{"invite", "network revoke 1", "network rotate --identity " + bob.identity + " --recipient " + bob.recipient, "network certificate --role reader --name x --public-key " + bobsKey} {
		bob.refused("", line, "no issuer here", "ask an admin")
	}
	bob.refused("wrong\n", "network import "+sealed+" --passphrase-file -", "passphrase is wrong")
	bob.refused("", "network import "+sealed, "no terminal")
	bob.run("network import " + sealed + " --passphrase-file " + phrase)
	if v := bob.show("home"); v.Certificate.Role != identity.Reader || v.Certificate.Name != "eve" {
		t.Errorf("eve has %+v", v)
	}
	bob.refused("", "network import "+plain+" --name home", "already")

	data, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "hello", string(data[:len(data)/2]), string(data[:2300]) + "AAAA" + string(data[2304:]), string(data) + "more"} {
		bob.refused("", "network import --name bad "+bob.write("bad", bad))
	}
	if data, err = os.ReadFile(sealed); err != nil {
		t.Fatal(err)
	}
	bob.refused("", "network import --name bad --passphrase-file "+phrase+" "+bob.write("bad", string(data[:len(data)-100])), "get it again")
	if _, err := os.Stat(bob.network("bad")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a bad import left something")
	}
}
