package api

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
)

// quick are limits for tests in which something must end by itself.
func quick() limits {
	l := usualLimits
	l.recheck, l.burst = 20*time.Millisecond, time.Millisecond
	return l
}

// endless is an image archive that calls f when its second piece is asked for.
type endless struct {
	reads int
	f     func()
}

func (e *endless) Read(p []byte) (int, error) {
	if e.reads++; e.reads == 2 {
		e.f()
	}
	return len(p), nil
}

// Whatever goes on ends when its caller's rights do, and says why, whether
// anything is sent meanwhile or not.
func TestStreamsEndWithTheRights(t *testing.T) {
	ends := map[string]struct {
		of  func(w *world, m *member)
		err error
	}{
		"revoked": {func(w *world, m *member) { w.revoke(1, m.serial) }, identity.ErrRevoked},
		"expired": {func(w *world, _ *member) { w.set(t0.Add(31 * day)) }, identity.ErrExpired},
	}
	ctx := t.Context()
	streams := map[string]func(c *Client, ready func()) error{
		"status": func(c *Client, ready func()) error {
			return c.WatchStatus(ctx, func(*Status) error { ready(); return nil })
		},
		"events": func(c *Client, ready func()) error {
			return c.Events(ctx, EventOptions{Follow: true}, func(Event) error { ready(); return nil })
		},
		"log": func(c *Client, ready func()) error {
			log, err := c.Log(ctx, "init", LogOptions{Follow: true})
			if err != nil {
				return err
			}
			defer log.Close()
			ready()
			_, err = io.Copy(io.Discard, log)
			return err
		},
		"upload": func(c *Client, ready func()) error { return c.LoadImage(ctx, "x.tar", &endless{f: ready}) },
		"OS file": func(c *Client, ready func()) error {
			_, err := c.PushUpdate(ctx, []byte("s"), &endless{f: ready})
			return err
		},
	}
	for name, end := range ends {
		for what, follow := range streams {
			t.Run(name+" "+what, func(t *testing.T) {
				w := newWorld(t)
				s, node, _ := w.memberServer(discard)
				s.setLimits(quick())
				ann := w.member("ann", operator)
				c := ann.client(serve(t, s))
				node.append("one\n")
				wantErr(t, follow(c, sync.OnceFunc(func() { end.of(w, ann) })), end.err)
				wantErr(t, second(c.Status(ctx)), end.err)
				if len(node.images) != 0 {
					t.Error("an upload that was cut off was stored")
				}
			})
		}
	}
}

// A message is judged even when the time for the next look has not come.
func TestEachMessageIsJudged(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	l := quick()
	l.recheck = time.Hour
	s.setLimits(l)
	ann := w.member("ann", reader)
	c := ann.client(serve(t, s))
	seen := 0
	err := c.WatchStatus(t.Context(), func(*Status) error {
		seen++
		w.revoke(1, ann.serial)
		node.rename("secret")
		return nil
	})
	wantErr(t, err, identity.ErrRevoked)
	if seen != 1 {
		t.Errorf("%d statuses were sent", seen)
	}
}

// kubernetesServer is a member server whose /kubernetes/ goes to backend.
func (w *world) kubernetesServer(t *testing.T, backend http.HandlerFunc, log *logBuffer) (address string, cert tls.Certificate) {
	t.Helper()
	b := httptest.NewServer(backend)
	t.Cleanup(b.Close)
	target, err := url.Parse(b.URL)
	noErr(t, err)
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Header.Set("Impersonate-User", Caller(r.In.Context()).Name)
	}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}}
	cert, err = identity.PlainCertificate(identity.GenerateKey(), KubernetesServerName)
	noErr(t, err)
	self := w.member("node-1", identity.Caps{Node: identity.Server})
	s := NewMemberServer(MemberConfig{
		Verifier: w.verifier, Certificate: self.show, Node: newFakeNode(), Peers: &fakePeers{}, Log: log.logger(),
		Kubernetes: proxy, KubernetesCertificate: &cert,
	})
	s.setLimits(quick())
	return serve(t, s), cert
}

// kubectl verifies an ordinary certificate, shows its own and is known by it; its
// watches end with its rights.
func TestKubernetes(t *testing.T) {
	w := newWorld(t)
	address, cert := w.kubernetesServer(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s for %s\n", r.URL.Path, r.Header.Get("Impersonate-User"))
		if r.URL.Query().Get("watch") == "true" {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}, &logBuffer{})
	roots := x509.NewCertPool()
	roots.AddCert(parse(t, cert))
	ann := w.member("ann", reader)
	for _, http2 := range []bool{false, true} {
		h, base := dialer(address, Port, &tls.Config{RootCAs: roots, ServerName: KubernetesServerName, Certificates: []tls.Certificate{ann.cert}}, http2)
		defer h.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/kubernetes/api/v1/pods", nil)
		noErr(t, err)
		resp, err := h.Do(req)
		noErr(t, err)
		b, err := io.ReadAll(resp.Body)
		noErr(t, err)
		_ = resp.Body.Close()
		if string(b) != "/api/v1/pods for ann\n" {
			t.Errorf("the API got %q", b)
		}
	}
	// The name without the certificate's owner behind it, or no certificate: nothing.
	h, base := dialer(address, Port, &tls.Config{RootCAs: roots, ServerName: KubernetesServerName}, true)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/kubernetes/api", nil)
	noErr(t, err)
	if resp, err := h.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Error("a caller without a certificate gets an answer")
	}
	h, base = dialer(address, Port, &tls.Config{RootCAs: roots, ServerName: KubernetesServerName, Certificates: []tls.Certificate{ann.cert}}, true)
	defer h.CloseIdleConnections()
	req, err = http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/kubernetes/api?watch=true", nil)
	noErr(t, err)
	resp, err := h.Do(req)
	noErr(t, err)
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "/api for ann\n" {
		t.Errorf("%q, %v", line, err)
	}
	w.revoke(1, ann.serial)
	if _, err := lines.ReadString('\n'); err == nil {
		t.Error("the watch goes on after the revocation")
	}
}

// What has taken the connection over, such as kubectl exec, ends with the rights too.
func TestUpgradedConnectionEndsWithTheRights(t *testing.T) {
	w := newWorld(t)
	address, _ := w.kubernetesServer(t, func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(c, rw)
	}, &logBuffer{})
	ann := w.member("ann", reader)
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{ann.cert}, NextProtos: []string{"http/1.1"}})
	noErr(t, err)
	defer func() { _ = c.Close() }()
	noErr(t, c.SetDeadline(time.Now().Add(time.Minute)))
	fmt.Fprintf(c, "GET /kubernetes/exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	noErr(t, err)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp.Status)
	}
	fmt.Fprint(c, "hello\n")
	if line, err := in.ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatalf("%q, %v", line, err)
	}
	w.revoke(1, ann.serial)
	_, err = in.ReadString('\n')
	if err == nil || errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the connection ended with %v", err)
	}
}
