package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/source"
	"github.com/digital-mycelium/os/pkg/api"
)

// TestFetchUntil: the node asks until the document is there, and trusts no stranger.
func TestFetchUntil(t *testing.T) {
	var asked atomic.Int32
	document := []byte(documentHead + "hostname: kitchen\n")
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch asked.Add(1) {
		case 1:
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		default:
			_, _ = w.Write(document)
		}
	})
	server, plain := httptest.NewTLSServer(handler), httptest.NewServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer server.Close()
	defer plain.Close()
	m := newMachine("test", time.Unix(1, 0))
	m.net.address = netip.MustParseAddr("10.0.2.15")
	l, err := source.ParseLocation(server.URL + "/?token=s3cret")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	// The certificate is nobody's that the node knows.
	_, err = m.fetchUntil(t.Context(), l, func(err error) bool {
		said = append(said, err.Error())
		return false
	})
	if err == nil || len(said) != 1 || !strings.Contains(said[0], "certificate") || strings.Contains(said[0], "s3cret") || asked.Load() != 0 {
		t.Errorf("a stranger's certificate: %v, %q, asked %d times", err, said, asked.Load())
	}
	l, err = source.ParseLocation(fmt.Sprintf("%s#sha256=%x", plain.URL, sha256.Sum256(document)))
	if err != nil {
		t.Fatal(err)
	}
	said = nil
	got, err := m.fetchUntil(t.Context(), l, func(err error) bool { said = append(said, err.Error()); return true })
	if err != nil || string(got) != string(document) || len(said) != 1 || !strings.Contains(said[0], "503") {
		t.Errorf("%q, %v, after %q", got, err, said)
	}
	document = []byte(documentHead + "hostnam: kitchen\n")
	l.SHA256 = nil
	_, err = m.fetchUntil(t.Context(), l, func(err error) bool { return !errors.Is(err, source.ErrDocument) })
	if err == nil || !strings.Contains(err.Error(), "is wrong: line 3") {
		t.Errorf("a wrong document: %v", err)
	}
}

func TestFetchUntilWithoutAddress(t *testing.T) {
	m := newMachine("test", time.Unix(1, 0))
	l, err := source.ParseLocation("https://example.org/node.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = m.fetchUntil(ctx, l, func(error) bool { return true })
	if err == nil || !strings.Contains(err.Error(), "cable") {
		t.Errorf("error %v does not say what the node waits for", err)
	}
}

// urlMachine is a machine whose command line names the URL of handler, with the
// document's digest when there is one; rest are the places that follow.
func urlMachine(t *testing.T, handler http.Handler, pinned []byte, rest ...source.Candidate) (*machine, source.Location) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	l, err := source.ParseLocation(fmt.Sprintf("%s/node.yaml#sha256=%x", server.URL, sha256.Sum256(pinned)))
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine("test", time.Unix(1, 0))
	m.fetchedPath = filepath.Join(t.TempDir(), "fetched.json")
	m.net.address = netip.MustParseAddr("10.0.2.15")
	m.sources = append([]source.Candidate{source.Remote(l, nil)}, rest...)
	m.choice = source.Choose(m.sources, nil)
	m.showSource(m.choice.String())
	return m, l
}

func serve(document []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(document) })
}

// TestFetchConfig: what the URL has is what the node starts its services with,
// and is kept for the next boot.
func TestFetchConfig(t *testing.T) {
	document := []byte(documentHead + "time: {servers: [ntp.example.org]}\n")
	m, l := urlMachine(t, serve(document), document)
	if err := m.fetchConfig(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, _ := m.board.Get()
	if len(m.config().Time.Servers) != 1 || s.Configuration != l.String() || len(s.Problems) != 0 {
		t.Errorf("runs with %+v, says %q and %q", m.config(), s.Configuration, s.Problems)
	}
	if kept, err := readFetched(m.fetchedPath, l); err != nil || string(kept) != string(document) {
		t.Errorf("kept: %q, %v", kept, err)
	}
}

// TestFetchedSetsNothing: it counts as none, as in every other place.
func TestFetchedSetsNothing(t *testing.T) {
	document := []byte(documentHead)
	next := found("the next place", "next", []byte(documentHead+"time: {servers: [ntp.example.org]}\n"), nil)
	m, _ := urlMachine(t, serve(document), document, next)
	if err := m.fetchConfig(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, _ := m.board.Get(); len(m.config().Time.Servers) != 1 || s.Configuration != next.Name {
		t.Errorf("runs with %+v, says %q", m.config(), s.Configuration)
	}
	wrong := found("the next place", "next", []byte(documentHead+"tim: {}\n"), nil)
	m, _ = urlMachine(t, serve(document), document, wrong)
	if err := m.fetchConfig(t.Context()); err == nil || !strings.Contains(err.Error(), "the next place is wrong: line 3") {
		t.Errorf("the next place's mistake: %v", err)
	}
}

// TestFetchConfigWrong: a wrong document is said at once, not after a minute; the
// node runs with the defaults, asks on, and takes the right one without a reboot.
func TestFetchConfigWrong(t *testing.T) {
	document := []byte(documentHead + "hostname: kitchen\ntime: {servers: [ntp.example.org]}\n")
	var served atomic.Pointer[[]byte]
	served.Store(&[]byte{'x'})
	m, l := urlMachine(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(*served.Load()) }), document)
	err := m.fetchConfig(t.Context())
	if err == nil || !strings.Contains(err.Error(), "SHA-256") || !strings.Contains(err.Error(), "running with the defaults") {
		t.Fatalf("error %v", err)
	}
	m.spawn(m.askOn)
	said := func(what string, done func(api.Status) bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := m.board.Wait(ctx, done); err != nil {
			s, _ := m.board.Get()
			t.Fatalf("no %s: %q, %q", what, s.Configuration, s.Problems)
		}
	}
	said("problem", func(s api.Status) bool { return len(s.Problems) == 1 && strings.Contains(s.Problems[0], "SHA-256") })
	if !m.config().IsDefault() {
		t.Errorf("runs with %+v", m.config())
	}
	served.Store(&document)
	said("right document", func(s api.Status) bool {
		return s.Configuration == l.String() && len(s.Problems) == 1 && strings.Contains(s.Problems[0], "reboot to apply")
	})
	if c := m.config(); len(c.Time.Servers) != 1 || c.Hostname != "" {
		t.Errorf("runs with %+v", c)
	}
}

// TestFetchEndsWhenTheAPISets: what comes late does not count any more.
func TestFetchEndsWhenTheAPISets(t *testing.T) {
	document := []byte(documentHead + "time: {servers: [late.example.org]}\n")
	asked, answer := make(chan struct{}), make(chan struct{})
	m, l := urlMachine(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-answer
		_, _ = w.Write(document)
	}), document)
	ctx, end := context.WithCancel(t.Context())
	m.endFetch = end
	done := make(chan struct{})
	go func() { defer close(done); m.refetch(ctx, l, "waiting") }()
	<-asked
	if _, err := m.setConfig(t.Context(), filepath.Join(t.TempDir(), "config.json"), []byte(documentHead+"time: {servers: [set.example.org]}\n"), false); err != nil {
		t.Fatal(err)
	}
	close(answer)
	<-done
	s, _ := m.board.Get()
	if c := m.config(); len(c.Time.Servers) != 1 || c.Time.Servers[0] != "set.example.org" || s.Configuration != source.SetName || len(s.Problems) != 0 {
		t.Errorf("runs with %+v, says %q and %q", c, s.Configuration, s.Problems)
	}
}
