package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/networks"
)

func TestNodeTables(t *testing.T) {
	f := newFarm(t, 2)
	f.nodes[1].change(func(s *api.Status) {
		s.Phase, s.Kubernetes, s.Problems = "network", api.Kubernetes{}, []string{"no network: eth0 has no link: plug the cable in"}
	})
	for _, name := range []string{"list", "status", "services", "processes", "disks", "time", "metrics", "events", "logs"} {
		out, log := f.run("node " + name)
		if log != "" {
			t.Errorf("node %s says %q", name, log)
		}
		golden(t, "node-"+name, f.shown(out))
	}
	for _, name := range []string{"status", "services", "events"} {
		out, _ := f.run("node " + name + " -n node-1")
		golden(t, "node-"+name+"-one", f.shown(out))
	}
	out, _ := f.run("config get -n node-1")
	golden(t, "config-get", f.shown(out))
}

func TestNoNodes(t *testing.T) {
	d := newDesk(t)
	d.run("network create home --operator ann --recipient " + d.recipient)
	d.refused("", "node list", "mycelium node enrol ADDRESS", "-n ADDRESS")
	d.refused("", "dashboard", "terminal", "mycelium node list")
	d.refused("", "node time -n node-1", `no node "node-1"`, "known are: none")
	d.refused("", "node time -n 127.0.0.1:1", "127.0.0.1:1: ", "refused")
}

func TestNodeJSON(t *testing.T) {
	f := newFarm(t, 2)
	f.nodes[1].stop()
	out, _, err := f.try("", "node services -o json")
	if err == nil || !strings.Contains(err.Error(), "1 of 2 nodes failed: node-2") {
		t.Errorf("error %v", err)
	}
	var answers []answer[[]api.Service]
	if err := json.Unmarshal([]byte(out), &answers); err != nil {
		t.Fatal(err, out)
	}
	if len(answers) != 2 || (*answers[0].Result)[0].Name != "k3s" || answers[0].Error != "" || answers[1].Result != nil || !strings.Contains(answers[1].Error, "refused") {
		t.Errorf("%s", out)
	}
	out, _, err = f.try("", "node list -o json")
	var views []nodeView
	if json.Unmarshal([]byte(out), &views) != nil || len(views) != 2 || !views[0].Ready || views[1].State != unreachable || err == nil {
		t.Errorf("%s, %v", out, err)
	}
	out, _, err = f.try("", "node list")
	if err == nil || !strings.Contains(out, "node-2: ") {
		t.Errorf("the list does not say why a node is unreachable: %s, %v", out, err)
	}
	out, _ = f.run("node events -o json -n node-1 --tail 1")
	var e nodeEvent
	if json.Unmarshal([]byte(out), &e) != nil || e.Node != "node-1" || e.Kind != "problem" || strings.Count(out, "\n") != 1 {
		t.Errorf("%s", out)
	}
	if out, _ := f.run("node time -o yaml -n node-1"); !strings.Contains(out, "source: ntp") {
		t.Errorf("%s", out)
	}
}

// TestNodeNames: nodes are named by name, key, address and mesh address; those
// that only a node knows are found by asking it.
func TestNodeNames(t *testing.T) {
	f := newFarm(t, 2)
	n := f.open("home")
	forgotten := f.nodes[1]
	if err := n.RemoveNode(forgotten.key.Public()); err != nil {
		t.Fatal(err)
	}
	n.Close()
	for _, word := range []string{"node-1", f.nodes[0].key.Public().String(), f.nodes[0].address, "100.64.0.1"} {
		if out, _ := f.run("node time -n " + word); strings.Count(out, "\n") != 2 {
			t.Errorf("-n %s: %s", word, out)
		}
	}
	if out, _ := f.run("node time -n " + f.nodes[0].address + "," + forgotten.address); !strings.Contains(out, forgotten.address) {
		t.Errorf("by an address that is not known: %s", out)
	}
	f.refused("", "node time -n nobody", `no node "nobody"`, "node-1, node-2", "An address serves too")
	f.refused("", "node reboot", "2 nodes", "-n node-1,node-2") // node-1 has said so
	f.refused("", "node reboot -n node-1 --network elsewhere", "mycelium network list")

	// A list remembers where nodes answered.
	f.run("node list -n node-1," + forgotten.address)
	n = f.open("home")
	if names := n.Nodes(); len(names) != 2 || names[1].Name != "node-2" || names[1].Addresses[0] != forgotten.address {
		t.Errorf("remembered: %v", names)
	}
	twin := identity.GenerateKey().Public()
	if err := n.PutNode(networks.Node{Name: "node-1", Key: twin, Addresses: []string{"192.0.2.7:6440"}}); err != nil {
		t.Fatal(err)
	}
	n.Close()
	f.refused("", "node time -n node-1", `2 nodes of "home" are called "node-1"`, twin.String(), "192.0.2.7:6440")

	out, _ := f.run("__complete node status -n node-1,")
	if !strings.Contains(out, "node-1,node-2\n") {
		t.Errorf("completion: %s", out)
	}
	if out, _ := f.run("__complete node remove n"); !strings.Contains(out, "node-2\n") {
		t.Errorf("completion: %s", out)
	}
}

// TestWrongNode: what answers at a node's address must be that node.
func TestWrongNode(t *testing.T) {
	f := newFarm(t, 2)
	n := f.open("home")
	if err := n.PutNode(networks.Node{Name: "node-1", Key: f.nodes[0].key.Public(), Addresses: []string{f.nodes[1].address}}); err != nil {
		t.Fatal(err)
	}
	n.Close()
	f.refused("", "node time -n node-1", "node-1: ", "wrong peer")
}

func TestNodeActions(t *testing.T) {
	f := newFarm(t, 2)
	for _, tc := range []struct{ line, typed, did, said string }{
		{"node restart k3s -n node-1,node-2", "", "restart k3s", "node-2  k3s is restarted"},
		{"node reboot -n node-1,node-2 --wait", "", "reboot", "node-2  runs again"},
		{"node reset --data -n node-1,node-2", "node-1,node-2\n", "reset data false", "all 2 nodes done"},
		{"node reset --all --shutdown --yes -n node-1,node-2", "", "reset all true", "node-1  wipes itself and powers off"},
		{"node shutdown --wait -n node-1,node-2", "", "shutdown", "node-1  does not answer any more"},
	} {
		_, log := f.typed(tc.typed, tc.line)
		for _, n := range f.nodes {
			if did := n.done(); !slices.Equal(did, []string{tc.did}) {
				t.Errorf("%s: %s did %q", tc.line, n.status.Name, did)
			}
		}
		if !strings.Contains(log, tc.said) {
			t.Errorf("%s said\n%s\nwant %q", tc.line, log, tc.said)
		}
	}
}

func TestNodeActionErrors(t *testing.T) {
	f := newFarm(t, 2)
	f.refused("", "node restart nothing -n node-1", "node-1: ", "node services -n node-1")
	f.refused("", "node logs nothing -n node-1", "lists its logs")
	f.refused("", "node restart k3s", "2 nodes", "-n node-1,node-2")
	f.refused("node-2\n", "node reset --data -n node-1", "the name was not typed", "--yes")
	f.refused("", "node reset -n node-1", "data", "all")
	f.refused("", "node reset --data --all -n node-1", "none of the others")
	f.nodes[1].stop()
	_, log, err := f.try("", "node restart k3s -n node-1,node-2")
	if err == nil || !strings.Contains(err.Error(), "1 of 2 nodes failed: node-2") || !strings.Contains(log, "node-2: ") || !strings.Contains(log, "k3s is restarted") {
		t.Errorf("error %v, said\n%s", err, log)
	}
	f.nodes[0].stubborn = true
	f.refused("", "node shutdown --wait --timeout 1ms -n node-1", "after 1ms", "it still answers", "--timeout waits longer")
	f.refused("", "node reboot --wait --timeout 1ms -n node-1", "after 1ms", "it has not")
	for _, n := range f.nodes {
		if did := n.done(); slices.ContainsFunc(did, func(s string) bool { return strings.HasPrefix(s, "reset") }) {
			t.Errorf("%s did %q", n.status.Name, did)
		}
	}
}

func TestFollow(t *testing.T) {
	f := newFarm(t, 2)
	wrote := false
	out := f.follow("node logs k3s -f --tail 1", func(out string) bool {
		if strings.Count(out, "second") == 2 && !wrote {
			wrote = true
			f.nodes[1].log.write("third\n")
		}
		return strings.Contains(out, "third")
	})
	for _, want := range []string{"node-1  second\n", "node-2  second\n", "node-2  third\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	out = f.follow("node events -f -n node-1", func(out string) bool { return strings.Contains(out, "problem") })
	if strings.Contains(out, "\x1b") || strings.Contains(out, "node-1") {
		t.Errorf("%q", out)
	}
}

func TestReaderMayNotAct(t *testing.T) {
	f := newFarm(t, 1)
	bob := &desk{t: t, dir: t.TempDir()}
	bob.use()
	key, _ := bob.run("network key")
	f.use()
	access := filepath.Join(f.dir, "bob.access")
	f.run("network certificate --role reader --name bob --out " + access + " --public-key " + strings.TrimSpace(key))
	bob.use()
	bob.run("network import " + access)
	if out, _ := bob.run("node list"); !strings.Contains(out, "node-1") {
		t.Errorf("who has access does not know where the nodes are: %s", out)
	}
	bob.refused("", "node restart k3s", "node-1: ", "operator")
	bob.refused("", "invite", "admin")
	bob.refused("", "node enrol 127.0.0.1:1", "no issuer here")
}

func TestConfigApply(t *testing.T) {
	f := newFarm(t, 2)
	f.refused("", "config apply "+f.write("bad.yaml", "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\nhostnam: x\n")+" -n node-1", "one mistake")
	named := f.write("named.yaml", "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\nhostname: kitchen\n")
	f.refused("", "config apply "+named+" -n node-1,node-2", "cannot all be called so")
	_, log := f.run("config apply " + named + " -n node-1 --dry-run")
	if !strings.Contains(log, "hostname would change with the next boot") || f.nodes[0].done() != nil {
		t.Errorf("dry run: %s", log)
	}
	_, log = f.run("config apply " + named + " -n node-1")
	if !strings.Contains(log, "mycelium node reboot -n node-1") || !slices.Equal(f.nodes[0].done(), []string{"apply"}) {
		t.Errorf("apply: %s", log)
	}
	if _, log = f.run("config apply " + named + " -n node-1 --reboot --wait"); !strings.Contains(log, "nothing changes") {
		t.Errorf("apply again: %s", log)
	}
	servers := f.write("servers.yaml", "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\nhostname: kitchen\ntime:\n  servers: [ntp.example]\n")
	_, log = f.run("config apply " + servers + " -n node-1 --reboot")
	if !strings.Contains(log, "time.servers changes at once") || !slices.Equal(f.nodes[0].done(), []string{"apply", "apply"}) {
		t.Errorf("apply servers: %s", log)
	}
	_, log = f.run("config apply " + servers + " -n node-2 --reboot --wait")
	if !strings.Contains(log, "runs again") || !slices.Equal(f.nodes[1].done(), []string{"apply", "reboot"}) {
		t.Errorf("apply with reboot: %s", log)
	}
}

// TestConfigGetEditApply: what a node shows of its configuration can be applied
// to it again, with its secrets.
func TestConfigGetEditApply(t *testing.T) {
	f := newFarm(t, 1)
	token, _ := f.run("invite")
	token = strings.TrimSpace(token)
	f.run("config apply " + f.write("with.yaml", "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\nmembership:\n  invite: "+token+"\n") + " -n node-1")
	shown, _ := f.run("config get -n node-1")
	if strings.Contains(shown, token) || !strings.Contains(shown, "invite: (secret)") {
		t.Fatalf("it shows %s", shown)
	}
	edited := f.write("edited.yaml", shown+"hostname: kitchen\n")
	_, log := f.run("config apply " + edited + " -n node-1")
	if !strings.Contains(log, "hostname changes") || strings.Contains(log, "invite") || !strings.Contains(f.nodes[0].document, token) {
		t.Errorf("apply: %s\nthe node has %s", log, f.nodes[0].document)
	}
	f.refused("", "config validate "+edited, "one mistake")
	f.run("config apply " + f.write("without.yaml", "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\n") + " -n node-1")
	f.refused("", "config apply "+edited+" -n node-1", "there is none here now")
}

func TestSupport(t *testing.T) {
	f := newFarm(t, 2)
	t.Chdir(t.TempDir())
	f.run("support -n node-1")
	found, err := filepath.Glob("node-1-*.tar.zst.age")
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	f.run("support decrypt " + found[0])
	plain, err := os.ReadFile(strings.TrimSuffix(found[0], ".age"))
	if err != nil || string(plain) != "the bundle of node-1" {
		t.Errorf("%q, %v", plain, err)
	}
	if fi, err := os.Stat(strings.TrimSuffix(found[0], ".age")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("others can read it: %v, %v", fi.Mode(), err)
	}
	f.refused("", "support decrypt "+found[0], "choose another name")
	f.refused("", "support", "2 nodes")
	f.refused("", "support -n node-1 --recipient AGE-SECRET-KEY-1X", "age-keygen -y")
	f.refused("", "support -n node-1,node-2 -O "+found[0], "must be a directory")
	f.refused("", "support decrypt /no/such", "does not end with .age")

	_, log := f.run("support -n node-1,node-2 -O bundles --recipient " + f.recipient)
	if found, err := filepath.Glob("bundles/node-?-*.tar.zst.age"); err != nil || len(found) != 2 || !strings.Contains(log, "all 2 nodes done") {
		t.Errorf("%v, %v, %s", found, err, log)
	} else {
		f.refused("", "support decrypt "+found[0], "--identity")
		f.run("support decrypt -O out --identity " + f.identity + " " + found[1])
	}
	if plain, err := os.ReadFile("out"); err != nil || string(plain) != "the bundle of node-2" {
		t.Errorf("%q, %v", plain, err)
	}
	f.write("cut.age", "age-encryption.org/v1\n")
	f.refused("", "support decrypt "+filepath.Join(f.dir, "cut.age"), "fetch it again")
}

func TestInviteByNode(t *testing.T) {
	f := newFarm(t, 2)
	token, log := f.run("invite --role agent --uses 3")
	parsed, err := identity.ParseToken(strings.TrimSpace(token))
	if err != nil || parsed.Invite().Issuer != f.nodes[0].issuer.Delegation().Issuer || parsed.Invite().Uses != 3 || !strings.Contains(log, "by node-1") {
		t.Errorf("%v, %s", err, log)
	}
	local, _ := f.run("invite --local")
	if parsed, err := identity.ParseToken(strings.TrimSpace(local)); err != nil || parsed.Invite().Issuer == f.nodes[0].issuer.Delegation().Issuer {
		t.Errorf("--local asked the node: %v", err)
	}
	f.nodes[0].change(func(s *api.Status) { s.Membership.Issuer = false })
	f.refused("", "invite", "none of its nodes admits newcomers", "--local")
	for _, n := range f.nodes {
		n.stop()
	}
	f.refused("", "invite", "no node answers", "node-1, node-2", "--local")
}
