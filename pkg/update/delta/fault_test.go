package delta

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// site is a server of one file that misbehaves in the first faults of its answers.
type site struct {
	file   []byte
	faults int
	fault  func(s *site, w http.ResponseWriter, r *http.Request)
	asked  atomic.Int64
	sent   atomic.Int64
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.asked.Add(1)
	w = &countingWriter{w, &s.sent}
	if s.fault != nil && (s.faults == 0 || n <= int64(s.faults)) {
		s.fault(s, w, r)
		return
	}
	s.good(w, r)
}

func (s *site) good(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", `"one"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.file))
}

type countingWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.n.Add(int64(n))
	return n, err
}

func (c *countingWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// The faults of a server.
func status(code int) func(*site, http.ResponseWriter, *http.Request) {
	return func(_ *site, w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", code) }
}

func flip(s *site, w http.ResponseWriter, r *http.Request) {
	other := &site{file: bytes.Clone(s.file)}
	other.file[600000] ^= 4
	other.good(w, r)
}

func anotherFile(s *site, w http.ResponseWriter, r *http.Request) {
	(&site{file: random(77, len(s.file))}).good(w, r)
}

func shorterFile(s *site, w http.ResponseWriter, r *http.Request) {
	(&site{file: s.file[:100000]}).good(w, r)
}

// replaced gives another file from the second answer on.
func replaced(s *site, w http.ResponseWriter, r *http.Request) {
	if s.asked.Load() == 1 {
		s.good(w, r)
		return
	}
	w.Header().Set("ETag", `"two"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(random(77, len(s.file))))
}

func wholeAlways(s *site, w http.ResponseWriter, r *http.Request) {
	r.Header.Del("Range")
	s.good(w, r)
}

// dies ends each answer after some bytes.
func dies(after int) func(s *site, w http.ResponseWriter, r *http.Request) {
	return func(s *site, w http.ResponseWriter, r *http.Request) {
		s.good(&dyingWriter{w, after}, r)
	}
}

type dyingWriter struct {
	http.ResponseWriter
	left int
}

func (d *dyingWriter) Write(b []byte) (int, error) {
	if len(b) >= d.left {
		_, _ = d.ResponseWriter.Write(b[:d.left])
		_ = http.NewResponseController(d.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	d.left -= len(b)
	return d.ResponseWriter.Write(b)
}

// stalls answers nothing, or some bytes and then nothing.
func stalls(after int) func(s *site, w http.ResponseWriter, r *http.Request) {
	return func(s *site, w http.ResponseWriter, r *http.Request) {
		if after > 0 {
			w.Header().Set("Content-Length", "1048576")
			_, _ = w.Write(s.file[:after])
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}
}

// drips answers a byte a second.
func drips(s *site, w http.ResponseWriter, r *http.Request) {
	for i := 0; r.Context().Err() == nil && i < len(s.file); i++ {
		_, _ = w.Write(s.file[i : i+1])
		_ = http.NewResponseController(w).Flush()
		_ = sleep(r.Context(), time.Second)
	}
}

func endlessly(s *site, w http.ResponseWriter, r *http.Request) {
	r.Header.Del("Range")
	s.good(w, r) // the right bytes, and no end
	for {
		if _, err := w.Write(s.file[:4096]); err != nil {
			return
		}
	}
}

func endlessChunked(s *site, w http.ResponseWriter, _ *http.Request) {
	for {
		if _, err := w.Write(s.file[:4096]); err != nil {
			return
		}
	}
}

func wrongRange(s *site, w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Range", "bytes 5-1048575/1048576")
	w.WriteHeader(http.StatusPartialContent)
	_, _ = w.Write(s.file[5:])
}

func packed(s *site, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	s.good(w, r)
}

func redirects(_ *site, w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/again", http.StatusMovedPermanently)
}

var faults = []struct {
	name  string
	fault func(*site, http.ResponseWriter, *http.Request)
	// faults is how many answers are bad, all when 0.
	faults int
	// err is what Fetch says when there is no other source; empty when it succeeds.
	err string
	// most is how many bytes the server may have sent, in percent of the file.
	most int64
}{
	{"none", nil, 0, "", 100},
	{"a bit flipped", flip, 0, "wrong bytes at 5", 70},
	{"another file under the name", anotherFile, 0, "wrong bytes at 0", 20},
	{"a shorter file", shorterFile, 0, "shorter one", 20},
	{"replaced meanwhile", replaced, 0, "became another one", 20},
	{"ranges ignored", wholeAlways, 0, "", 120},
	{"answers cut off", dies(70000), 0, "", 150},
	{"answers cut off within a chunk", dies(100), 0, "ended", 10},
	{"dies three times", dies(100000), 3, "", 120},
	{"dies three times, then no ranges", dies(200000), 3, "", 120},
	{"silent for ever", stalls(0), 0, "stalled", 1},
	{"silent twice", stalls(0), 2, "", 100},
	{"stalls for ever within a chunk", stalls(3000), 0, "stalled", 5},
	{"stalls twice", stalls(50000), 2, "", 120},
	{"drips", drips, 0, "stalled", 1},
	{"endless", endlessly, 0, "", 250},
	{"endless without a length", endlessChunked, 0, "wrong bytes", 20},
	{"another range", wrongRange, 0, "Content-Range", 10},
	{"packed", packed, 0, "packed", 10},
	{"301 loop", redirects, 0, "10 redirects", 1},
	{"404", status(404), 0, "404", 1},
	{"403", status(403), 0, "403", 1},
	{"416", status(416), 0, "416", 1},
	{"500 for ever", status(500), 0, "500", 1},
	{"503 seven times", status(503), 7, "", 101},
	{"429 once", status(429), 1, "", 101},
	{"204", status(204), 0, "204", 1},
}

// Each fault of the server, with and without a peer that has the file.
func TestServerFaults(t *testing.T) {
	file := random(1, 1<<20)
	x := index(t, file)
	for _, c := range faults {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &site{file: file, fault: c.fault, faults: c.faults}
				var log bytes.Buffer
				cfg := Config{
					Index: x, Dir: t.TempDir(), span: 100 << 10, Log: slog.New(slog.NewTextHandler(&log, nil)),
					Server: HTTPSource(serve(t, s), "http://server/os.efi"),
				}
				f, err := Fetch(t.Context(), cfg)
				if c.err != "" {
					wantErr(t, err, c.err)
					if !strings.Contains(log.String(), "http://server/os.efi") {
						t.Errorf("the log does not name the server: %s", log.String())
					}
				} else {
					noErr(t, err)
					holds(t, f, file)
					noErr(t, f.Close())
				}
				if n := s.sent.Load(); n > c.most*x.Size()/100+4096*2 {
					t.Errorf("the server sent %d%% of the file, want at most %d%%", n*100/x.Size(), c.most)
				}
			})
		})
	}
}

// Each fault of a peer: the rest comes from the server, and at most the file once
// more crosses the network.
func TestPeerFaults(t *testing.T) {
	file := random(1, 1<<20)
	x := index(t, file)
	for _, c := range faults {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				liar := &site{file: file, fault: c.fault, faults: c.faults}
				whole := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method != http.MethodHead {
						liar.ServeHTTP(w, r)
					}
				})
				server := &memory{name: "server", file: file}
				var last Progress
				f, err := Fetch(t.Context(), Config{
					Index: x, Dir: t.TempDir(), span: 100 << 10, Server: server,
					Peers:    peersOf(HTTPPeer(serve(t, whole), "http://peer", x.Digest(), true)),
					Progress: func(p Progress) { last = p },
				})
				noErr(t, err)
				defer func() { noErr(t, f.Close()) }()
				holds(t, f, file)
				if n := server.sent.Load(); n+last.Peers > x.Size()+maxChunk || last.Received > x.Size()*2 {
					t.Errorf("the server sent %d: %+v", n, last)
				}
				if c.fault == nil && server.sent.Load() > 0 {
					t.Error("the server was asked for what a peer has")
				}
			})
		})
	}
}

// The last hope: the server lies, and a peer comes to have the file.
func TestServerLiesAndAPeerGetsTheFile(t *testing.T) {
	file := random(1, 1<<20)
	x := index(t, file)
	synctest.Test(t, func(t *testing.T) {
		peer := &memoryPeer{memory: memory{name: "peer", file: file}}
		start := time.Now()
		cfg := Config{Index: x, Dir: t.TempDir(), Server: &memory{name: "server", file: random(2, 1<<20)}}
		cfg.Peers = func(context.Context) []Peer {
			have := int64(time.Since(start)/time.Second) * 1000
			peer.state = PeerState{Phase: Fetching, Have: have}
			if have > 100000 {
				peer.state = PeerState{Phase: Whole}
			}
			return []Peer{peer}
		}
		f, err := Fetch(t.Context(), cfg)
		noErr(t, err)
		defer func() { noErr(t, f.Close()) }()
		holds(t, f, file)
	})
}

// A peer that says for ever that it gets on is not waited for for ever.
func TestPeerThatNeverEnds(t *testing.T) {
	file := random(1, 200000)
	synctest.Test(t, func(t *testing.T) {
		peer := &memoryPeer{memory: memory{name: "peer"}}
		server := &memory{name: "server", file: file}
		start := time.Now()
		f, err := Fetch(t.Context(), Config{
			Index: index(t, file), Dir: t.TempDir(), Server: server,
			Peers: func(context.Context) []Peer {
				peer.state = PeerState{Phase: Fetching, Leading: true, Have: int64(time.Since(start))}
				return []Peer{peer}
			},
		})
		noErr(t, err)
		defer func() { noErr(t, f.Close()) }()
		holds(t, f, file)
		if d := time.Since(start); d < DefaultPace().MaxWait || d > 2*DefaultPace().MaxWait {
			t.Errorf("it waited for %v, want %v", d, DefaultPace().MaxWait)
		}
	})
}

func TestCancelledWhileWaiting(t *testing.T) {
	file := random(1, 200000)
	for name, cfg := range map[string]Config{
		"for a peer":   {Peers: peersOf(&memoryPeer{state: PeerState{Phase: Fetching, Leading: true}}), Server: &memory{}},
		"for a server": {Server: &broken{}},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg.Index, cfg.Dir = index(t, file), t.TempDir()
			ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, errors.New("too late"))
			defer cancel()
			_, err := Fetch(ctx, cfg)
			if err == nil || !strings.Contains(err.Error(), "too late") {
				t.Errorf("waiting %s: %v", name, err)
			}
		})
	}
}

type broken struct{}

func (broken) Name() string { return "broken" }

func (broken) ReadRange(context.Context, int64, int64) (io.ReadCloser, error) { return nil, errRead }
