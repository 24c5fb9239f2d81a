package release

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// ready is a node that knows release 1.0.0 of a server of that world.
func ready(t *testing.T) (*server, world, *node) {
	t.Helper()
	s, w := newServer(t), newWorld()
	w.targets, w.snapshot, w.timestamp = 5, 5, 5
	s.publish(w)
	n := newNode(t, s)
	if !n.refresh() {
		t.Error("the first refresh has changed nothing")
	}
	n.has("1.0.0")
	return s, w, n
}

// forward is the next world with another release.
func (w world) forward(release string) world {
	w.targets++
	w.snapshot++
	w.timestamp++
	w.release = release
	return w
}

func TestRefresh(t *testing.T) {
	s, w, n := ready(t)
	r := n.Releases()[0]
	sum := sha256.Sum256([]byte("os 1.0.0"))
	if r.OS.Digest != hex.EncodeToString(sum[:]) || r.OS.Size != 8 || string(s.files[r.OS.Path]) != "os 1.0.0" {
		t.Errorf("%+v", r)
	}
	index, err := n.Index(t.Context(), r)
	noErr(t, err)
	if string(index) != "index 1.0.0" {
		t.Errorf("index %q", index)
	}
	w = w.forward("1.1.0")
	s.rest(w)
	if !n.refresh() {
		t.Error("nothing has changed")
	}
	n.has("1.1.0")
	n.reboot()
	n.has("1.1.0")
	w.timestamp++
	s.rest(w)
	if n.refresh() {
		t.Error("a new timestamp alone has changed what is released")
	}
	want := []string{"root", "timestamp", "snapshot", "targets"}
	for i, role := range n.Roles() {
		if role.Name != want[i] {
			t.Errorf("role %d is %s", i, role.Name)
		}
	}
}

// The idle poll is one conditional request, also after a reboot, and writes nothing.
func TestIdlePoll(t *testing.T) {
	s, _, n := ready(t)
	for _, tags := range []bool{true, false} {
		s.tags = tags
		for range 3 {
			n.write = func(string, []byte) error { t.Error("an idle poll writes"); return nil }
			s.got, s.same = nil, 0
			if n.refresh() {
				t.Error("something has changed")
			}
			if fmt.Sprint(s.got) != "[metadata/timestamp.json]" || tags && s.same != 1 {
				t.Errorf("requests %v, %d were not modified", s.got, s.same)
			}
			n.has("1.0.0")
			n.reboot()
		}
	}
}

func TestRollback(t *testing.T) {
	for name, back := range map[string]func(*world){
		"timestamp": func(w *world) { w.timestamp = 4 },
		"snapshot":  func(w *world) { w.timestamp, w.snapshot = 6, 4 },
		"targets":   func(w *world) { w.timestamp, w.snapshot, w.targets = 6, 6, 4 },
		"all":       func(w *world) { w.timestamp, w.snapshot, w.targets = 4, 4, 4 },
	} {
		t.Run(name, func(t *testing.T) {
			s, w, n := ready(t)
			w.release = "0.9.0"
			back(&w)
			s.rest(w)
			// After a timestamp was taken the set is not whole, so after a reboot no
			// release is known; what must hold is that the old one never is.
			for range 2 {
				_, err := n.Refresh(t.Context())
				wantErr(t, err, ErrRollback)
				for _, r := range n.Releases() {
					if r.Version != "1.0.0" {
						t.Errorf("it went back to %s", r.Version)
					}
				}
				n.reboot()
			}
			w.timestamp, w.snapshot, w.targets, w.release = 9, 9, 9, "1.1.0"
			s.rest(w)
			n.refresh()
			n.has("1.1.0")
		})
	}
}

// An older root, or one that leaves a version out, is not taken.
func TestRootRollback(t *testing.T) {
	s, w, n := ready(t)
	w.root = 2
	s.root(w, nil)
	w = w.forward("1.1.0")
	s.rest(w)
	n.refresh()
	s.files["metadata/3.root.json"] = s.files["metadata/1.root.json"]
	w = w.forward("1.2.0")
	s.rest(w)
	n.refused(ErrRollback, "1.1.0")
	w.root = 4
	s.root(w, nil)
	s.files["metadata/3.root.json"] = s.files["metadata/4.root.json"]
	n.refused(ErrRollback, "1.1.0")
	delete(s.files, "metadata/3.root.json")
	n.refresh()
	n.has("1.2.0")
}

// A server that keeps the node on what it has is found out when that expires,
// whether it says "not modified" or sends the same again.
func TestFreeze(t *testing.T) {
	for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
		for _, tags := range []bool{true, false} {
			s, w := newServer(t), newWorld()
			w.life[role] = 24 * time.Hour
			s.tags = tags
			s.publish(w)
			n := newNode(t, s)
			n.refresh()
			n.time = start.Add(25 * time.Hour)
			n.refused(ErrExpired)
			w.life = nil
			w.root = 2
			s.root(w, nil)
			s.rest(w.forward("1.1.0"))
			n.refresh()
			n.has("1.1.0")
		}
	}
}

func TestMixAndMatch(t *testing.T) {
	for name, mix := range map[string]func(s *server, old map[string][]byte, w world){
		"targets of another time": func(s *server, _ map[string][]byte, w world) {
			w.release = "6.6.6"
			w.snapshot, w.timestamp = 99, 1
			keep := s.files["metadata/timestamp.json"]
			s.rest(w) // the same version of targets, well signed, with other content
			s.files["metadata/timestamp.json"] = keep
		},
		"snapshot of another time": func(s *server, _ map[string][]byte, w world) {
			keep := s.files["metadata/timestamp.json"]
			w.targets++
			s.rest(w)
			s.files["metadata/timestamp.json"] = keep
		},
		"older targets under the new name": func(s *server, old map[string][]byte, w world) {
			s.files[fmt.Sprintf("metadata/%d.targets.json", w.targets)] = old["metadata/5.targets.json"]
		},
		"older snapshot under the new name": func(s *server, old map[string][]byte, w world) {
			s.files[fmt.Sprintf("metadata/%d.snapshot.json", w.snapshot)] = old["metadata/5.snapshot.json"]
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, w, n := ready(t)
			old := map[string][]byte{}
			for path, body := range s.files {
				old[path] = body
			}
			w = w.forward("1.1.0")
			s.rest(w)
			whole := map[string][]byte{}
			for path, body := range s.files {
				whole[path] = body
			}
			mix(s, old, w)
			for range 2 {
				_, err := n.Refresh(t.Context())
				if !errors.Is(err, ErrMix) && !errors.Is(err, ErrTooLarge) {
					t.Errorf("error %v", err)
				}
				for _, r := range n.Releases() {
					if r.Version != "1.0.0" {
						t.Errorf("it knows %s", r.Version)
					}
				}
				n.reboot()
			}
			s.files = whole
			n.refresh()
			n.has("1.1.0")
		})
	}
}

// A version that the timestamp names and the snapshot does not have.
func TestSnapshotVersionMix(t *testing.T) {
	s, w, n := ready(t)
	w = w.forward("1.1.0")
	s.rest(w)
	raw := s.files["metadata/6.snapshot.json"]
	s.files["metadata/8.snapshot.json"] = raw
	// sign a timestamp that calls version 6 version 8
	w.snapshot = 8
	s.timestampFor(w, metaFor(8, raw))
	_, err := n.Refresh(t.Context())
	wantErr(t, err, ErrMix)
}

func TestEndlessData(t *testing.T) {
	s, w, n := ready(t)
	s.rest(w.forward("1.1.0"))
	for _, path := range []string{"metadata/timestamp.json", "metadata/2.root.json", "metadata/6.snapshot.json", "metadata/6.targets.json"} {
		body, ok := s.files[path]
		s.files[path] = append([]byte(strings.Repeat(" ", maxTargets)), body...)
		_, err := n.Refresh(t.Context())
		wantErr(t, err, ErrTooLarge)
		n.reboot()
		if s.files[path] = body; !ok {
			delete(s.files, path)
		}
	}
	n.refresh()
	n.has("1.1.0")
	r := n.Releases()[0]
	s.files[r.Index.Path] = make([]byte, 1<<20)
	_, err := n.Index(t.Context(), r)
	wantErr(t, err, ErrTooLarge)
	r.Index.Size = maxIndex + 1
	_, err = n.Index(t.Context(), r)
	wantErr(t, err, ErrTooLarge)
}

// Attackers who had the keys of the timestamp and the snapshot have raised the
// versions so far that the owner's would never count again. A root without these
// keys heals that.
func TestFastForward(t *testing.T) {
	for _, key := range []string{"timestamp", "snapshot"} {
		s, w, n := ready(t)
		good := w.forward("1.1.0")
		w.timestamp, w.snapshot, w.targets, w.release = 1<<40, 1<<40, 1<<40, "6.6.6"
		s.rest(w)
		n.refresh()
		n.reboot()
		s.rest(good)
		for range 2 {
			_, err := n.Refresh(t.Context())
			wantErr(t, err, ErrRollback)
			n.reboot()
		}
		good.root = 2
		good.keys = map[string][]string{"root": {"r1", "r2"}, "targets": {"t1", "t2"}, "snapshot": {"s"}, "timestamp": {"ts"}}
		good.keys[key] = []string{"new " + key}
		s.root(good, nil)
		s.rest(good)
		n.refresh()
		n.has("1.1.0")
		n.reboot()
		n.has("1.1.0")
	}
}

func TestSignatures(t *testing.T) {
	for _, role := range []string{"targets", "snapshot", "timestamp"} {
		for name, signers := range map[string][]string{"wrong": {"x", "y"}, "none": nil, "another role's": {"r1", "r2"}} {
			s, w, n := ready(t)
			w = w.forward("6.6.6")
			w.signers = map[string][]string{role: signers}
			s.rest(w)
			for range 2 {
				_, err := n.Refresh(t.Context())
				if !errors.Is(err, ErrSignature) {
					t.Errorf("%s, %s: %v", role, name, err)
				}
				for _, r := range n.Releases() {
					if r.Version != "1.0.0" {
						t.Errorf("it knows %s", r.Version)
					}
				}
				n.reboot()
			}
		}
	}
}

func TestThreshold(t *testing.T) {
	s, w, n := ready(t)
	for _, signers := range [][]string{{"t1"}, {"t2", "x"}} {
		w = w.forward("6.6.6")
		w.signers = map[string][]string{"targets": signers}
		s.rest(w)
		_, err := n.Refresh(t.Context())
		wantErr(t, err, ErrSignature)
		n.reboot()
	}
	// One of the old root's signers and all of the new one's.
	w.signers = nil
	w.keys = map[string][]string{"root": {"x", "y"}, "targets": {"x", "y"}, "snapshot": {"x"}, "timestamp": {"x"}}
	w.root = 2
	w = w.forward("6.6.6")
	s.root(w, []string{"r1"})
	s.rest(w)
	_, err := n.Refresh(t.Context())
	wantErr(t, err, ErrSignature)
	n.reboot()
	s.root(w, []string{"r1", "r2"})
	n.refresh()
	n.has("6.6.6")
	n.reboot()
	n.has("6.6.6")
}

// Whose targets keys were taken away does not release any more, even before
// there is a new set.
func TestRevokedTargetsKeys(t *testing.T) {
	s, w, n := ready(t)
	w.root = 2
	w.keys = map[string][]string{"root": {"r1", "r2"}, "targets": {"u1", "u2"}, "snapshot": {"s"}, "timestamp": {"ts"}}
	s.root(w, nil)
	w = w.forward("1.1.0")
	s.rest(w)
	s.down["metadata/6.targets.json"] = errors.New("the server is gone")
	if _, err := n.Refresh(t.Context()); err == nil {
		t.Error("no error")
	}
	n.has()
	delete(s.down, "metadata/6.targets.json")
	n.refresh()
	n.has("1.1.0")
}

func TestConfiguredRoot(t *testing.T) {
	s, _, n := ready(t)
	other := newServer(t)
	w := newWorld()
	w.keys = map[string][]string{"root": {"x", "y"}, "targets": {"x", "y"}, "snapshot": {"x"}, "timestamp": {"x"}}
	w.release = "6.6.6"
	other.publish(w)
	n.o.Fetch = other
	n.o.Dir = t.TempDir() // a new node that is led to another server
	n.reboot()
	n.refused(ErrRoot)
	n.o.RootFile = other.files["metadata/1.root.json"]
	if _, err := Open(n.o); !errors.Is(err, ErrRoot) {
		t.Errorf("error %v", err)
	}
	n.o.Fetch, n.o.RootFile = s, s.files["metadata/1.root.json"]
	delete(s.files, "metadata/1.root.json") // given, so that it need not be fetched
	n.reboot()
	n.refresh()
	n.has("1.0.0")
	// The owner configures another root: the old one's is forgotten.
	n.o.Root, n.o.RootFile, n.o.Fetch = "", other.files["metadata/1.root.json"], other
	n.reboot()
	n.has()
	n.refresh()
	n.has("6.6.6")
	for _, root := range []string{"", "sha256:", "sha512:00", strings.Repeat("0", 64)} {
		n.o.Root, n.o.RootFile = root, nil
		if _, err := Open(n.o); err == nil {
			t.Errorf("root %q was taken", root)
		}
	}
}

func TestTampered(t *testing.T) {
	s, _, n := ready(t)
	r := n.Releases()[0]
	s.files[r.Index.Path] = []byte("undex 1.0.0")
	for range 2 {
		_, err := n.Index(t.Context(), r)
		wantErr(t, err, ErrTampered)
		n.reboot()
	}
	s.files[r.Index.Path] = []byte("index")
	_, err := n.Index(t.Context(), r)
	wantErr(t, err, ErrTampered)
	r.Index = File{}
	_, err = n.Index(t.Context(), r)
	wantErr(t, err, ErrNotFound)
}

// The clock does no lasting harm, neither in the past nor in the future.
func TestClock(t *testing.T) {
	s, w, n := ready(t)
	n.time = time.Unix(0, 0)
	n.refresh()
	n.has("1.0.0")
	n.time = start.AddDate(10, 0, 0)
	n.refused(ErrExpired)
	s.rest(w.forward("1.1.0"))
	n.refused(ErrExpired)
	n.time = start.Add(2 * time.Hour)
	n.refresh()
	n.has("1.1.0")

	late := newNode(t, s) // a new node whose clock is wrong
	late.time = start.AddDate(10, 0, 0)
	late.refused(ErrExpired)
	late.time = time.Unix(0, 0)
	late.refresh()
	late.has("1.1.0")
}
