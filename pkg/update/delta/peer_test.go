package delta

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type closer struct {
	*bytes.Reader
	closed *int
}

func (c closer) Close() error { *c.closed++; return nil }

func TestHandlerAndPeer(t *testing.T) {
	file := random(1, 300000)
	x := index(t, file)
	whole, getting, unknown, broken := x.Digest(), strings.Repeat("ab", 32), strings.Repeat("cd", 32), strings.Repeat("ef", 32)
	closed := 0
	h := Handler(func(digest string) (io.ReadSeekCloser, time.Time, PeerState, error) {
		switch digest {
		case whole:
			return closer{bytes.NewReader(file), &closed}, time.Unix(1, 0), PeerState{Phase: Whole}, nil
		case getting:
			return nil, time.Time{}, PeerState{Phase: Fetching, Have: 1234, Leading: true}, nil
		case broken:
			return nil, time.Time{}, PeerState{}, errors.New("secret detail")
		}
		return nil, time.Time{}, PeerState{Phase: None}, nil
	})
	synctest.Test(t, func(t *testing.T) {
		client := serve(t, h)
		for digest, want := range map[string]PeerState{
			whole: {Phase: Whole}, getting: {Phase: Fetching, Have: 1234, Leading: true}, unknown: {Phase: None},
		} {
			got, err := HTTPPeer(client, "http://peer/", digest, true).State(t.Context())
			noErr(t, err)
			if got != want {
				t.Errorf("state %+v, want %+v", got, want)
			}
		}
		_, err := HTTPPeer(client, "http://peer", broken, true).State(t.Context())
		wantErr(t, err, "500")
		p := HTTPPeer(client, "http://peer", whole, true)
		r, err := p.ReadRange(t.Context(), 1000, 2000)
		noErr(t, err)
		got, err := io.ReadAll(r)
		noErr(t, err)
		noErr(t, r.Close())
		if !bytes.Equal(got, file[1000:3000]) || !p.Before() || p.Name() != "http://peer" {
			t.Errorf("%d bytes of the range from %s", len(got), p.Name())
		}
		_, err = HTTPPeer(client, "http://peer", getting, true).ReadRange(t.Context(), 0, 1)
		wantErr(t, err, "503")
	})
	if closed != 2 {
		t.Errorf("the file was closed %d times, want 2", closed)
	}
}

func TestHandlerRefuses(t *testing.T) {
	whole, asked := strings.Repeat("ab", 32), 0
	broken := strings.Repeat("ef", 32)
	h := Handler(func(string) (io.ReadSeekCloser, time.Time, PeerState, error) {
		asked++
		return nil, time.Time{}, PeerState{}, errors.New("secret detail")
	})
	for _, path := range []string{
		"/os/", "/os", "/", "/os/x", "/os/" + strings.ToUpper(whole), "/os/" + whole + "/", "/os/" + whole[1:], "/os/" + whole + "0",
		"/os/" + whole[:63] + "%00", "/os/..%2f" + whole, "/os/../os2/" + whole, "/os//" + whole, "/os/" + strings.Repeat("g", 64),
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code == http.StatusOK || asked > 0 {
			t.Errorf("%s: %d, and asked for a file %d times", path, w.Code, asked)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/os/"+whole, nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %d", w.Code)
	}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/os/"+broken, nil))
	if strings.Contains(w.Body.String(), "secret") {
		t.Errorf("an error is told to strangers: %s", w.Body)
	}
}

// A peer's answers are foreign.
func TestPeerStateRefuses(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"301": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere/", http.StatusMovedPermanently)
		},
		"503 of a proxy": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"negative":       fetchingHeaders("-1", "true"),
		"too many":       fetchingHeaders("536870913", "true"),
		"no number":      fetchingHeaders("1e3", "true"),
		"neither":        fetchingHeaders("1", "1"),
	} {
		synctest.Test(t, func(t *testing.T) {
			state, err := HTTPPeer(serve(t, h), "http://peer", strings.Repeat("ab", 32), true).State(t.Context())
			if err == nil {
				t.Errorf("%s: taken as %+v", name, state)
			}
		})
	}
}

func fetchingHeaders(have, leading string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(headerHave, have)
		w.Header().Set(headerLeading, leading)
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-99/1234", "bytes 0-99/*", "bytes */1234", "", "bytes -1-2/3", "bytes 1-9223372036854775807/*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, size, ok := parseContentRange(s)
		if ok && (first < 0 || last < 0 || size < 0) {
			t.Errorf("%q: %d-%d of %d", s, first, last, size)
		}
	})
}

// Two machines over HTTP: the second takes from the first what it lacks.
func TestTwoMachines(t *testing.T) {
	file := random(1, 1<<20)
	x := index(t, file)
	synctest.Test(t, func(t *testing.T) {
		s := &site{file: file}
		client := serve(t, s)
		first := make(chan Progress, 1000)
		var state PeerState
		var got atomic.Pointer[File]
		peer := serve(t, Handler(func(string) (io.ReadSeekCloser, time.Time, PeerState, error) {
			if got.Load() != nil {
				return closer{bytes.NewReader(file), new(int)}, time.Unix(1, 0), PeerState{Phase: Whole}, nil
			}
			for len(first) > 0 {
				state = (<-first).State()
			}
			return nil, time.Time{}, state, nil
		}))
		cfg := Config{Index: x, Dir: t.TempDir(), Server: HTTPSource(client, "http://server/f"), Progress: func(p Progress) { first <- p }}
		done := make(chan error)
		go func() {
			f, err := Fetch(context.Background(), cfg)
			time.Sleep(10 * time.Second) // it verifies, say
			got.Store(f)
			done <- err
		}()
		synctest.Wait()
		f, err := Fetch(t.Context(), Config{
			Index: x, Dir: t.TempDir(), Server: HTTPSource(client, "http://server/f"),
			Peers: peersOf(HTTPPeer(peer, "http://first", x.Digest(), false)), Local: []Local{local("old", file[:400000])},
		})
		noErr(t, err)
		defer func() { noErr(t, f.Close()) }()
		holds(t, f, file)
		noErr(t, <-done)
		defer func() { noErr(t, got.Load().Close()) }()
		if s.sent.Load() != x.Size() {
			t.Errorf("the server sent %d bytes, want %d once", s.sent.Load(), x.Size())
		}
	})
}
