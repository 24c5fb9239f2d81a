package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// must returns v or ends the test.
func must[T any](t *testing.T, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func authority(t *testing.T, name string) *Authority {
	t.Helper()
	a, err := NewAuthority(name)
	return must(t, a, err)
}

// node serves handler as the node name of authority a does, to clients of
// authority clients, and returns its address.
func node(t *testing.T, a, clients *Authority, name string, handler http.Handler) string {
	t.Helper()
	pair, err := a.Node(name, net.IPv4(10, 77, 0, 1))
	must(t, pair, err)
	cert, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	must(t, cert, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(clients.Pair().Certificate)
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = nil
	server.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func client(t *testing.T, address, name string, trust, own *Authority) *Client {
	t.Helper()
	operator, err := own.Operator("operator")
	must(t, operator, err)
	c, err := NewClient(ClientConfig{Address: address, ServerName: name, CA: trust.Pair().Certificate, Operator: operator})
	must(t, c, err)
	t.Cleanup(c.Close)
	return c
}

// stub is a machine API with fixed answers.
func stub() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		enc := json.NewEncoder(w)
		_ = enc.Encode(Status{Name: "node-1", Phase: "network"})
		if r.URL.Query().Get("watch") == "true" {
			_ = enc.Encode(Status{Name: "node-1", Phase: "running"})
		}
	})
	mux.HandleFunc("GET /v1/kubeconfig", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "kind: Config") })
	mux.HandleFunc("GET /v1/logs", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `["kernel","k3s"]`) })
	mux.HandleFunc("GET /v1/logs/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s follow=%s tail=%s", r.PathValue("name"), r.URL.Query().Get("follow"), r.URL.Query().Get("tail"))
	})
	mux.HandleFunc("PUT /v1/images/{file}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "archive" || r.PathValue("file") != "a b.tar" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error": "not an archive"}`)
		}
	})
	mux.HandleFunc("POST /v1/reboot", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	mux.HandleFunc("POST /v1/shutdown", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "busy", http.StatusConflict) })
	return mux
}

func TestClient(t *testing.T) {
	a := authority(t, "home")
	c := client(t, node(t, a, a, "node-1", stub()), "node-1", a, a)
	ctx := t.Context()

	if s, err := c.Status(ctx); err != nil || s.Phase != "network" {
		t.Errorf("status %+v, %v", s, err)
	}
	if data, err := c.Kubeconfig(ctx); err != nil || string(data) != "kind: Config" {
		t.Errorf("kubeconfig %q, %v", data, err)
	}
	if names, err := c.Logs(ctx); err != nil || strings.Join(names, " ") != "kernel k3s" {
		t.Errorf("logs %v, %v", names, err)
	}
	if err := c.LoadImage(ctx, "a b.tar", strings.NewReader("archive")); err != nil {
		t.Error(err)
	}
	if err := c.Reboot(ctx); err != nil {
		t.Error(err)
	}
	log, err := c.Log(ctx, "k3s", LogOptions{Follow: true, Tail: 5})
	must(t, log, err)
	text, err := io.ReadAll(log)
	if err != nil || string(text) != "k3s follow=true tail=5" {
		t.Errorf("log %q, %v", text, err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}

func TestClientWatch(t *testing.T) {
	a := authority(t, "home")
	c := client(t, node(t, a, a, "node-1", stub()), "node-1", a, a)
	var phases []string
	err := c.WatchStatus(t.Context(), func(s *Status) error { phases = append(phases, s.Phase); return nil })
	if !errors.Is(err, io.EOF) || strings.Join(phases, " ") != "network running" {
		t.Errorf("phases %v, %v", phases, err)
	}
	stop := errors.New("enough")
	if err := c.WatchStatus(t.Context(), func(*Status) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped watch: %v", err)
	}
}

func TestClientReportsTheNodesWords(t *testing.T) {
	a := authority(t, "home")
	c := client(t, node(t, a, a, "node-1", stub()), "node-1", a, a)
	for want, err := range map[string]error{
		"400 Bad Request: not an archive": c.LoadImage(t.Context(), "x", strings.NewReader("")),
		"409 Conflict: busy":              c.Shutdown(t.Context()),
	} {
		var status *StatusError
		if !errors.As(err, &status) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestStrangersAreKeptOut(t *testing.T) {
	home, other := authority(t, "home"), authority(t, "other")
	served := false
	address := node(t, home, home, "node-1", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = true }))
	tests := []struct {
		name   string
		client *Client
	}{
		{"operator of another network", client(t, address, "node-1", home, other)},
		{"node of another network", client(t, address, "node-1", other, home)},
		{"another node's name", client(t, address, "node-2", home, home)},
	}
	for _, tt := range tests {
		if _, err := tt.client.Status(t.Context()); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(home.Pair().Certificate)
	for name, cfg := range map[string]*tls.Config{
		"no certificate": {RootCAs: roots, ServerName: "node-1", MinVersion: tls.VersionTLS13},
		"TLS 1.2":        {RootCAs: roots, ServerName: "node-1", MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12},
	} {
		stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/v1/status", nil)
		must(t, req, err)
		if resp, err := stranger.Do(req); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s: no error", name)
		}
	}
	if served {
		t.Error("a stranger's request was served")
	}
}

func TestANodesCertificateIsNoOperators(t *testing.T) {
	a := authority(t, "home")
	address := node(t, a, a, "node-1", stub())
	pair, err := a.Node("node-2")
	must(t, pair, err)
	c, err := NewClient(ClientConfig{Address: address, ServerName: "node-1", CA: a.Pair().Certificate, Operator: pair})
	must(t, c, err)
	defer c.Close()
	if _, err := c.Status(t.Context()); err == nil {
		t.Error("a node's server certificate was taken for an operator's")
	}
}

func TestCertificatesHoldInEveryYear(t *testing.T) {
	a := authority(t, "home")
	pair, err := a.Node("node-1", net.IPv4(10, 77, 0, 1))
	must(t, pair, err)
	both, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	must(t, both, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.Pair().Certificate)
	for _, year := range []int{1970, 2026, 2040, 2099} {
		now := time.Date(year, 1, 1, 0, 0, 1, 0, time.UTC)
		for _, name := range []string{"node-1", "127.0.0.1", "10.77.0.1"} {
			if _, err := both.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, DNSName: name}); err != nil {
				t.Errorf("%s in %d: %v", name, year, err)
			}
		}
	}
}

func TestPairFiles(t *testing.T) {
	a := authority(t, "home")
	dir := filepath.Join(t.TempDir(), "pki")
	if err := WritePair(dir, "ca", a.Pair()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{"": 0o700, "ca.key": 0o600, "ca.crt": 0o600} {
		info, err := os.Stat(filepath.Join(dir, path))
		must(t, info, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	pair, err := ReadPair(dir, "ca")
	must(t, pair, err)
	again, err := ParseAuthority(pair)
	must(t, again, err)
	c := client(t, node(t, again, a, "node-1", stub()), "node-1", a, again)
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("the authority that was read back is another: %v", err)
	}
}

func TestParseAuthorityRefusals(t *testing.T) {
	a := authority(t, "home")
	operator, err := a.Operator("operator")
	must(t, operator, err)
	for name, pair := range map[string]KeyPair{
		"not an authority": operator,
		"another's key":    {Certificate: a.Pair().Certificate, Key: operator.Key},
		"nothing":          {},
	} {
		if _, err := ParseAuthority(pair); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestKeysDoNotReachLogs(t *testing.T) {
	pair := authority(t, "home").Pair()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, pair); strings.Contains(text, "PRIVATE") || strings.Contains(text, "45 45") {
			t.Errorf("%s shows the key", verb)
		}
	}
}

func TestNewClientRefusals(t *testing.T) {
	a := authority(t, "home")
	operator, err := a.Operator("operator")
	must(t, operator, err)
	for name, cfg := range map[string]ClientConfig{
		"no authority": {Operator: operator},
		"no operator":  {CA: a.Pair().Certificate},
	} {
		if _, err := NewClient(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestClientEndsWithContext(t *testing.T) {
	a := authority(t, "home")
	release := make(chan struct{})
	defer close(release)
	c := client(t, node(t, a, a, "node-1", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })), "node-1", a, a)
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func FuzzStatusError(f *testing.F) {
	f.Add([]byte(`{"error": "x"}`), 400)
	f.Fuzz(func(t *testing.T, body []byte, code int) {
		err := statusError(&http.Response{StatusCode: code, Body: io.NopCloser(bytes.NewReader(body))})
		if err == nil || err.Error() == "" {
			t.Fatal("no error")
		}
	})
}
