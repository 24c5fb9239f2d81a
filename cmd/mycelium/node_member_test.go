package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	clientauth "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/kubenode"
	"github.com/digital-mycelium/os/image/disk"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
)

// newcomer is a machine without a network, which becomes a member when it is
// enrolled.
type newcomer struct {
	*fakeNode
	grant chan api.Grant
	moves sync.WaitGroup // from the one server to the other
}

func newNewcomer(f *farm) *newcomer {
	n := &newcomer{fakeNode: &fakeNode{farm: f, key: identity.GenerateKey(), dir: f.t.TempDir(), changed: make(chan struct{}), log: &lineLog{more: make(chan struct{})}}, grant: make(chan api.Grant, 1)}
	n.status = api.Status{Name: "kitchen", Version: "0.2.0", Membership: api.Membership{State: api.Member, Key: n.key.Public().String(), Role: "server"}}
	s, err := api.NewEnrolmentServer(n.key, n, slog.New(slog.DiscardHandler))
	if err != nil {
		f.t.Fatal(err)
	}
	n.serve("127.0.0.1:0", s)
	f.t.Cleanup(n.moves.Wait)
	return n
}

func (n *newcomer) Describe(network identity.NetworkID) (api.Description, error) {
	request, err := identity.Sign(n.key, identity.Request{Network: network, Key: n.key.Public(), Mesh: [32]byte{9}, Name: "kitchen"})
	return api.Description{Request: request, Name: "kitchen\x1b[2J", Version: "0.2.0", Board: "qemu-amd64"}, err
}

func (n *newcomer) Enrol(_ context.Context, g api.Grant) error {
	n.grant <- g
	n.moves.Go(func() { // as a node does: the one server ends, the other begins
		n.stop()
		n.cred = g.Credential
		n.open(g.Anchor)
		n.listen(n.address)
	})
	return nil
}

func TestEnrol(t *testing.T) {
	f := newFarm(t, 0)
	n := newNewcomer(f)
	key := n.key.Public().String()
	f.refused("no\n", "node enrol "+n.address, `"yes" was not typed`, "--fingerprint")
	f.refused("", "node enrol "+n.address+" --fingerprint "+identity.GenerateKey().Public().String(), "wrong peer", key)
	f.refused("", "node enrol "+n.address+" --fingerprint x", "--fingerprint")
	f.refused("", "node enrol "+n.address+" --role client", "server or agent")
	f.refused("", "node enrol "+n.address+" --role agent --found", "--found is for a server")
	_, log := f.typed("yes\n", "node enrol "+n.address)
	for _, want := range []string{"is kitchen, 0.2.0 on qemu-amd64", key, "let in as server of home", "mycelium node list"} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is missing in\n%s", want, log)
		}
	}
	if strings.Contains(log, "\x1b") {
		t.Errorf("a machine steers the terminal: %q", log)
	}
	if g := <-n.grant; !g.Found || g.Issuer == nil || g.Network != f.id {
		t.Errorf("granted %+v", g)
	}
	if out, _ := f.run("node list"); !strings.Contains(out, "kitchen") {
		t.Errorf("the node is not listed: %s", out)
	}
	f.refused("", "node enrol "+n.address, "belongs to a network already")

	// The next ones are agents and found nothing.
	second := newNewcomer(f)
	f.run("node enrol " + second.address + " --fingerprint " + second.key.Public().String() + " --timeout 0")
	g := <-second.grant
	cert, err := n.verifier.Verify(g.Credential)
	if err != nil || cert.Caps.Node != identity.Agent || g.Found || g.Issuer != nil || len(g.Peers) != 0 {
		t.Errorf("granted %+v, %v, %v", g, cert, err)
	}
}

// cluster answers as a cluster does that knows the farm's nodes.
type cluster struct {
	mu    sync.Mutex
	nodes map[string]string // by name, the address
	calls []string
	// bare is a pod on every node that nothing would make anew.
	bare bool
	// held are the annotations of those that an update keeps pods off.
	held map[string]string
	// closed take no new pods.
	closed map[string]bool
	// events are what nodes and the cluster did, in order.
	events *eventList
}

func (k *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	object := func(name string) string {
		annotations := ""
		if reason, ok := k.held[name]; ok {
			annotations = fmt.Sprintf(`,"annotations":{%q:%q}`, kubenode.HeldFor, reason)
		}
		return fmt.Sprintf(`{"kind":"Node","apiVersion":"v1","metadata":{"name":%q,"uid":%q%s},"spec":{"unschedulable":%v},"status":{"addresses":[{"type":"InternalIP","address":%q}]}}`,
			name, "uid-"+name, annotations, k.closed[name], k.nodes[name])
	}
	name := filepath.Base(r.URL.Path)
	if r.Method != http.MethodGet {
		k.calls = append(k.calls, r.Method+" "+name)
	}
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/api/v1/nodes":
		var list []string
		for n := range k.nodes {
			list = append(list, object(n))
		}
		fmt.Fprintf(w, `{"kind":"NodeList","apiVersion":"v1","items":[%s]}`, strings.Join(list, ","))
	case strings.HasPrefix(r.URL.Path, "/api/v1/nodes/"):
		switch r.Method {
		case http.MethodDelete:
			delete(k.nodes, name)
		case http.MethodPut:
			k.put(name, body)
		}
		_, _ = io.WriteString(w, object(name))
	case r.URL.Path == "/api/v1/pods" && k.bare:
		_, _ = io.WriteString(w, `{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"mine","namespace":"default"},"spec":{"nodeName":"x"}}]}`)
	case r.URL.Path == "/api/v1/pods":
		_, _ = io.WriteString(w, `{"kind":"PodList","apiVersion":"v1","items":[]}`)
	case r.URL.Path == "/apis":
		_, _ = io.WriteString(w, `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`)
	case r.URL.Path == "/api":
		_, _ = io.WriteString(w, `{"kind":"APIVersions","versions":["v1"]}`)
	case r.URL.Path == "/api/v1":
		_, _ = io.WriteString(w, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[]}`)
	default:
		http.NotFound(w, r)
	}
}

// put takes a changed node over.
func (k *cluster) put(name string, body []byte) {
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil) // JSON or protobuf
	if err != nil {
		panic(err)
	}
	n := object.(*corev1.Node)
	reason, held := n.Annotations[kubenode.HeldFor]
	if held {
		k.held[name] = reason
	} else {
		delete(k.held, name)
	}
	k.closed[name] = n.Spec.Unschedulable
	k.events.add(map[bool]string{false: "uncordon ", true: "cordon "}[n.Spec.Unschedulable] + name)
}

func (k *cluster) done() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	calls := k.calls
	k.calls = nil
	return calls
}

// withKubernetes gives all nodes of the farm one cluster.
func (f *farm) withKubernetes() *cluster {
	k := &cluster{nodes: map[string]string{}, held: map[string]string{}, closed: map[string]bool{}, events: &f.events}
	for _, n := range f.nodes {
		k.nodes[n.status.Name] = n.status.Membership.Address
		n.kube = k
	}
	return k
}

func TestRemove(t *testing.T) {
	f := newFarm(t, 3)
	k := f.withKubernetes()
	f.refused("", "node remove node-2", "the name was not typed")
	k.bare = true
	f.refused("", "node remove node-2 --yes", "pods would be lost", "default/mine", "--force")
	if calls := k.done(); !slices.Equal(calls, []string{"PATCH node-2"}) {
		t.Errorf("the cluster was asked to %q", calls)
	}
	k.bare = false
	_, log := f.typed("node-2\n", "node remove node-2")
	if !strings.Contains(log, "node-2 is removed from home.") {
		t.Errorf("%s", log)
	}
	if calls := k.done(); !slices.Contains(calls, "DELETE node-2") {
		t.Errorf("the cluster was asked to %q", calls)
	}
	if _, err := f.nodes[0].verifier.Verify(f.nodes[1].cred); !errors.Is(err, identity.ErrRevoked) {
		t.Errorf("it still counts: %v", err)
	}
	if out, _ := f.run("node list"); strings.Contains(out, "node-2") {
		t.Errorf("it is still listed:\n%s", out)
	}

	// A dead node: its pods are not moved.
	f.nodes[2].stop()
	_, log = f.run("node remove node-3 --force --yes")
	if calls := k.done(); !slices.Equal(calls, []string{"DELETE node-3"}) {
		t.Errorf("the cluster was asked to %q: %s", calls, log)
	}
	f.refused("", "node remove node-1 --yes", "only node", "reset --all")
}

func TestRemoveNeedsTheCluster(t *testing.T) {
	f := newFarm(t, 2)
	f.refused("", "node remove node-2 --yes", "reach the cluster", "not up yet", "the node stays")
	if _, err := f.nodes[0].verifier.Verify(f.nodes[1].cred); err != nil {
		t.Errorf("it was revoked: %v", err)
	}
}

func TestKubeconfig(t *testing.T) {
	f := newFarm(t, 2)
	f.refused("", "kubeconfig", "node-1: ", "not yet", "mycelium node list")
	f.withKubernetes()
	t.Setenv("KUBECONFIG", filepath.Join(f.dir, "kube", "config"))

	static, _ := f.run("kubeconfig --static")
	c, err := clientcmd.Load([]byte(static))
	if err != nil || c.CurrentContext != "home" || len(c.AuthInfos["ann@home"].ClientKeyData) == 0 || c.Clusters["home"].Server != "https://"+f.nodes[0].address+"/kubernetes" {
		t.Fatalf("%v\n%s", err, static)
	}
	// It works: Kubernetes answers by way of the node.
	direct, err := clientcmd.RESTConfigFromKubeConfig([]byte(static))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(direct)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 2 {
		t.Errorf("Kubernetes lists %v, %v", list, err)
	}

	out, _ := f.run("kubeconfig -n node-2")
	c, err = clientcmd.Load([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	run := c.AuthInfos["ann@home"].Exec
	if run == nil || !slices.Equal(run.Args, []string{"kubeconfig", "credential", "--network", "home"}) || strings.Contains(out, "client-key-data") ||
		run.Env[0].Value != os.Getenv("XDG_DATA_HOME") || c.Clusters["home"].Server != "https://"+f.nodes[1].address+"/kubernetes" {
		t.Errorf("%s", out)
	}

	other := "apiVersion: v1\nkind: Config\ncurrent-context: work\nclusters: [{name: work, cluster: {server: https://work}}]\ncontexts: [{name: work, context: {cluster: work, user: me}}]\nusers: [{name: me, user: {}}]\n"
	if err := os.Mkdir(filepath.Join(f.dir, "kube"), 0o700); err != nil {
		t.Fatal(err)
	}
	f.write("kube/config", other)
	for range 2 {
		f.run("kubeconfig --merge")
	}
	c, err = clientcmd.LoadFromFile(os.Getenv("KUBECONFIG"))
	if err != nil || c.CurrentContext != "home" || len(c.Clusters) != 2 || c.AuthInfos["me"] == nil || c.AuthInfos["ann@home"] == nil {
		t.Errorf("merged: %+v, %v", c, err)
	}
	f.write("kube/config", "{")
	f.refused("", "kubeconfig --merge", "mend it")
	file := filepath.Join(f.dir, "own.yaml")
	f.run("kubeconfig -o " + file)
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	f.refused("", "kubeconfig --merge -o x", "none of the others")
	f.nodes[0].stop()
	f.run("kubeconfig") // by the other one
}

func TestCredential(t *testing.T) {
	f := newFarm(t, 1)
	out, _ := f.run("kubeconfig credential --network home")
	var c clientauth.ExecCredential
	if err := json.Unmarshal([]byte(out), &c); err != nil || c.Kind != "ExecCredential" || c.APIVersion != "client.authentication.k8s.io/v1" {
		t.Fatalf("%v\n%s", err, out)
	}
	pair, err := tls.X509KeyPair([]byte(c.Status.ClientCertificateData), []byte(c.Status.ClientKeyData))
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(c.Status.ExpirationTimestamp.Time); left < time.Minute || left > credentialTime {
		t.Errorf("good for %v", left)
	}
	// A node takes it for the operator.
	n := f.open("home")
	defer n.Close()
	conf := n.Verifier.ClientTLS(identity.TLSOptions{Certificate: func() (*tls.Certificate, error) { return &pair, nil }})
	client, err := api.NewClient(api.ClientConfig{Address: f.nodes[0].address, TLS: conf})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestBakedConfig(t *testing.T) {
	f := newFarm(t, 1)
	token := f.write("token", first(f.run("invite")))
	addresses := f.write("addresses", "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\nnetwork: {interfaces: [{name: eth0, addresses: [10.0.0.2/24]}]}")
	secret := config.Secret(strings.TrimSpace(read(t, token)))
	for _, tc := range []struct {
		flags bakedFlags
		want  config.Membership
	}{
		{bakedFlags{contextFlags: contextFlags{"home"}}, config.Membership{Network: f.id.String()}},
		{bakedFlags{contextFlags: contextFlags{"home"}, invite: token}, config.Membership{Network: f.id.String(), Invite: secret}},
		{bakedFlags{contextFlags: contextFlags{"home"}, invite: token, config: addresses, hostname: "kitchen"}, config.Membership{Network: f.id.String(), Invite: secret}},
		{bakedFlags{hostname: "kitchen"}, config.Membership{}},
		{bakedFlags{installer: installerWaits}, config.Membership{}},
		{bakedFlags{contextFlags: contextFlags{"home"}, installer: "serial:abc"}, config.Membership{Network: f.id.String()}},
	} {
		cmd := newImageBuildCommand()
		cmd.SetContext(t.Context())
		document, err := tc.flags.document(cmd, nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse(document)
		if err != nil || c.Membership.Network != tc.want.Network || c.Membership.Invite.Reveal() != tc.want.Invite.Reveal() {
			t.Errorf("%v: %v, %v", tc.flags, c, err)
		}
		if c.Hostname != tc.flags.hostname || len(c.Network.Interfaces) != min(1, len(tc.flags.config)) {
			t.Errorf("%v: %+v", tc.flags, c)
		}
		if c.Install.IsLive() != (tc.flags.installer != "") || c.Install.Disk != "" && c.Install.Disk != tc.flags.installer {
			t.Errorf("%v: %+v", tc.flags, c.Install)
		}
		if tc.flags.config == "" && !strings.HasPrefix(string(document), string(disk.ExampleConfig)) {
			t.Error("the example's comments are lost")
		}
	}
	// The image for any network is the same whatever the current network is.
	if document, err := (&bakedFlags{}).document(newImageBuildCommand(), []byte("base")); document != nil || err != nil {
		t.Errorf("%q, %v", document, err)
	}
	member := f.write("member", "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\nhostname: cellar\nmembership: {peers: [10.0.0.1]}")
	f.refused("", "image build --network home --config "+member, "has a membership already")
	f.refused("", "image build --hostname kitchen --config "+member, "says \"cellar\" already")
	f.refused("", "image build --hostname Kitchen!", "hostname")
	f.refused("", "image build --config "+f.write("mistaken", "hostnme: x"), "mistake")
	f.refused("", "image build --board qemu-amd64,pdp11", "no board \"pdp11\"")
	f.refused("", "image build --kernel-args init=/bin/sh", "would not start")
	f.run("network create other --operator ann --recipient " + f.recipient)
	f.refused("", "image build --network other --invite "+token, "wrong network")
	f.refused("", "image build --network other --invite "+f.write("bad", "x"), "mycelium invite > FILE")
	f.refused("", "image build --invite "+token, "--network NAME")
	f.refused("", "image build --network nothing", "mycelium network list")
}

func first(out, _ string) string { return out }

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
