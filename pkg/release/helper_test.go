package release

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// server is a release server, with the keys to make whatever it says.
type server struct {
	t     testing.TB
	keys  map[string]ed25519.PrivateKey
	files map[string][]byte
	got   []string // paths, in the order of the requests
	tags  bool     // it knows entity tags
	same  int      // answers that nothing was modified
	down  map[string]error
}

// world is what a server publishes.
type world struct {
	root, targets, snapshot, timestamp int64               // versions
	keys                               map[string][]string // of roles, by name
	threshold                          int                 // of root and targets
	signers                            map[string][]string // of roles, if not all keys sign
	life                               map[string]time.Duration
	release                            string
	custom                             string // instead of the right one
}

func newWorld() world {
	return world{
		root: 1, targets: 1, snapshot: 1, timestamp: 1, threshold: 2, release: "1.0.0",
		keys:    map[string][]string{"root": {"r1", "r2"}, "targets": {"t1", "t2"}, "snapshot": {"s"}, "timestamp": {"ts"}},
		signers: map[string][]string{},
		life:    map[string]time.Duration{},
	}
}

func newServer(t testing.TB) *server {
	return &server{t: t, keys: map[string]ed25519.PrivateKey{}, files: map[string][]byte{}, tags: true, down: map[string]error{}}
}

func (s *server) key(name string) ed25519.PrivateKey {
	if s.keys[name] == nil {
		seed := sha256.Sum256([]byte(name))
		s.keys[name] = ed25519.NewKeyFromSeed(seed[:])
	}
	return s.keys[name]
}

func (s *server) expires(w world, role string) time.Time {
	if d := w.life[role]; d != 0 {
		return start.Add(d)
	}
	return start.AddDate(1, 0, 0)
}

// publish makes all files of a world.
func (s *server) publish(w world) {
	s.t.Helper()
	s.root(w, nil)
	s.rest(w)
}

// root makes a root file, signed by its own keys and by others.
func (s *server) root(w world, also []string) {
	s.t.Helper()
	m := metadata.Root(s.expires(w, "root"))
	m.Signed.Version = w.root
	for role, names := range w.keys {
		for _, name := range names {
			k, err := metadata.KeyFromPublicKey(s.key(name).Public())
			noErr(s.t, err)
			noErr(s.t, m.Signed.AddKey(k, role))
		}
		m.Signed.Roles[role].Threshold = 1
		if role == "root" || role == "targets" {
			m.Signed.Roles[role].Threshold = w.threshold
		}
	}
	for _, name := range also {
		signAs(s.t, m, s.key(name))
	}
	s.files[fmt.Sprintf("metadata/%d.root.json", w.root)] = signed(s, w, "root", m)
}

func (s *server) rest(w world) {
	s.t.Helper()
	osFile, index := []byte("os "+w.release), []byte("index "+w.release)
	a := Attributes{Version: w.release, Board: "x86", Channels: []string{"stable"}, Published: start}
	custom, err := json.Marshal(a)
	noErr(s.t, err)
	if w.custom != "" {
		custom = []byte(w.custom)
	}
	m := metadata.Targets(s.expires(w, "targets"))
	m.Signed.Version = w.targets
	m.Signed.Targets[a.OSTarget()] = s.target(a.OSTarget(), osFile)
	m.Signed.Targets[a.OSTarget()].Custom = (*json.RawMessage)(&custom)
	m.Signed.Targets[a.IndexTarget()] = s.target(a.IndexTarget(), index)
	targets := signed(s, w, "targets", m)
	s.files[fmt.Sprintf("metadata/%d.targets.json", w.targets)] = targets

	sn := metadata.Snapshot(s.expires(w, "snapshot"))
	sn.Signed.Version = w.snapshot
	sn.Signed.Meta["targets.json"] = metaFor(w.targets, targets)
	snapshot := signed(s, w, "snapshot", sn)
	s.files[fmt.Sprintf("metadata/%d.snapshot.json", w.snapshot)] = snapshot

	ts := metadata.Timestamp(s.expires(w, "timestamp"))
	ts.Signed.Version = w.timestamp
	ts.Signed.Meta["snapshot.json"] = metaFor(w.snapshot, snapshot)
	s.files["metadata/timestamp.json"] = signed(s, w, "timestamp", ts)
}

func (s *server) target(name string, content []byte) *metadata.TargetFiles {
	sum := sha256.Sum256(content)
	s.files[TargetPath(name, hex.EncodeToString(sum[:]))] = content
	f := metadata.TargetFile()
	f.Length, f.Hashes["sha256"] = int64(len(content)), sum[:]
	return f
}

func metaFor(version int64, raw []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(raw)
	m := metadata.MetaFile(version)
	m.Length, m.Hashes["sha256"] = int64(len(raw)), sum[:]
	return m
}

func signAs[T metadata.Roles](t testing.TB, m *metadata.Metadata[T], key ed25519.PrivateKey) {
	t.Helper()
	signer, err := signature.LoadSigner(key, crypto.Hash(0))
	noErr(t, err)
	_, err = m.Sign(signer)
	noErr(t, err)
}

func signed[T metadata.Roles](s *server, w world, role string, m *metadata.Metadata[T]) []byte {
	s.t.Helper()
	names, ok := w.signers[role]
	if !ok {
		names = w.keys[role]
	}
	for _, name := range names {
		signAs(s.t, m, s.key(name))
	}
	raw, err := m.ToBytes(false)
	noErr(s.t, err)
	return raw
}

// Get implements Fetch.
func (s *server) Get(_ context.Context, path string, max int64, etag string) ([]byte, string, bool, error) {
	s.got = append(s.got, path)
	if err := s.down[path]; err != nil {
		return nil, "", false, err
	}
	body, ok := s.files[path]
	if !ok {
		return nil, "", false, fmt.Errorf("%s: %w", path, ErrNotFound)
	}
	tag := ""
	if s.tags {
		tag = fmt.Sprintf("%x", sha256.Sum256(body))
	}
	if etag != "" && etag == tag {
		s.same++
		return nil, tag, true, nil
	}
	if int64(len(body)) > max {
		return nil, "", false, ErrTooLarge
	}
	return body, tag, false, nil
}

// node is a machine with a client.
type node struct {
	*Client
	t    testing.TB
	o    Options
	time time.Time
}

func newNode(t testing.TB, s *server) *node {
	t.Helper()
	sum := sha256.Sum256(s.files["metadata/1.root.json"])
	n := &node{t: t, time: start.Add(time.Hour)}
	n.o = Options{Dir: t.TempDir(), Root: "sha256:" + hex.EncodeToString(sum[:]), Fetch: s, Board: "x86", Now: func() time.Time { return n.time }}
	n.reboot()
	return n
}

func (n *node) reboot() {
	n.t.Helper()
	c, err := Open(n.o)
	noErr(n.t, err)
	n.Client = c
}

func (n *node) refresh() bool {
	n.t.Helper()
	changed, err := n.Refresh(n.t.Context())
	noErr(n.t, err)
	return changed
}

// has checks which releases the node knows.
func (n *node) has(versions ...string) {
	n.t.Helper()
	var got []string
	for _, r := range n.Releases() {
		got = append(got, r.Version)
	}
	if fmt.Sprint(got) != fmt.Sprint(versions) {
		n.t.Errorf("the node knows %v, want %v", got, versions)
	}
}

// refused checks that a refresh fails so, now and after a reboot, and that the
// node knows what it did before.
func (n *node) refused(want error, versions ...string) {
	n.t.Helper()
	for range 2 {
		changed, err := n.Refresh(n.t.Context())
		wantErr(n.t, err, want)
		if changed {
			n.t.Error("a refused refresh has changed something")
		}
		n.has(versions...)
		n.reboot()
		n.has(versions...)
	}
}

// timestampFor makes the timestamp of a world with what it says of the snapshot.
func (s *server) timestampFor(w world, meta *metadata.MetaFiles) {
	s.t.Helper()
	ts := metadata.Timestamp(s.expires(w, "timestamp"))
	ts.Signed.Version = w.timestamp
	ts.Signed.Meta["snapshot.json"] = meta
	s.files["metadata/timestamp.json"] = signed(s, w, "timestamp", ts)
}

// signJSON signs any JSON as a role's.
func (s *server) signJSON(w world, role, body string) []byte {
	s.t.Helper()
	var v any
	noErr(s.t, json.Unmarshal([]byte(body), &v))
	payload, err := cjson.EncodeCanonical(v)
	noErr(s.t, err)
	var list []string
	for _, name := range w.keys[role] {
		k, err := metadata.KeyFromPublicKey(s.key(name).Public())
		noErr(s.t, err)
		id, err := k.ID()
		noErr(s.t, err)
		list = append(list, fmt.Sprintf(`{"keyid":%q,"sig":"%x"}`, id, ed25519.Sign(s.key(name), payload)))
	}
	return []byte(`{"signed":` + body + `,"signatures":[` + strings.Join(list, ",") + `]}`)
}

// snapshotFor makes the snapshot of a world, and the timestamp, with what it says of
// the targets.
func (s *server) snapshotFor(w world, meta *metadata.MetaFiles) {
	s.t.Helper()
	sn := metadata.Snapshot(s.expires(w, "snapshot"))
	sn.Signed.Version = w.snapshot
	sn.Signed.Meta["targets.json"] = meta
	raw := signed(s, w, "snapshot", sn)
	s.files[fmt.Sprintf("metadata/%d.snapshot.json", w.snapshot)] = raw
	s.timestampFor(w, metaFor(w.snapshot, raw))
}
