package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// threeNodes: one server and two agents form a cluster from one network, one
// image and one invite. Then the life of a network: pods on all nodes reach each
// other, a configuration is applied, a support bundle holds no secret, a node is
// removed, reset, and becomes the first of another network beside the old one.
func threeNodes(t *testing.T, suite *lab.Suite) {
	s := newShell(t, suite)
	s.run("network", "create", "home", "--operator", "ann", "--recipient", recipient)
	machines := suite.Machines(t, lab.MachineSpec{
		Name: "three", Nodes: 3, Identity: qemu.Identity{Dir: s.networks(), Network: "home"},
	})
	must(t, "start three nodes", lab.BootAll(t.Context(), machines))
	eachReachesAll(t, machines)
	appliesConfiguration(t, s, machines[2])
	bundle := supportBundle(t, s, machines[0])
	removed := removes(t, s, machines)
	twoNetworks(t, s, machines, removed)
	must(t, "power off the first node", machines[0].PowerOff(t.Context()))
	holdsNoSecret(t, bundle, machines[0])
}

// recipient is an age recipient whose identity nobody needs: the root key of a
// test's network is not used again.
const recipient = "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg"

// spread is a DaemonSet with a Service on the node port that machines forward.
const spread = "spread"

// deploySpread runs the tests' server on every node.
func deploySpread(ctx context.Context, suite []*lab.Machine) error {
	for _, m := range suite {
		if err := m.LoadProbe(ctx); err != nil {
			return err
		}
	}
	cluster, err := suite[0].Cluster(ctx)
	if err != nil {
		return err
	}
	labels := map[string]string{"app": spread}
	pod := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "main", Image: lab.ProbeImage, ImagePullPolicy: corev1.PullNever, Command: []string{"/probe", "serve", "8080"},
		}}},
	}
	set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: spread}, Spec: appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: pod}}
	if _, err := cluster.Kube.AppsV1().DaemonSets("default").Create(ctx, set, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err = cluster.Kube.CoreV1().Services("default").Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: spread},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Selector: labels,
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080), NodePort: qemu.DemoPort}},
		},
	}, metav1.CreateOptions{})
	return err
}

// answers asks a machine's node port until pods of that many different nodes
// have answered.
func answers(ctx context.Context, m *lab.Machine, want int) error {
	port, ok := m.HostPort(qemu.DemoPort)
	if !ok {
		return errors.New("the node port is not forwarded")
	}
	seen := map[string]bool{}
	ctx, cancel := context.WithTimeoutCause(ctx, 5*time.Minute, fmt.Errorf("no answers of %d pods through %s", want, m.Name()))
	defer cancel()
	return lab.Poll(ctx, fmt.Sprintf("%d pods behind the port of %s", want, m.Name()), func(ctx context.Context) (bool, string, error) {
		body, err := lab.HTTPGet(ctx, fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err != nil {
			return false, fmt.Sprint(len(seen)), err
		}
		var answer struct{ Hostname string }
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			return false, body, err
		}
		seen[answer.Hostname] = true
		return len(seen) >= want, fmt.Sprint(len(seen)), nil
	})
}

// eachReachesAll: pods of all nodes answer through every node, and Kubernetes
// reads the logs of all.
func eachReachesAll(t *testing.T, machines []*lab.Machine) {
	t.Helper()
	must(t, "deploy", deploySpread(t.Context(), machines))
	for _, m := range machines {
		must(t, "answers", answers(t.Context(), m, len(machines)))
	}
	cluster, err := machines[0].Cluster(t.Context())
	must(t, "cluster", err)
	pods, err := cluster.Kube.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + spread})
	must(t, "pods", err)
	nodes := map[string]bool{}
	for _, p := range pods.Items {
		nodes[p.Spec.NodeName] = true
		_, err := cluster.Kube.CoreV1().Pods("default").GetLogs(p.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
		must(t, "log of "+p.Name, err)
		if a, err := netip.ParseAddr(p.Status.HostIP); err != nil || !netip.MustParsePrefix("100.64.0.0/10").Contains(a) {
			t.Errorf("pod %s is on the host %s, which is not on the mesh", p.Name, p.Status.HostIP)
		}
	}
	if len(nodes) != len(machines) {
		t.Errorf("pods on %d nodes, want %d", len(nodes), len(machines))
	}
}

// appliesConfiguration: what can change at once does, the rest waits for a
// reboot and says so; a dry run changes nothing, a wrong document is refused.
func appliesConfiguration(t *testing.T, s *shell, m *lab.Machine) {
	t.Helper()
	before, err := m.Status(t.Context())
	must(t, "status", err)
	document := "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\nhostname: renamed\ntime: {servers: [192.0.2.7]}\n" + networkOf(s.run("config", "get", "-n", m.Name()))
	file := filepath.Join(t.TempDir(), "node.yaml")
	must(t, "write", os.WriteFile(file, []byte(document), 0o600))
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	must(t, "write", os.WriteFile(wrong, []byte(document+"hostnam: x\n"), 0o600))
	if out, err := s.try("config", "apply", wrong, "-n", m.Name()); err == nil || !strings.Contains(out, "did you mean hostname?") {
		t.Errorf("a wrong document: %v\n%s", err, out)
	}
	dry := s.run("config", "apply", file, "-n", m.Name(), "--dry-run")
	for _, want := range []string{"hostname would change with the next boot", "time.servers would change at once"} {
		if !strings.Contains(dry, want) {
			t.Errorf("the dry run does not mention %q:\n%s", want, dry)
		}
	}
	asked := func() []string {
		client, err := m.Client(t.Context())
		must(t, "client", err)
		defer client.Close()
		status, err := client.Time(t.Context())
		must(t, "time", err)
		return status.Servers
	}
	if slices.Contains(asked(), "192.0.2.7") {
		t.Error("the dry run changed the time servers")
	}
	s.run("config", "apply", file, "-n", m.Name())
	if got := asked(); !slices.Equal(got, []string{"192.0.2.7"}) {
		t.Errorf("time servers %q", got)
	}
	after, err := m.Status(t.Context())
	must(t, "status", err)
	if after.BootID != before.BootID || after.Name != before.Name {
		t.Errorf("it has rebooted or changed its name at once: %s, %s", after.BootID, after.Name)
	}
	if !slices.ContainsFunc(after.Problems, func(p string) bool { return strings.Contains(p, "hostname") && strings.Contains(p, "reboot") }) {
		t.Errorf("no problem says that the host name waits for a reboot: %q", after.Problems)
	}
}

// networkOf returns the section network of a document.
func networkOf(document string) string {
	var section []string
	inside := false
	for line := range strings.SplitSeq(document, "\n") {
		if line != "" && line[0] != ' ' && line[0] != '-' {
			inside = strings.HasPrefix(line, "network:")
		}
		if inside {
			section = append(section, line)
		}
	}
	return strings.Join(section, "\n") + "\n"
}

// supportBundle fetches and decrypts a node's support bundle.
func supportBundle(t *testing.T, s *shell, m *lab.Machine) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bundle.tar.zst.age")
	s.run("support", "-n", m.Name(), "-O", file)
	sealed, err := os.ReadFile(file)
	must(t, "bundle", err)
	if !strings.HasPrefix(string(sealed), "age-encryption.org/") {
		t.Errorf("the bundle is not encrypted: it begins with %q", sealed[:min(40, len(sealed))])
	}
	s.run("support", "decrypt", file)
	text, err := lab.ReadTarZst(strings.TrimSuffix(file, ".age"))
	must(t, "unpack the bundle", err)
	for _, want := range []string{"boot phase done", "Kubernetes", "mycelium0"} {
		if !strings.Contains(text, want) {
			t.Errorf("the bundle does not hold %q", want)
		}
	}
	return text
}

// holdsNoSecret: nothing that is secret on the node's disk stands in the bundle.
func holdsNoSecret(t *testing.T, bundle string, m *lab.Machine) {
	t.Helper()
	disk, err := m.Disk()
	must(t, "disk", err)
	defer func() { _ = disk.Close() }()
	secrets := map[string]string{}
	for label, globs := range map[string][]string{
		"STATE": {"/mycelium/local.key", "/mycelium/node.age", "/mycelium/network/issuer.age", "/mycelium/k3s-node-password"},
		"DATA":  {"/lib/mycelium/k3s-token", "/lib/rancher/k3s/server/token", "/lib/rancher/k3s/server/tls/server-ca.key", "/lib/rancher/k3s/server/tls/service.key"},
	} {
		partition, err := disk.Partition(label)
		must(t, label, err)
		for _, name := range globs {
			content, err := partition.ReadFile(t.Context(), name)
			must(t, name+" on "+label, err)
			secrets[name] = string(content)
		}
	}
	for name, content := range secrets {
		lines := 0
		for line := range strings.SplitSeq(content, "\n") {
			if line = strings.TrimSpace(line); len(line) < 20 || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "-----") {
				continue
			}
			lines++
			if strings.Contains(bundle, line) {
				t.Errorf("the bundle holds a line of %s", name)
			}
		}
		if lines == 0 {
			t.Errorf("%s holds nothing to look for: %q", name, content)
		}
	}
	for _, pattern := range []string{`K10[0-9a-f]{64}::`, `AGE-SECRET-KEY-1`, `mycinvite1[a-z0-9]{20}`, `PRIVATE KEY-----\n[A-Za-z0-9+/]{20}`} {
		if found := regexp.MustCompile(pattern).FindString(bundle); found != "" {
			t.Errorf("the bundle holds %q", found)
		}
	}
}

// removes takes the last machine out of the network for good.
func removes(t *testing.T, s *shell, machines []*lab.Machine) *lab.Machine {
	t.Helper()
	m, rest := machines[len(machines)-1], machines[:len(machines)-1]
	client, err := m.Client(t.Context()) // the operator still reaches it
	must(t, "client", err)
	defer client.Close()
	s.run("node", "remove", m.Name(), "--yes")
	cluster, err := machines[0].Cluster(t.Context())
	must(t, "cluster", err)
	nodes, err := cluster.Kube.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	must(t, "nodes", err)
	if len(nodes.Items) != len(rest) {
		t.Errorf("%d nodes are left in Kubernetes, want %d", len(nodes.Items), len(rest))
	}
	for _, other := range rest {
		_, err := other.WaitStatus(t.Context(), "it has dropped the removed node", func(st *api.Status) (bool, string) {
			return len(st.Membership.Peers) == len(rest)-1, fmt.Sprintf("%+v", st.Membership.Peers)
		})
		must(t, other.Name(), err)
		must(t, "answers", answers(t.Context(), other, len(rest)))
	}
	must(t, "the removed node learns of it", lab.Poll(t.Context(), "state removed", func(ctx context.Context) (bool, string, error) {
		st, err := client.Status(ctx)
		if err != nil {
			return false, "", err
		}
		return st.Membership.State == api.Removed, fmt.Sprintf("%+v, %q", st.Membership, st.Problems), nil
	}))
	return m
}

// twoNetworks: the removed machine is reset and becomes the first of another
// network on the same segment. Nothing goes from one to the other.
func twoNetworks(t *testing.T, s *shell, machines []*lab.Machine, m *lab.Machine) {
	t.Helper()
	client, err := m.Client(t.Context())
	must(t, "client", err)
	defer client.Close()
	must(t, "reset", client.Reset(t.Context(), api.ResetAll, true))
	must(t, "off after the reset", m.Wait(within(t, 3*time.Minute)))
	must(t, "configure", withoutInvite(m))
	must(t, "start", m.Start(t.Context()))
	enrolment, err := m.WaitEvent(t.Context(), "a new key after the reset", func(e api.ConsoleEvent) bool { return e.Kind == api.EventEnrolment })
	must(t, "reset", err)
	s.run("network", "create", "other", "--operator", "bob", "--recipient", recipient)
	port, ok := m.HostPort(api.Port)
	if !ok {
		t.Fatal("the machine API is not forwarded")
	}
	capture := filepath.Join(t.TempDir(), "lan.pcap")
	stop, err := m.Capture(t.Context(), capture)
	must(t, "capture", err)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	if out, err := s.try("node", "enrol", address, "--network", "other", "--fingerprint", recipientKey); err == nil || !strings.Contains(out, "fingerprint") && !strings.Contains(out, enrolment.Text) {
		t.Errorf("enrolled with another fingerprint than the machine's: %v\n%s", err, out)
	}
	s.run("node", "enrol", address, "--network", "other", "--fingerprint", enrolment.Text)
	must(t, "the other network's node is Ready", lab.Poll(t.Context(), "Ready", func(context.Context) (bool, string, error) {
		out, err := s.try("node", "list", "--network", "other", "-o", "json")
		return err == nil && strings.Contains(out, `"ready": true`), out, nil
	}))
	if out, err := s.try("node", "status", "--network", "home", "-n", address); err == nil {
		t.Errorf("home's operator is answered by a node of the other network:\n%s", out)
	}
	must(t, "capture", stop(t.Context()))
	frames, err := lab.ReadCapture(capture)
	must(t, "capture", err)
	own := m.Spec().LANMAC
	foreign, talk := 0, 0
	for _, f := range frames {
		if f.From.String() != own {
			foreign++
		}
		// The segment is a hub: the other two are seen as well. What is left of
		// connections of the machine's former life ends in this one.
		if (f.From.String() == own || f.To.String() == own) && !f.Multicast() && !f.Neighbours() && !f.Continues() {
			if talk++; talk <= 5 {
				t.Errorf("the networks talk: a frame from %s to %s, type %#x: %x", f.From, f.To, f.Type, f.Data)
			}
		}
	}
	if talk > 0 {
		t.Errorf("the networks talk in %d of %d frames", talk, len(frames))
	}
	if foreign == 0 {
		t.Errorf("none of %d frames is another machine's: the capture proves nothing", len(frames))
	}
	for _, other := range machines[:2] {
		st, err := other.Status(t.Context())
		must(t, "status", err)
		if len(st.Membership.Peers) != 1 || !st.Kubernetes.NodeReady {
			t.Errorf("%s: %+v", other.Name(), st.Membership)
		}
	}
}

// withoutInvite takes the invite out of the machine's configuration, as its owner
// would before it goes to somebody else.
func withoutInvite(m *lab.Machine) error {
	c, err := config.Parse(m.Spec().Config)
	if err != nil {
		return err
	}
	c.Membership = config.Membership{}
	document, err := c.Document()
	if err != nil {
		return err
	}
	return m.Change(func(s *qemu.NodeSpec) { s.Config = document })
}

// recipientKey is a public key that is no machine's.
const recipientKey = "mycpub1amkk48c7lm0un3uztgl6pu3det65arx3djjsdd0xpd5hrvuv48jslwjfvk"

// threeServers: three servers survive the loss of any one, the API and the
// workload stay up, and the lost one comes back.
func threeServers(t *testing.T, suite *lab.Suite) {
	machines := suite.Machines(t, lab.MachineSpec{Name: "servers", Nodes: 3, Servers: 3, Node: qemu.NodeSpec{CPUs: 1}})
	must(t, "start three servers", lab.BootAll(t.Context(), machines))
	must(t, "deploy", deploySpread(t.Context(), machines))
	for _, m := range machines {
		must(t, "answers", answers(t.Context(), m, 3))
	}
	for i, lost := range machines {
		other := machines[(i+1)%3]
		cluster, err := other.Cluster(t.Context())
		must(t, "cluster", err)
		must(t, "power cut", lost.Kill(t.Context()))
		began := time.Now()
		must(t, "the API takes writes without "+lost.Name(), lab.Poll(t.Context(), "a write", func(ctx context.Context) (bool, string, error) {
			_, err := cluster.Kube.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "without-" + lost.Name()}}, metav1.CreateOptions{})
			return err == nil, "", err
		}))
		suite.Times.Note(t, "write without %s %.1f s", lost.Name(), time.Since(began).Seconds())
		must(t, "the workload without "+lost.Name(), answers(t.Context(), other, 2))
		_, err = lost.Boot(t.Context())
		must(t, lost.Name()+" comes back", err)
	}
	cluster, err := machines[0].Cluster(t.Context())
	must(t, "cluster", err)
	for _, lost := range machines {
		_, err := cluster.Kube.CoreV1().ConfigMaps("default").Get(t.Context(), "without-"+lost.Name(), metav1.GetOptions{})
		must(t, "what was written without "+lost.Name(), err)
	}
}
