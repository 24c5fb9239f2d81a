package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/config"
)

func TestDue(t *testing.T) {
	h := Duration(time.Hour)
	r := Release{Attributes: Attributes{Version: "1.0.0", Channels: []string{"stable"}, Published: start, Waves: []Wave{{10, 0}, {50, 24 * h}, {100, 72 * h}}}}
	other := r
	other.Version = "1.1.0"
	const nodes = 20000
	count := func(at time.Duration) (n int) {
		for i := range nodes {
			node := fmt.Append(nil, "node ", i)
			due := r.Due("stable", node, start.Add(at))
			if due {
				n++
			}
			if due && !r.Due("stable", node, start.Add(at+24*time.Hour)) {
				t.Errorf("node %d is due and then not any more", i)
			}
		}
		return n
	}
	for at, percent := range map[time.Duration]float64{-time.Second: 0, 0: 10, 24*time.Hour - 1: 10, 24 * time.Hour: 50, 72 * time.Hour: 100} {
		if got := float64(count(at)) * 100 / nodes; math.Abs(got-percent) > 1.5 {
			t.Errorf("after %v %.1f percent are due, want %v", at, got, percent)
		}
	}
	both := 0
	for i := range nodes {
		node := fmt.Append(nil, "node ", i)
		if r.Due("edge", node, start.AddDate(1, 0, 0)) {
			t.Fatal("due in a channel that is not its own")
		}
		if r.Due("stable", node, start) && other.Due("stable", node, start) {
			both++
		}
	}
	if both > nodes*2/100 {
		t.Errorf("%d of %d nodes are first each time", both, nodes)
	}
	r.Waves = nil
	if !r.Due("stable", []byte("node"), time.Unix(0, 0)) {
		t.Error("without waves it is not due")
	}
}

const goodCustom = `{"version":"1.0.0","board":"x86","channels":["stable"],"published":"2026-01-01T00:00:00Z"`

func TestAttributes(t *testing.T) {
	a, err := parseAttributes([]byte(goodCustom + `,"waves":[{"percent":10,"after":"0s"},{"percent":100,"after":"72h"}],"downgrade":true,"notes":"n","tomorrow":{"x":1}}`))
	noErr(t, err)
	if !a.Downgrade || a.Notes != "n" || len(a.Waves) != 2 || time.Duration(a.Waves[1].After) != 72*time.Hour {
		t.Errorf("%+v", a)
	}
	for custom, word := range map[string]string{
		`null`:                                                   "version",
		`[]`:                                                     "custom data",
		`{`:                                                      "custom data",
		goodCustom + `,"board":"../x"}`:                          "board",
		goodCustom + `,"board":"a..b"}`:                          "board",
		goodCustom + `,"board":"A"}`:                             "board",
		goodCustom + `,"version":"v1.0.0"}`:                      "version",
		goodCustom + `,"version":"1.0"}`:                         "version",
		goodCustom + `,"version":"1.0.0/.."}`:                    "version",
		goodCustom + `,"channels":[]}`:                           "channels",
		goodCustom + `,"channels":"stable"}`:                     "channels",
		goodCustom + `,"channels":["a b"]}`:                      "channel",
		goodCustom + `,"published":"yesterday"}`:                 "custom data",
		goodCustom + `,"published":"0001-01-01T00:00:00Z"}`:      "published",
		goodCustom + `,"downgrade":"yes"}`:                       "downgrade",
		goodCustom + `,"waves":[{"percent":0}]}`:                 "wave 1",
		goodCustom + `,"waves":[{"percent":101}]}`:               "wave 1",
		goodCustom + `,"waves":[{"percent":50},{"percent":10}]}`: "wave 2",
		goodCustom + `,"waves":[{"percent":1,"after":"2h"},{"percent":2,"after":"1h"}]}`:           "wave 2",
		goodCustom + `,"waves":[{"percent":1,"after":"-2h"}]}`:                                     "wave 1",
		goodCustom + `,"waves":[{"percent":1,"after":"forever"}]}`:                                 "forever",
		goodCustom + `,"waves":[` + strings.Repeat(`{"percent":1},`, maxWaves) + `{"percent":1}]}`: "waves",
		goodCustom + `,"notes":"` + strings.Repeat("x", maxNotes+1) + `"}`:                         "notes",
	} {
		_, err := parseAttributes([]byte(custom))
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), word) {
			t.Errorf("%.100s: error %v, want one with %q", custom, err, word)
		}
	}
}

// A release that this version does not understand costs the others nothing.
func TestOneBadRelease(t *testing.T) {
	s, w := newServer(t), newWorld()
	w.custom = `{"version":"1.0.0","board":"x86","channels":7}`
	s.publish(w)
	n := newNode(t, s)
	n.refresh()
	n.has()
	if p := n.Problems(); len(p) != 1 || !strings.Contains(p[0].Error(), "x86/1.0.0") || !strings.Contains(p[0].Error(), "channels") {
		t.Errorf("problems: %v", p)
	}
	w.custom = `{"version":"2.0.0","board":"x86","channels":["a"],"published":"2026-01-01T00:00:00Z"}` // not what its place says
	w.targets, w.snapshot, w.timestamp = 2, 2, 2
	s.rest(w)
	n.refresh()
	n.has()
	if len(n.Problems()) != 1 {
		t.Errorf("problems: %v", n.Problems())
	}
}

// 10,000 nodes that are switched on at the same moment ask at a constant rate from the
// beginning: 10,000 / 7,200 s = 1.4 a second. They do not know of each other, so a
// second has as many as chance will have it; it is below 10 in every one of them.
func TestPollRate(t *testing.T) {
	const nodes = 10000
	const interval = int(config.DefaultInterval / time.Second)
	const span = 8 * interval // seconds
	r := rand.New(rand.NewPCG(1, 2))
	perSecond := make([]int, span)
	for range nodes {
		for at := FirstPoll(config.DefaultInterval, r); at < time.Duration(span)*time.Second; at += NextPoll(config.DefaultInterval, r) {
			perSecond[int(at/time.Second)]++
		}
	}
	peak := slices.Max(perSecond)
	t.Logf("busiest second: %d requests", peak)
	if peak >= 10 {
		t.Errorf("the busiest second has %d requests, want fewer than 10", peak)
	}
	for i := range span / interval {
		total := 0
		for _, n := range perSecond[i*interval : (i+1)*interval] {
			total += n
		}
		if total < nodes*96/100 || total > nodes*104/100 {
			t.Errorf("interval %d: %d requests, want about %d", i, total, nodes)
		}
	}
}

func TestPollBounds(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 10000 {
		first, next := FirstPoll(time.Hour, r), NextPoll(time.Hour, r)
		if first < 0 || first > 75*time.Minute || next < 45*time.Minute || next > 75*time.Minute {
			t.Fatalf("first %v, next %v", first, next)
		}
	}
}

// fetches checks what both implementations of Fetch promise.
func fetches(t *testing.T, f Fetch) {
	t.Helper()
	body, _, same, err := f.Get(t.Context(), "metadata/a.json", 5, "")
	noErr(t, err)
	if string(body) != "hello" || same {
		t.Errorf("%q, %v", body, same)
	}
	_, _, _, err = f.Get(t.Context(), "metadata/a.json", 4, "")
	wantErr(t, err, ErrTooLarge)
	_, _, _, err = f.Get(t.Context(), "metadata/b.json", 4, "")
	wantErr(t, err, ErrNotFound)
	if _, _, _, err = f.Get(t.Context(), "metadata", 100000, ""); err == nil {
		t.Error("a directory was got")
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	noErr(t, os.MkdirAll(filepath.Join(dir, "in", "metadata"), 0o700))
	noErr(t, os.WriteFile(filepath.Join(dir, "in", "metadata", "a.json"), []byte("hello"), 0o600))
	noErr(t, os.WriteFile(filepath.Join(dir, "out"), []byte("hello"), 0o600))
	noErr(t, os.Symlink("../../out", filepath.Join(dir, "in", "metadata", "link")))
	fetches(t, Directory(filepath.Join(dir, "in")))
	for _, path := range []string{"../out", "metadata/link"} {
		if _, _, _, err := Directory(filepath.Join(dir, "in")).Get(t.Context(), path, 100, ""); err == nil {
			t.Errorf("%s was got", path)
		}
	}
}

func TestHTTP(t *testing.T) {
	var seen *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		switch r.URL.Path {
		case "/base/metadata/a.json":
			w.Header().Set("ETag", `"tag"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader([]byte("hello")))
		case "/base/metadata/endless":
			for {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		case "/base/metadata/broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "/base/metadata/never":
			w.WriteHeader(http.StatusNotModified)
		case "/base/metadata":
			w.WriteHeader(http.StatusTeapot)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	h := &HTTP{Base: srv.URL + "/base/"}
	fetches(t, h)
	_, tag, _, err := h.Get(t.Context(), "metadata/a.json", 5, "")
	noErr(t, err)
	_, _, same, err := h.Get(t.Context(), "metadata/a.json", 5, tag)
	noErr(t, err)
	if !same || seen.Header.Get("If-None-Match") != `"tag"` {
		t.Errorf("modified: %v, request %v", same, seen.Header)
	}
	_, _, _, err = h.Get(t.Context(), "metadata/endless", 100, "")
	wantErr(t, err, ErrTooLarge)
	for _, path := range []string{"metadata/broken", "metadata/never"} {
		if _, _, _, err := h.Get(t.Context(), path, 100, ""); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func FuzzAttributes(f *testing.F) {
	f.Add([]byte(goodCustom + `}`))
	f.Add([]byte(goodCustom + `,"waves":[{"percent":10,"after":"0s"},{"percent":100,"after":"72h"}],"downgrade":true,"x":null}`))
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseAttributes(data)
		if err != nil {
			wantErr(t, err, ErrMalformed)
			return
		}
		r := Release{Attributes: a}
		r.Due("stable", data, start)
		if strings.Contains(a.OSTarget(), "..") || strings.Count(a.OSTarget(), "/") != 2 {
			t.Errorf("target %q", a.OSTarget())
		}
		again, err := json.Marshal(a)
		if err != nil {
			return // a year that JSON cannot have
		}
		if _, err := parseAttributes(again); err != nil {
			t.Errorf("%s: %v", again, err)
		}
	})
}

func FuzzState(f *testing.F) {
	s := newServer(f)
	s.publish(newWorld())
	n := newNode(f, s)
	n.refresh()
	whole, err := os.ReadFile(filepath.Join(n.o.Dir, firstCopy))
	noErr(f, err)
	f.Add(whole, false)
	var kept struct {
		State json.RawMessage `json:"state"`
	}
	noErr(f, json.Unmarshal(whole, &kept))
	f.Add([]byte(kept.State), true)
	f.Add([]byte(`{"sum":"","state":{}}`), false)
	f.Add([]byte(`null`), true)
	f.Fuzz(func(t *testing.T, data []byte, sum bool) {
		if sum { // somebody has made the checksum fit
			digest := sha256.Sum256(data)
			data = fmt.Appendf(nil, `{"sum":"%x","state":%s}`, digest, data)
		}
		st, err := decodeState(data)
		if err != nil {
			wantErr(t, err, ErrDamaged)
			return
		}
		if _, err := encodeState(st); err != nil {
			t.Error(err)
		}
		trustedOf(&st, "x86")
	})
}

// Whatever somebody who holds the keys signs, it is an error or it is taken.
func FuzzSigned(f *testing.F) {
	s := newServer(f)
	w := newWorld()
	s.publish(w)
	paths := map[string]string{"root": "metadata/2.root.json", "targets": "metadata/1.targets.json", "snapshot": "metadata/1.snapshot.json", "timestamp": "metadata/timestamp.json"}
	for role, path := range paths {
		if role == "root" {
			path = "metadata/1.root.json"
		}
		var m struct{ Signed json.RawMessage }
		noErr(f, json.Unmarshal(s.files[path], &m))
		f.Add(role, []byte(m.Signed))
	}
	f.Fuzz(func(t *testing.T, role string, body []byte) {
		if !json.Valid(body) || paths[role] == "" {
			return
		}
		s := newServer(t)
		s.publish(w)
		w := w
		names := w.keys[role]
		if role == "root" {
			names = append(names, "x")
		}
		raw := s.signJSON(world{keys: map[string][]string{role: names}}, role, string(body))
		s.files[paths[role]] = raw
		switch role { // so that it is looked at
		case "targets":
			s.snapshotFor(w, metaFor(w.targets, raw))
		case "snapshot":
			s.timestampFor(w, metaFor(w.snapshot, raw))
		}
		sum := s.files["metadata/1.root.json"]
		c, err := Open(Options{RootFile: sum, Fetch: s, Now: func() time.Time { return start }})
		noErr(t, err)
		if _, err := c.Refresh(t.Context()); err != nil && strings.Contains(err.Error(), "panics") {
			t.Error(err)
		}
	})
}
