package qemu

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
)

// pretend makes a node whose QEMU is a child process of the test's, whose
// console is a file, and whose machine API is a server of the test's.
func pretend(t *testing.T, handler http.Handler) *Node {
	t.Helper()
	dir := t.TempDir()
	authority, err := api.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	operator, err := authority.Operator("operator")
	if err != nil {
		t.Fatal(err)
	}
	pki := filepath.Join(dir, "pki")
	if err := errors.Join(api.WritePair(pki, "ca", authority.Pair()), api.WritePair(pki, "operator", operator)); err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Node("node-1")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(authority.Pair().Certificate)
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	server.StartTLS()
	t.Cleanup(server.Close)
	port := server.Listener.Addr().(*net.TCPAddr).Port
	n, err := newNode(NodeSpec{
		Name: "node-1", Dir: dir, PKI: pki,
		Forwards: []Forward{{Guest: api.Port, Host: port}, {Guest: KubernetesPort, Host: 4000}},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, p := child(t)
	if err := writeRun(n.path(processFile), run{process: p, Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return n
}

func say(t *testing.T, n *Node, text string) {
	t.Helper()
	f, err := os.OpenFile(n.ConsolePath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestObserver(t *testing.T) {
	var status atomic.Pointer[api.Status]
	n := pretend(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := status.Load()
		if s == nil {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(s)
	}))
	o, err := n.Observe()
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	look := func(wantStage string) Observation {
		t.Helper()
		seen, err := o.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if seen.Stage() != wantStage {
			t.Fatalf("stage %q (API: %v), want %q", seen.Stage(), seen.Err, wantStage)
		}
		return seen
	}

	look("firmware")
	say(t, n, "mycelium: init 0.1.0 started\r\nmycelium: phase mounts ok 0.1s\r\n")
	if seen := look("mounts done"); seen.Err == nil {
		t.Error("the API's refusal is not reported")
	}
	status.Store(&api.Status{Phase: "running", Services: []api.Service{{Name: "k3s", State: "backoff", LastError: "exit status 1"}}})
	if p := look("Kubernetes API starting").Problems(); len(p) != 1 || !strings.Contains(p[0], "k3s") {
		t.Errorf("problems %q", p)
	}
	status.Store(&api.Status{Phase: "running", Kubernetes: api.Kubernetes{APIUp: true, NodeReady: true}})
	if seen := look("Ready"); !WaitReady.Met(seen) || !WaitAPI.Met(seen) {
		t.Error("a Ready node does not meet the conditions")
	}
	status.Store(nil)
	say(t, n, "mycelium: init 0.1.0 started\r\n") // it rebooted: the old status is of no worth
	if seen := look("init"); WaitReady.Met(seen) {
		t.Error("the status of the boot before counts")
	}
}

func TestUntilTellsWhatWasSeen(t *testing.T) {
	n := pretend(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(api.Status{Phase: "running", Problems: []string{"no network: plug in the cable"}})
	}))
	say(t, n, "mycelium: init 0.1.0 started\r\nmycelium: problem: no network\r\n")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := n.Until(ctx, WaitReady, func(o Observation) {
		if o.Status != nil {
			cancel()
		}
	})
	for _, want := range []string{"node-1 did not become ready", "plug in the cable", "Kubernetes API starting", "mycelium: problem: no network"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not hold %q", err, want)
		}
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v is not the context's", err)
	}
}

func TestNodeKubeconfig(t *testing.T) {
	n := pretend(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("clusters:\n- cluster:\n    server: https://127.0.0.1:6443\n"))
	}))
	data, err := n.Kubeconfig(t.Context())
	if err != nil || !strings.Contains(string(data), "https://127.0.0.1:4000") {
		t.Fatalf("%s, %v", data, err)
	}
	kept, err := os.ReadFile(n.KubeconfigPath())
	if err != nil || string(kept) != string(data) {
		t.Fatalf("kept %s, %v", kept, err)
	}
}

func TestParseCondition(t *testing.T) {
	for _, s := range []string{"ready", "api", "none"} {
		if c, err := ParseCondition(s); err != nil || string(c) != s {
			t.Errorf("%q: %v, %v", s, c, err)
		}
	}
	if _, err := ParseCondition("never"); err == nil {
		t.Error("no error")
	}
}
