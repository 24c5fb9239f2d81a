package api

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
	"github.com/digital-mycelium/os/pkg/identity"
)

func digestOf(content string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(content))) }

func TestUpdates(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	c := w.member("ann", operator).client(serve(t, s))
	ctx := t.Context()
	list, err := c.CheckUpdate(ctx)
	if want := (AvailableUpdate{Version: "1.2.3", Size: 5, Channels: []string{"stable"}, Published: t0, Due: true}); err != nil || fmt.Sprint(list) != fmt.Sprint([]AvailableUpdate{want}) {
		t.Errorf("offered %+v, %v", list, err)
	}
	if v, err := c.StageUpdate(ctx, "", false); err != nil || v != "1.2.3" {
		t.Errorf("staged %q, %v", v, err)
	}
	if v, err := c.PushUpdate(ctx, []byte("s"), bytes.NewReader(make([]byte, 3*chunk+1))); err != nil || v != "1.2.4" {
		t.Errorf("pushed %q, %v", v, err)
	}
	if did, want := node.took(), fmt.Sprintf(`check stage "" false push "s" %d`, 3*chunk+1); did != want {
		t.Errorf("the node did %q, want %q", did, want)
	}

	long := strings.Repeat("x", maxReason+1)
	for _, err := range []error{
		second(c.StageUpdate(ctx, long, false)), c.RollBackUpdate(ctx, long), c.HoldUpdate(ctx, true, long), c.ForgiveUpdate(ctx, long),
		second(c.PushUpdate(ctx, nil, strings.NewReader("x"))),
	} {
		wantErr(t, err, ErrInvalid)
	}
	if did := node.took(); did != "" {
		t.Errorf("the node did %q", did)
	}
	all := func() []error {
		return []error{
			second(c.CheckUpdate(ctx)), second(c.StageUpdate(ctx, "", true)), second(c.PushUpdate(ctx, []byte("s"), strings.NewReader("x"))),
			c.TryUpdate(ctx), c.RollBackUpdate(ctx, ""), c.HoldUpdate(ctx, false, ""), c.ForgiveUpdate(ctx, ""),
		}
	}
	node.err = fmt.Errorf("%w: 1.2.2 is on trial", ErrConflict)
	for i, err := range all() {
		if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "on trial") {
			t.Errorf("call %d: %v", i, err)
		}
	}
	node.took()
	node.err, node.fixed = nil, true
	for i, err := range all() {
		if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "cannot replace its OS") {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// An OS file that is too large, or that a second statement is in, or that breaks off, is none.
func TestPushRefusals(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	c := w.member("ann", operator).client(serve(t, s))
	_, err := c.PushUpdate(t.Context(), []byte("s"), io.LimitReader(&endless{f: func() {}}, MaxOSFile+1))
	wantErr(t, err, ErrInvalid)
	broken := errors.New("stick pulled out")
	_, err = c.PushUpdate(t.Context(), []byte("s"), io.MultiReader(bytes.NewReader(make([]byte, chunk)), errorReader{broken}))
	wantErr(t, err, broken)
	stream := c.machine().PushUpdate(t.Context())
	for range 2 {
		_ = stream.Send(&machinev1.PushUpdateRequest{Part: &machinev1.PushUpdateRequest_Statement{Statement: []byte("s")}})
	}
	_, err = stream.CloseAndReceive()
	wantErr(t, fromWire(err), ErrInvalid)
	for _, did := range strings.Fields(node.took()) {
		if did != "push" && did != `"s"` {
			t.Errorf("the node did %q", did)
		}
	}
}

// A node may fetch for as long as it likes.
func TestStagingIsAwaited(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	l := usualLimits
	l.header, l.body, l.stall, l.idle, l.write = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	s.setLimits(l)
	c := w.member("ann", operator).client(serve(t, s))
	node.staging = make(chan struct{})
	time.AfterFunc(500*time.Millisecond, func() { close(node.staging) })
	if v, err := c.StageUpdate(t.Context(), "", false); err != nil || v != "1.2.3" {
		t.Errorf("staged %q, %v", v, err)
	}
}

// Staging ends with the rights of who asked for it.
func TestStagingEndsWithTheRights(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	s.setLimits(quick())
	ann := w.member("ann", operator)
	c := ann.client(serve(t, s))
	node.staging = make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- second(c.StageUpdate(t.Context(), "", false)) }()
	eventually(t, func() bool { return strings.Contains(node.took(), "stage") })
	w.revoke(1, ann.serial)
	wantErr(t, <-done, identity.ErrRevoked)
}

func TestOSFiles(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	content := strings.Repeat("0123456789", 100_000)
	digest := digestOf(content)
	node.files = map[string]string{digest: content, digestOf("later"): "", digestOf("broken"): "broken"}
	peer := w.member("node-2", identity.Caps{Node: identity.Client})
	address := serve(t, s)
	for _, http2 := range []bool{false, true} {
		h, base := dialer(address, Port, w.newVerifier(fmt.Sprint("peer", http2), w.now).ClientTLS(identity.TLSOptions{Certificate: peer.show}), http2)
		defer h.CloseIdleConnections()
		for _, tt := range []struct {
			method, path, header, value string
			code                        int
			body                        string // its end
			asked                       bool   // the node is
		}{
			{"GET", digest, "", "", 200, content, true},
			{"GET", digest, "Range", "bytes=10-14", 206, "01234", true},
			{"GET", digest, "Range", "bytes=-3", 206, "789", true},
			{"GET", digest, "Range", "bytes=2000000-", 416, "", true},
			{"GET", digest, "If-None-Match", `"` + digest + `"`, 304, "", true},
			{"GET", digest, "If-Match", `"other"`, 412, "", true},
			{"HEAD", digest, "", "", 200, "", true},
			{"GET", digestOf("nothing"), "", "", 404, "does not have the file\n", true},
			{"GET", digestOf("later"), "", "", 503, "fetching the file itself\n", true},
			{"GET", digestOf("broken"), "", "", 500, "cannot be read here\n", true},
			{"GET", strings.ToUpper(digest), "", "", 404, "64 lower-case hexadecimal digits\n", false},
			{"GET", digest[1:], "", "", 404, "64 lower-case hexadecimal digits\n", false},
			{"GET", digest + "/", "", "", 404, "not found\n", false},
			{"GET", digest + "0", "", "", 404, "64 lower-case hexadecimal digits\n", false},
			{"GET", "", "", "", 404, "not found\n", false},
			{"POST", digest, "", "", 405, "Method Not Allowed\n", false},
		} {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, base+OSFilePath+tt.path, nil)
			noErr(t, err)
			if tt.header != "" {
				req.Header.Set(tt.header, tt.value)
			}
			resp, err := h.Do(req)
			noErr(t, err)
			b, err := io.ReadAll(resp.Body)
			noErr(t, err)
			_ = resp.Body.Close()
			did := node.took()
			if resp.StatusCode != tt.code || !strings.HasSuffix(string(b), tt.body) || (did != "") != tt.asked {
				t.Errorf("%s %s %s %s: %d, %d bytes %.80q, the node did %q", tt.method, tt.path, tt.header, tt.value, resp.StatusCode, len(b), b, did)
			}
			if good := tt.code == 200 || tt.code == 206; good && resp.Header.Get("ETag") != `"`+digest+`"` {
				t.Errorf("%s: ETag %s", tt.path, resp.Header.Get("ETag"))
			}
			if tt.method == "HEAD" && resp.ContentLength != int64(len(content)) {
				t.Errorf("HEAD says %d bytes", resp.ContentLength)
			}
		}
	}
	node.fixed = true
	h, base := dialer(address, Port, w.newVerifier("fixed", w.now).ClientTLS(identity.TLSOptions{Certificate: peer.show}), true)
	defer h.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+OSFilePath+digest, nil)
	noErr(t, err)
	resp, err := h.Do(req)
	noErr(t, err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("a machine without slots answers %d", resp.StatusCode)
	}
}

// A peer whose rights end gets nothing more of a file.
func TestOSFileEndsWithTheRights(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	s.setLimits(quick())
	content := strings.Repeat("x", 64<<20) // more than fits into the connection's buffers
	node.files = map[string]string{digestOf(content): content}
	peer := w.member("node-2", identity.Caps{Node: identity.Client})
	address := serve(t, s)
	for i, http2 := range []bool{false, true} {
		h, base := dialer(address, Port, w.newVerifier(fmt.Sprint("peer", http2), w.now).ClientTLS(identity.TLSOptions{Certificate: peer.show}), http2)
		defer h.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+OSFilePath+digestOf(content), nil)
		noErr(t, err)
		resp, err := h.Do(req)
		noErr(t, err)
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
		w.revoke(uint64(i)+1, peer.serial)
		time.Sleep(10 * quick().recheck) // for the next look
		if n, err := io.Copy(io.Discard, resp.Body); err == nil || n >= int64(len(content)) {
			t.Errorf("HTTP/2 %v: %d bytes came, %v", http2, n, err)
		}
		_ = resp.Body.Close()
		peer = w.member(fmt.Sprint("node-", i+3), identity.Caps{Node: identity.Client})
	}
}

// A peer that takes nothing is given up; one that takes its time is not.
func TestDeafPeersAreGivenUp(t *testing.T) {
	w := newWorld(t)
	s, node, _ := w.memberServer(discard)
	l := usualLimits
	l.write = 300 * time.Millisecond
	s.setLimits(l)
	content := strings.Repeat("x", 32<<20)
	node.files = map[string]string{digestOf(content): content}
	address := serve(t, s)
	for _, http2 := range []bool{false, true} {
		peer := w.member("node-2", identity.Caps{Node: identity.Client})
		h, base := dialer(address, Port, w.newVerifier(fmt.Sprint("peer", http2), w.now).ClientTLS(identity.TLSOptions{Certificate: peer.show}), http2)
		defer h.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+OSFilePath+digestOf(content), nil)
		noErr(t, err)
		resp, err := h.Do(req)
		noErr(t, err)
		eventually(t, s.sessions.quiet)
		if n, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Errorf("HTTP/2 %v: all %d bytes came", http2, n)
		}
		_ = resp.Body.Close()
	}
}
