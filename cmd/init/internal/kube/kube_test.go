package kube

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func testServer(t *testing.T, answers map[string]string) *Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if body == "" {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	return NewClient(Credentials{Server: srv.URL})
}

func TestNodeReady(t *testing.T) {
	tests := []struct {
		body   string
		ready  bool
		reason string
		failed bool
	}{
		{`{"status":{"conditions":[{"type":"MemoryPressure","status":"False"},{"type":"Ready","status":"True","reason":"KubeletReady"}]}}`, true, "", false},
		{`{"status":{"conditions":[{"type":"Ready","status":"False","reason":"KubeletNotReady","message":"network plugin is not ready"}]}}`, false, "network plugin is not ready", false},
		{`{"status":{"conditions":[{"type":"Ready","status":"Unknown","reason":"NodeStatusUnknown"}]}}`, false, "NodeStatusUnknown", false},
		{`{"status":{}}`, false, "the kubelet has not reported yet", false},
		{`{`, false, "", true},
		{``, false, "", true},
	}
	for _, tt := range tests {
		c := testServer(t, map[string]string{"/api/v1/nodes/n1": tt.body})
		ready, reason, err := c.NodeReady(context.Background(), "n1")
		if ready != tt.ready || reason != tt.reason || (err != nil) != tt.failed {
			t.Errorf("%s: %v, %q, %v", tt.body, ready, reason, err)
		}
	}
	c := testServer(t, nil)
	if _, _, err := c.NodeReady(context.Background(), "n1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unregistered node: %v", err)
	}
}

func TestPods(t *testing.T) {
	c := testServer(t, map[string]string{"/api/v1/pods": `{"kind":"Table","columnDefinitions":[{"name":"Name"},{"name":"Ready"},{"name":"Status"}],
		"rows":[{"cells":["a","1/1","Running"]},{"cells":["b","0/1","ContainerCreating"]},{"cells":["c"]}]}`})
	running, total, err := c.Pods(context.Background(), "n1")
	if running != 1 || total != 3 || err != nil {
		t.Errorf("%d of %d, %v", running, total, err)
	}
}

func TestReadyAndVersion(t *testing.T) {
	c := testServer(t, map[string]string{"/readyz": "ok", "/version": `{"gitVersion":"v1.35.1+k3s1"}`})
	if err := c.Ready(context.Background()); err != nil {
		t.Error(err)
	}
	if v, err := c.Version(context.Background()); v != "v1.35.1+k3s1" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if err := testServer(t, map[string]string{"/readyz": ""}).Ready(context.Background()); err == nil {
		t.Error("a failing server is ready")
	}
}

func kubeconfigFor(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	enc := func(kind string, b []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	cert := enc("CERTIFICATE", der)
	return fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters:\n- name: default\n  cluster:\n    server: https://127.0.0.1:6443\n    certificate-authority-data: %s\nusers:\n- name: default\n  user:\n    client-certificate-data: %s\n    client-key-data: %s\n", cert, cert, enc("PRIVATE KEY", kb))
}

func TestParseKubeconfig(t *testing.T) {
	good := kubeconfigFor(t)
	c, err := ParseKubeconfig([]byte(good))
	if err != nil || c.Server != "https://127.0.0.1:6443" || len(c.TLS.Certificates) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	for name, doc := range map[string]string{
		"empty":     "",
		"garbage":   "\x00",
		"no data":   "clusters: [{cluster: {server: x}}]\nusers: [{user: {}}]\n",
		"no base64": strings.Replace(good, "client-key-data: ", "client-key-data: '!'#", 1),
		"cut":       good[:len(good)/2],
	} {
		if _, err := ParseKubeconfig([]byte(doc)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzParseKubeconfig(f *testing.F) {
	f.Add([]byte("clusters: [{cluster: {server: x}}]\nusers: [{user: {}}]\n"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseKubeconfig(b) })
}
