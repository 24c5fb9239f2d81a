package release

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A server that fails at any request leaves a node that goes on when it is back.
func TestServerFails(t *testing.T) {
	gone := errors.New("the server is gone")
	for _, path := range []string{"metadata/timestamp.json", "metadata/2.root.json", "metadata/6.snapshot.json", "metadata/6.targets.json"} {
		for _, reboot := range []bool{false, true} {
			s, w, n := ready(t)
			s.rest(w.forward("1.1.0"))
			s.down[path] = gone
			_, err := n.Refresh(t.Context())
			wantErr(t, err, gone)
			n.has("1.0.0")
			if reboot {
				n.reboot()
			}
			delete(s.down, path)
			n.refresh()
			n.has("1.1.0")
		}
	}
}

// A power cut before any write leaves the state before or after, and the way on.
func TestPowerCut(t *testing.T) {
	stop := errors.New("power cut")
	for cut := range 3 {
		s, w, n := ready(t)
		writes := 0
		write := n.write
		n.write = func(path string, data []byte) error {
			if writes++; writes > cut {
				return stop
			}
			return write(path, data)
		}
		s.rest(w.forward("1.1.0"))
		_, err := n.Refresh(t.Context())
		if cut < 2 {
			wantErr(t, err, stop)
		} else {
			noErr(t, err)
		}
		n.reboot()
		if cut == 0 {
			n.has("1.0.0")
		} else {
			n.has("1.1.0")
		}
		noErr(t, n.Lost())
		n.refresh()
		n.has("1.1.0")
		n.reboot()
		if _, whole, err := load(n.o.Dir); !whole || err != nil {
			t.Errorf("cut %d: the copies are not alike afterwards: %v", cut, err)
		}
	}
}

// One damaged copy costs nothing, and is mended. Two are never trusted, which
// shows until there is something better.
func TestDamage(t *testing.T) {
	damages := map[string]func([]byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"truncated": func(b []byte) []byte { return b[:len(b)/2] },
		"zeros":     func(b []byte) []byte { return make([]byte, len(b)) },
		"endless":   func(b []byte) []byte { return append(b, make([]byte, maxState)...) },
	}
	for bit := range 24 {
		damages[fmt.Sprintf("flipped %d", bit)] = func(b []byte) []byte {
			b[(len(b)-1)*bit/23] ^= 1 << (bit % 8)
			return b
		}
	}
	s, w, n := ready(t)
	old := w
	old.timestamp, old.snapshot, old.targets, old.release = 4, 4, 4, "0.9.0"
	for name, damage := range damages {
		for _, which := range [][]string{{firstCopy}, {secondCopy}, {firstCopy, secondCopy}} {
			s.rest(w)
			n.refresh()
			for _, file := range which {
				path := filepath.Join(n.o.Dir, file)
				data, err := os.ReadFile(path)
				noErr(t, err)
				noErr(t, os.WriteFile(path, damage(data), 0o600))
			}
			n.reboot()
			if len(which) == 1 {
				if n.Lost() != nil {
					t.Errorf("%s: lost: %v", name, n.Lost())
				}
				n.has("1.0.0")
				s.rest(old)
				_, err := n.Refresh(t.Context())
				wantErr(t, err, ErrRollback)
				continue
			}
			wantErr(t, n.Lost(), ErrDamaged)
			n.has()
			s.down["metadata/1.root.json"] = errors.New("the server is gone")
			if _, err := n.Refresh(t.Context()); err == nil {
				t.Error("no error")
			}
			n.reboot()
			wantErr(t, n.Lost(), ErrDamaged)
			delete(s.down, "metadata/1.root.json")
			n.refresh()
			n.has("1.0.0")
			n.reboot()
			noErr(t, n.Lost())
		}
	}
}

// Metadata that is signed but makes no sense is an error, not the end of the process.
func TestNonsense(t *testing.T) {
	for _, c := range []struct{ role, path, body string }{
		{"timestamp", "metadata/timestamp.json", `{"_type":"timestamp","spec_version":"1.0.31","version":6,"expires":"2027-01-01T00:00:00Z","meta":{}}`},
		{"timestamp", "metadata/timestamp.json", `{"_type":"timestamp","spec_version":"1.0.31","version":6,"expires":"2027-01-01T00:00:00Z","meta":{"snapshot.json":null}}`},
		{"root", "metadata/2.root.json", `{"_type":"root","spec_version":"1.0.31","version":2,"consistent_snapshot":true,"expires":"2027-01-01T00:00:00Z","keys":{},"roles":{"root":null}}`},
		{"root", "metadata/2.root.json", `{"_type":"root","spec_version":"1.0.31","version":2,"consistent_snapshot":true,"expires":"2027-01-01T00:00:00Z","keys":{"a":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"00"}}},"roles":{}}`},
	} {
		s, w, n := ready(t)
		s.rest(w.forward("1.1.0"))
		s.files[c.path] = s.signJSON(w, c.role, c.body)
		n.refused(ErrMalformed, "1.0.0")
	}
}
