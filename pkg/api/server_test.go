package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// fakeNode is a Node in memory.
type fakeNode struct {
	mu      sync.Mutex
	status  Status
	changed chan struct{}
	log     []string
	more    chan struct{}
	images  map[string]string
	err     error
	ended   []string
}

func newFakeNode() *fakeNode {
	return &fakeNode{status: Status{Name: "n1"}, changed: make(chan struct{}), more: make(chan struct{}), images: map[string]string{}}
}

func (n *fakeNode) Status() (Status, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status, n.changed
}

func (n *fakeNode) rename(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status.Name = name
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *fakeNode) Kubeconfig() ([]byte, error) { return []byte("kind: Config\n"), n.err }
func (n *fakeNode) LogNames() []string          { return []string{"init", "kernel"} }
func (n *fakeNode) Reboot()                     { n.ended = append(n.ended, "reboot") }
func (n *fakeNode) Shutdown()                   { n.ended = append(n.ended, "shutdown") }

func (n *fakeNode) Log(name string) (Log, error) {
	if name != "init" {
		return nil, fmt.Errorf("log %s: %w", name, ErrNotFound)
	}
	return n, nil
}

func (n *fakeNode) append(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log = append(n.log, line)
	close(n.more)
	n.more = make(chan struct{})
}

func (n *fakeNode) Tail(lines int) ([]byte, int64, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	from := 0
	if lines >= 0 {
		from = max(0, len(n.log)-lines)
	}
	return []byte(strings.Join(n.log[from:], "")), int64(len(n.log)), n.more
}

func (n *fakeNode) Since(position int64) ([]byte, int64, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return []byte(strings.Join(n.log[position:], "")), int64(len(n.log)), n.more
}

func (n *fakeNode) PutImage(_ context.Context, name string, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	n.images[name] = string(b)
	return n.err
}

func request(t *testing.T, n Node, method, path, body string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(n, slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestServerAnswers(t *testing.T) {
	tests := []struct {
		method, path string
		err          error
		code         int
		body         string
	}{
		{"GET", "/v1/status", nil, 200, `"name":"n1"`},
		{"GET", "/v1/kubeconfig", nil, 200, "kind: Config"},
		{"GET", "/v1/kubeconfig", fmt.Errorf("k3s: %w", ErrNotYet), 503, `{"error":"k3s: not yet"}`},
		{"GET", "/v1/logs", nil, 200, `["init","kernel"]`},
		{"GET", "/v1/logs/init", nil, 200, "one\ntwo\n"},
		{"GET", "/v1/logs/init?tail=1", nil, 200, "two\n"},
		{"GET", "/v1/logs/init?tail=-1", nil, 400, "tail must be"},
		{"GET", "/v1/logs/x", nil, 404, `{"error":"log x: not found"}`},
		{"GET", "/v1/logs/..%2f..%2fetc%2fpasswd", nil, 404, "not found"},
		{"PUT", "/v1/images/hello.tar", nil, 204, ""},
		{"PUT", "/v1/images/hello.tar", fmt.Errorf("x: %w", ErrFull), 507, "disk full"},
		{"PUT", "/v1/images/hello.tar", errors.New("broken"), 500, "broken"},
		{"PUT", "/v1/images/hello.txt", nil, 400, "no name of an image archive"},
		{"PUT", "/v1/images/..%2fhello.tar", nil, 400, "no name of an image archive"},
		{"POST", "/v1/reboot", nil, 202, ""},
		{"POST", "/v1/shutdown", nil, 202, ""},
		{"GET", "/v1/reboot", nil, 404, "no such resource"},
		{"GET", "/", nil, 404, "no such resource"},
	}
	for _, tt := range tests {
		n := newFakeNode()
		n.log, n.err = []string{"one\n", "two\n"}, tt.err
		r := request(t, n, tt.method, tt.path, "archive")
		if body := text(t, r); r.StatusCode != tt.code || !strings.Contains(body, tt.body) {
			t.Errorf("%s %s: %d %q, want %d with %q", tt.method, tt.path, r.StatusCode, body, tt.code, tt.body)
		}
		switch tt.code {
		case 202:
			if len(n.ended) != 1 || !strings.HasSuffix(tt.path, n.ended[0]) {
				t.Errorf("%s: did %v", tt.path, n.ended)
			}
		case 204:
			if n.images["hello.tar"] != "archive" {
				t.Errorf("stored %v", n.images)
			}
		}
	}
}

func TestValidImageName(t *testing.T) {
	for name, want := range map[string]bool{
		"a.tar": true, "a.tar.zst": true, "A-b_c.1.tar": true,
		"": false, ".tar": false, "-a.tar": false, "a.tar.gz": false, "a/b.tar": false, "..": false, "a\x00.tar": false, "a.tar\n": false,
		strings.Repeat("a", 130) + ".tar": false,
	} {
		if got := ValidImageName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestImageTooLarge(t *testing.T) {
	r := httptest.NewRequest("PUT", "/v1/images/a.tar", strings.NewReader("x"))
	r.ContentLength = MaxImageSize + 1
	w := httptest.NewRecorder()
	Handler(newFakeNode(), slog.New(slog.DiscardHandler)).ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", w.Code)
	}
}

// serve starts a real server for n on the loopback and returns its address and
// the authority that clients must come from.
func serve(t *testing.T, n Node) (string, *Authority) {
	t.Helper()
	authority, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Node("n1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(ServerConfig{CA: authority.Pair().Certificate, Certificate: pair.Certificate, Key: pair.Key}, n, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), authority
}

// httpClient trusts authority; its certificate, if any, is from clients.
func httpClient(t *testing.T, authority, clients *Authority, maxVersion uint16) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority.Pair().Certificate)
	cfg := &tls.Config{RootCAs: pool, ServerName: "n1", MaxVersion: maxVersion}
	if clients != nil {
		pair, err := clients.Operator("op")
		if err != nil {
			t.Fatal(err)
		}
		c, err := tls.X509KeyPair(pair.Certificate, pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{c}
	}
	tr := &http.Transport{TLSClientConfig: cfg}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestServerAuthenticates(t *testing.T) {
	addr, authority := serve(t, newFakeNode())
	stranger, err := NewAuthority("stranger")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		client *http.Client
		ok     bool
	}{
		{"operator", httpClient(t, authority, authority, 0), true},
		{"nobody", httpClient(t, authority, nil, 0), false},
		{"stranger", httpClient(t, authority, stranger, 0), false},
		{"old TLS", httpClient(t, authority, authority, tls.VersionTLS12), false},
	}
	for _, tt := range tests {
		r, err := tt.client.Get("https://" + addr + "/v1/status")
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err == nil {
			_ = r.Body.Close()
		}
	}
}

func TestServerRefusesNodesAsClients(t *testing.T) {
	addr, authority := serve(t, newFakeNode())
	pair, err := authority.Node("n2")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	client := httpClient(t, authority, nil, 0)
	client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{cert}
	if r, err := client.Get("https://" + addr + "/v1/status"); err == nil {
		_ = r.Body.Close()
		t.Error("a server's certificate was taken for a client's")
	}
}

func TestWatchStatus(t *testing.T) {
	n := newFakeNode()
	addr, authority := serve(t, n)
	r, err := httpClient(t, authority, authority, 0).Get("https://" + addr + "/v1/status?watch=true")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	dec := json.NewDecoder(r.Body)
	for _, name := range []string{"n1", "n2", "n3"} {
		var s Status
		if err := dec.Decode(&s); err != nil || s.Name != name {
			t.Fatalf("%q, %v, want %q", s.Name, err, name)
		}
		n.rename("n" + string(name[1]+1))
	}
}

func TestFollowLog(t *testing.T) {
	n := newFakeNode()
	n.append("one\n")
	addr, authority := serve(t, n)
	r, err := httpClient(t, authority, authority, 0).Get("https://" + addr + "/v1/logs/init?follow=true&tail=1")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewReader(r.Body)
	for _, want := range []string{"one\n", "two\n", "three\n"} {
		got, err := lines.ReadString('\n')
		if err != nil || got != want {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
		n.append(map[string]string{"one\n": "two\n", "two\n": "three\n", "three\n": "four\n"}[want])
	}
}

func TestClientAndServer(t *testing.T) {
	n := newFakeNode()
	addr, authority := serve(t, n)
	op, err := authority.Operator("op")
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(ClientConfig{Address: addr, ServerName: "n1", CA: authority.Pair().Certificate, Operator: op})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := context.Background()
	if s, err := c.Status(ctx); err != nil || s.Name != "n1" {
		t.Errorf("status %+v, %v", s, err)
	}
	big := bytes.Repeat([]byte("x"), 3<<20)
	if err := c.LoadImage(ctx, "big.tar", bytes.NewReader(big)); err != nil || len(n.images["big.tar"]) != len(big) {
		t.Errorf("image of %d bytes, %v", len(n.images["big.tar"]), err)
	}
	if err := c.Reboot(ctx); err != nil {
		t.Error(err)
	}
}

func TestLimitListener(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limitListener(inner, 1)
	for range 2 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = c.Close()
		}
		second <- err
	}()
	select {
	case err := <-second:
		t.Fatalf("a second connection was taken: %v", err)
	default:
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil {
		t.Errorf("after the first ended: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("a closed listener accepts")
	}
}
