package kubeproxy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/kube"
	"github.com/digital-mycelium/os/pkg/identity"
)

// seen is a request as Kubernetes got it.
type seen struct {
	certificate string // common name of the client's; "" for none
	method, uri string
	header      http.Header
	body        string
}

// kubernetes is an API server that hands on what it gets and answers by handler.
func kubernetes(t *testing.T, handler http.HandlerFunc) (*httptest.Server, <-chan seen) {
	t.Helper()
	requests := make(chan seen, 100)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := seen{method: r.Method, uri: r.RequestURI, header: r.Header.Clone()}
		if certs := r.TLS.PeerCertificates; len(certs) > 0 {
			s.certificate = certs[0].Subject.CommonName
		}
		if handler == nil {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			s.body = string(b)
			requests <- s
			return
		}
		requests <- s
		handler(w, r)
	}))
	srv.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv, requests
}

// clientPair is a client certificate, as PEM.
func clientPair(t *testing.T, name string) (certificate, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb})
}

// writeKubeconfig makes the administrator's kubeconfig for srv.
func writeKubeconfig(t *testing.T, path string, srv *httptest.Server, client string, at time.Time) {
	t.Helper()
	certificate, key := clientPair(t, client)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	e := base64.StdEncoding.EncodeToString
	doc := fmt.Sprintf("clusters:\n- cluster: {server: %q, certificate-authority-data: %s}\nusers:\n- user: {client-certificate-data: %s, client-key-data: %s}\n",
		srv.URL, e(ca), e(certificate), e(key))
	if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

type callerKey struct{}

// node is the machine API's part: it says who calls by a header of its own.
func node(t *testing.T, path string, target func() string) *httptest.Server {
	t.Helper()
	handler := New(Config{
		Credentials: kube.NewSource(path).Credentials,
		Target:      target,
		Caller: func(ctx context.Context) (string, string, identity.APIRole) {
			role, _ := ctx.Value(callerKey{}).(identity.APIRole)
			return "ann", "mycpub1ann", role
		},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var role identity.APIRole
		if err := role.UnmarshalText([]byte(r.Header.Get("Test-Role"))); err != nil {
			t.Error(err)
		}
		r.Header.Del("Test-Role")
		handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, role)))
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

// both starts Kubernetes and a node before it.
func both(t *testing.T, handler http.HandlerFunc) (*httptest.Server, <-chan seen) {
	t.Helper()
	k, requests := kubernetes(t, handler)
	path := filepath.Join(t.TempDir(), "k3s.yaml")
	writeKubeconfig(t, path, k, "admin", time.Now())
	return node(t, path, nil), requests
}

// oldClient speaks HTTP/1.1.
func oldClient(t *testing.T, srv *httptest.Server) *http.Client {
	config := srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"http/1.1"}
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// call speaks HTTP/2, which has no Connection header, or HTTP/1.1.
func call(t *testing.T, srv *httptest.Server, role, method, path string, body io.Reader, header http.Header) *http.Response {
	t.Helper()
	if header.Get("Connection") != "" {
		return callBy(t, oldClient(t, srv), srv, role, method, path, body, header)
	}
	return callBy(t, srv.Client(), srv, role, method, path, body, header)
}

func callBy(t *testing.T, client *http.Client, srv *httptest.Server, role, method, path string, body io.Reader, header http.Header) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Test-Role", role)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestIdentity(t *testing.T) {
	srv, requests := both(t, nil)
	me := map[string][]string{"User": {"mycelium:ann"}, "Extra-Mycelium.os%2fkey": {"mycpub1ann"}}
	as := func(group string) map[string][]string {
		return map[string][]string{"User": me["User"], "Extra-Mycelium.os%2fkey": me["Extra-Mycelium.os%2fkey"], "Group": {group, "system:authenticated"}}
	}
	tests := []struct {
		name, role  string
		header      http.Header
		certificate string
		want        map[string][]string // Impersonate-...
	}{
		{"a reader", "reader", nil, "admin", as("mycelium:readers")},
		{"an operator", "operator", nil, "admin", as("mycelium:operators")},
		{"an admin", "admin", nil, "admin", as("system:masters")},
		{
			"an admin as somebody else", "admin",
			http.Header{"Impersonate-User": {"bob"}, "Impersonate-Group": {"g", "h"}, "Impersonate-Extra-Why": {"because"}, "Impersonate-Uid": {"7"}},
			"admin",
			map[string][]string{"User": {"bob"}, "Group": {"g", "h"}, "Extra-Why": {"because"}, "Uid": {"7"}},
		},
		{"an admin who drops the header on the way", "admin", http.Header{"Impersonate-User": {"bob"}, "Connection": {"Impersonate-User"}}, "admin", as("system:masters")},
		{"what the proxy says is not dropped on the way", "reader", http.Header{"Connection": {"Impersonate-User, Impersonate-Group", "impersonate-group"}}, "admin", as("mycelium:readers")},
		{"an authenticating proxy's headers", "reader", http.Header{"X-Remote-User": {"system:admin"}, "X-Remote-Group": {"system:masters"}, "X-Remote-Extra-Scopes": {"x"}, "X-Remote-Uid": {"1"}}, "admin", as("mycelium:readers")},
		{"a token", "reader", http.Header{"Authorization": {"Bearer x"}}, "", nil},
		{"a token of an admin", "admin", http.Header{"Authorization": {"Bearer x"}}, "", nil},
		{"an empty token", "admin", http.Header{"Authorization": {""}}, "", nil},
		{"a token that gets lost on the way", "reader", http.Header{"Authorization": {"Bearer x"}, "Connection": {"authorization"}}, "", nil},
		{"a token of a browser", "admin", http.Header{"Sec-Websocket-Protocol": {"v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.eA"}}, "", nil},
		{"an admin's token for somebody else", "admin", http.Header{"Authorization": {"Bearer x"}, "Impersonate-User": {"bob"}}, "", map[string][]string{"User": {"bob"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp := call(t, srv, tt.role, "GET", "/api/v1/nodes?limit=5", nil, tt.header)
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("answer %s", resp.Status)
			}
			got := <-requests
			if got.uri != "/api/v1/nodes?limit=5" || got.certificate != tt.certificate {
				t.Errorf("%s with the certificate %q, want %q", got.uri, got.certificate, tt.certificate)
			}
			for key, values := range got.header {
				if rest, ok := strings.CutPrefix(key, "Impersonate-"); ok {
					if !slices.Equal(values, tt.want[rest]) {
						t.Errorf("%s: %q, want %q", key, values, tt.want[rest])
					}
				}
				if strings.HasPrefix(key, "X-Remote-") {
					t.Errorf("%s got through", key)
				}
			}
			for key, values := range tt.want {
				if !slices.Equal(got.header["Impersonate-"+key], values) {
					t.Errorf("%s: %q, want %q", key, got.header["Impersonate-"+key], values)
				}
			}
			if auth, lost := tt.header.Get("Authorization"), tt.header.Get("Connection") == "authorization"; !lost && got.header.Get("Authorization") != auth {
				t.Errorf("Authorization %q, want %q", got.header.Get("Authorization"), auth)
			}
			if got.header.Get("Connection") != "" || got.header.Get("X-Forwarded-For") != "127.0.0.1" {
				t.Errorf("headers of the hop: %v", got.header)
			}
		})
	}
}

// refused checks for a Status object.
func refused(t *testing.T, resp *http.Response, code int, words string) {
	t.Helper()
	var s struct {
		Kind, APIVersion, Status, Message, Reason string
		Code                                      int
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatalf("%s: %v\n%s", resp.Status, err, b)
	}
	if resp.StatusCode != code || s.Code != code || s.Kind != "Status" || s.APIVersion != "v1" || s.Status != "Failure" || s.Reason == "" || !strings.Contains(s.Message, words) {
		t.Errorf("%s %s\nwant %d with %q", resp.Status, b, code, words)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("content type %q", ct)
	}
}

func TestRefusals(t *testing.T) {
	srv, requests := both(t, nil)
	for _, key := range []string{"Impersonate-User", "Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-Scopes", "impersonate-user", "IMPERSONATE-GROUP", "Impersonate-"} {
		for _, role := range []string{"reader", "operator"} {
			header := http.Header{key: {"system:masters"}}
			refused(t, call(t, srv, role, "GET", "/api", nil, header), http.StatusForbidden, "your role is "+role)
			refused(t, callBy(t, oldClient(t, srv), srv, role, "GET", "/api", nil, header), http.StatusForbidden, "your role is "+role)
		}
	}
	refused(t, call(t, srv, "operator", "GET", "/api", nil, http.Header{"Impersonate-User": {"x"}, "Connection": {"Impersonate-User"}}), http.StatusForbidden, "only admins")
	refused(t, call(t, srv, "reader", "GET", "/api", nil, http.Header{"Impersonate-User": {"x"}, "Authorization": {"Bearer x"}}), http.StatusForbidden, "only admins")
	refused(t, call(t, srv, "admin", "GET", "/api", nil, http.Header{"Impersonate-Group": {"x"}}), http.StatusBadRequest, "whom to act as")
	refused(t, call(t, srv, "admin", "GET", "/api", nil, http.Header{"Impersonate-User": {"", "x"}}), http.StatusBadRequest, "whom to act as")
	refused(t, call(t, srv, "none", "GET", "/api", nil, nil), http.StatusForbidden, "no access to Kubernetes")
	refused(t, call(t, srv, "none", "GET", "/api", nil, http.Header{"Authorization": {"Bearer x"}}), http.StatusForbidden, "no access to Kubernetes")
	// K3s' own API, which takes the certificate for what it is.
	for _, path := range []string{
		"/v1-k3s/config", "/v1-k3s", "/cacerts", "/ping", "/static/charts/x", "/db/info", "/%761-k3s/token", "//v1-k3s/token", "/api/../v1-k3s/token",
		"/api/%2e%2e/v1-k3s/token", "/./v1-k3s/token", "/apix", "/debug/pprof/", "/v1-k3s/../api", "/..",
	} {
		refused(t, call(t, srv, "admin", "GET", path, nil, nil), http.StatusNotFound, "no path of Kubernetes")
	}
	select {
	case got := <-requests:
		t.Errorf("Kubernetes got to see %+v", got)
	default:
	}
}

func TestConnectIsRefused(t *testing.T) {
	srv, requests := both(t, nil)
	for _, target := range []string{"example.org:443", "/", "/api"} {
		conn, err := tls.Dial("tcp", srv.Listener.Addr().String(), srv.Client().Transport.(*http.Transport).TLSClientConfig)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: x\r\nTest-Role: admin\r\n\r\n", target)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, resp, http.StatusMethodNotAllowed, "CONNECT")
	}
	if len(requests) > 0 {
		t.Errorf("Kubernetes got to see %+v", <-requests)
	}
}

func TestPathsArePassedOnAsTheyAre(t *testing.T) {
	srv, requests := both(t, nil)
	for _, path := range []string{
		"/", "/api", "/apis/apps/v1", "/version", "/openapi/v3", "/metrics", "/readyz?verbose", "/.well-known/openid-configuration", "/openid/v1/jwks",
		"/api/v1/namespaces/d/services/https:web:443/proxy/a%2Fb/%20?x=1%2F2&y=%zz", "/api/v1/namespaces/d/pods/p/exec?command=sh&command=-c&stdin=true",
	} {
		call(t, srv, "reader", "GET", path, nil, nil)
		want := strings.Replace(path, "&y=%zz", "", 1) // what no server can read is left out
		if got := <-requests; got.uri != want {
			t.Errorf("%s became %s", path, got.uri)
		}
	}
}

func TestBodiesStream(t *testing.T) {
	// Kubernetes has the first half before the second is there, and answers each.
	srv, _ := both(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := rc.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		buf := make([]byte, 5)
		for {
			n, err := io.ReadFull(r.Body, buf)
			_, _ = w.Write(buf[:n])
			_ = rc.Flush()
			if err != nil {
				return
			}
		}
	})
	r, w := io.Pipe()
	fed := make(chan struct{})
	go func() {
		_, _ = io.WriteString(w, "first")
		<-fed
		_, _ = io.WriteString(w, "later")
		_ = w.Close()
	}()
	resp := call(t, srv, "admin", "POST", "/api/v1/namespaces", r, nil)
	buf := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "first" {
		t.Fatalf("%q, %v", buf, err)
	}
	close(fed)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "later" {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestWatchesFlush(t *testing.T) {
	next := make(chan struct{})
	ended := make(chan struct{})
	srv, _ := both(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, `{"type":"ADDED"}`)
		_ = http.NewResponseController(w).Flush()
		<-next
		fmt.Fprintln(w, `{"type":"DELETED"}`)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(ended)
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/api/v1/pods?watch=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Test-Role", "reader")
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for _, want := range []string{"ADDED", "DELETED"} {
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Fatalf("%q, %v; want %s", lines.Text(), lines.Err(), want)
		}
		if want == "ADDED" {
			close(next)
		}
	}
	// Kubernetes learns that nobody watches any more.
	cancel()
	<-ended
}

func TestUpgrade(t *testing.T) {
	for _, protocol := range []string{"SPDY/3.1", "websocket"} {
		srv, requests := both(t, func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nX-Stream-Protocol-Version: v5.channel.k8s.io\r\n\r\n", r.Header.Get("Upgrade"))
			line, err := rw.ReadString('\n')
			if err != nil {
				t.Error(err)
			}
			fmt.Fprintf(conn, "got %s", line)
			_, _ = io.Copy(io.Discard, rw)
		})
		config := srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		config.NextProtos = []string{"http/1.1"}
		conn, err := tls.Dial("tcp", srv.Listener.Addr().String(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		fmt.Fprintf(conn, "POST /api/v1/namespaces/d/pods/p/exec?command=sh HTTP/1.1\r\nHost: x\r\nTest-Role: operator\r\nConnection: Upgrade\r\nUpgrade: %s\r\nContent-Length: 0\r\n\r\n", protocol)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != protocol || resp.Header.Get("X-Stream-Protocol-Version") == "" {
			t.Fatalf("%v, %v", resp, err)
		}
		fmt.Fprintln(conn, "hello")
		if line, err := r.ReadString('\n'); err != nil || line != "got hello\n" {
			t.Errorf("%q, %v", line, err)
		}
		got := <-requests
		if got.certificate != "admin" || got.header.Get("Impersonate-User") != "mycelium:ann" || got.header.Get("Impersonate-Group") != "mycelium:operators" || got.header.Get("Upgrade") != protocol {
			t.Errorf("Kubernetes got %+v", got)
		}
	}
}

// A call ends with its context, which is how the machine API ends those of a
// member that was revoked.
func TestUpgradeEndsWithItsContext(t *testing.T) {
	ended := make(chan struct{})
	k, _ := kubernetes(t, func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
		_, _ = io.Copy(io.Discard, rw)
		close(ended)
	})
	path := filepath.Join(t.TempDir(), "k3s.yaml")
	writeKubeconfig(t, path, k, "admin", time.Now())
	handler := New(Config{
		Credentials: kube.NewSource(path).Credentials, Log: slog.New(slog.DiscardHandler),
		Caller: func(context.Context) (string, string, identity.APIRole) { return "ann", "key", identity.Operator },
	})
	ctx, revoke := context.WithCancel(t.Context())
	defer revoke()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r.WithContext(ctx)) }))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	fmt.Fprint(conn, "GET /api/v1/namespaces/d/pods/p/exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
	r := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", resp, err)
	}
	revoke()
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v; want the end", rest, err)
	}
	<-ended
}

func TestCredentialsAreReadAgain(t *testing.T) {
	one, first := kubernetes(t, nil)
	two, second := kubernetes(t, nil)
	path := filepath.Join(t.TempDir(), "k3s.yaml")
	srv := node(t, path, nil)
	refused(t, call(t, srv, "admin", "GET", "/api", nil, nil), http.StatusServiceUnavailable, "not started")
	at := time.Now()
	writeKubeconfig(t, path, one, "admin-1", at)
	call(t, srv, "admin", "GET", "/api", nil, nil)
	if got := <-first; got.certificate != "admin-1" {
		t.Errorf("with the certificate %q", got.certificate)
	}
	writeKubeconfig(t, path, two, "admin-2", at.Add(time.Second))
	call(t, srv, "admin", "GET", "/api", nil, nil)
	if got := <-second; got.certificate != "admin-2" {
		t.Errorf("with the certificate %q", got.certificate)
	}
	call(t, srv, "admin", "GET", "/api", nil, http.Header{"Authorization": {"Bearer x"}})
	if got := <-second; got.certificate != "" {
		t.Errorf("a token came with the certificate %q", got.certificate)
	}
}

func TestTarget(t *testing.T) {
	one, _ := kubernetes(t, nil)
	two, second := kubernetes(t, nil) // httptest's servers have the same certificate
	path := filepath.Join(t.TempDir(), "k3s.yaml")
	writeKubeconfig(t, path, one, "admin", time.Now())
	target := two.URL
	srv := node(t, path, func() string { return target })
	call(t, srv, "admin", "GET", "/api", nil, nil)
	if got := <-second; got.certificate != "admin" {
		t.Errorf("%+v", got)
	}
	target = "http://127.0.0.1:1" // never in the clear
	refused(t, call(t, srv, "admin", "GET", "/api", nil, nil), http.StatusServiceUnavailable, "where Kubernetes is")
}

func TestKubernetesIsDown(t *testing.T) {
	k, _ := kubernetes(t, nil)
	path := filepath.Join(t.TempDir(), "k3s.yaml")
	writeKubeconfig(t, path, k, "admin", time.Now())
	srv := node(t, path, nil)
	k.Close()
	resp := call(t, srv, "admin", "POST", "/api/v1/namespaces", strings.NewReader("{}"), nil)
	refused(t, resp, http.StatusServiceUnavailable, "does not answer")
	if resp.Header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
	}
}

func TestKubernetesBreaksOff(t *testing.T) {
	srv, _ := both(t, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	resp := call(t, srv, "admin", "POST", "/api/v1/namespaces", strings.NewReader("{}"), nil)
	refused(t, resp, http.StatusBadGateway, "broke the call off")
	if again := resp.Header.Get("Retry-After"); again != "" {
		t.Errorf("asks to repeat what may have been done: Retry-After %s", again)
	}
}

// Another server under the address of Kubernetes gets nothing.
func TestForeignServer(t *testing.T) {
	k, requests := kubernetes(t, nil)
	path := filepath.Join(t.TempDir(), "k3s.yaml")
	other := httptest.NewUnstartedServer(nil)
	certificate, key := clientPair(t, "foreign")
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	other.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	other.StartTLS()
	defer other.Close()
	writeKubeconfig(t, path, other, "admin", time.Now())
	srv := node(t, path, func() string { return k.URL })
	refused(t, call(t, srv, "admin", "GET", "/api", nil, http.Header{"Authorization": {"Bearer secret"}}), http.StatusServiceUnavailable, "does not answer")
	if len(requests) > 0 {
		t.Errorf("it got %+v", <-requests)
	}
}
