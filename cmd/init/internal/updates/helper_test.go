package updates

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/gate"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/release"
	"github.com/digital-mycelium/os/pkg/release/repository"
	"github.com/digital-mycelium/os/pkg/update"
	"github.com/digital-mycelium/os/pkg/update/delta"
)

const board = "x86"

var errBroken = errors.New("broken on purpose")

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErr checks an error's reason, unless that is nil, and that its text says something.
func wantErr(t testing.TB, err, reason error, text string) {
	t.Helper()
	if err == nil || (reason != nil && !errors.Is(err, reason)) || !strings.Contains(err.Error(), text) {
		t.Errorf("error %q, want %v with %q", fmt.Sprint(err), reason, text)
	}
}

// osFile returns the OS file of a version: all of them are the same but for a few bytes.
func osFile(version string) []byte {
	b := make([]byte, 400<<10)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	copy(b[200<<10:], version)
	return b
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// firmware is a machine's, in memory.
type firmware struct {
	running, standard, once string
	tryErr, defaultErr      error
	asked                   func() // before it takes a TryOnce
}

func (f *firmware) Running() (string, error) { return f.running, nil }
func (f *firmware) Default() (string, error) { return f.standard, nil }

func (f *firmware) SetDefault(slot string) error {
	if f.defaultErr == nil {
		f.standard = slot
	}
	return f.defaultErr
}

func (f *firmware) TryOnce(slot string) error {
	if f.asked != nil {
		f.asked()
	}
	if f.tryErr == nil {
		f.once = slot
	}
	return f.tryErr
}

func (f *firmware) Untry() error {
	f.once = ""
	return nil
}

// slot is a place for an OS file, in memory.
type slot struct {
	mu       sync.Mutex
	content  []byte
	writes   int
	writeErr error
	writing  func() // at the end
}

func (s *slot) Write(r io.Reader, size int64) error {
	b, err := io.ReadAll(io.LimitReader(r, size))
	if s.writing != nil {
		s.writing()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.content, s.writes = b, s.writes+1
	return errors.Join(err, s.writeErr)
}

func (s *slot) Open(int64) (update.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return memoryFile{bytes.NewReader(s.content)}, nil
}

type memoryFile struct{ *bytes.Reader }

func (memoryFile) Close() error { return nil }

// published are the files of a repository with and without 1.1.0, and the key that
// signs them. Each test has its copy: that spares the disk thousands of syncs.
type published struct {
	key            identity.PrivateKey
	empty, updated fstest.MapFS
}

var publishOnce = sync.OnceValues(func() (p published, err error) {
	dir, err := os.MkdirTemp("", "releases")
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(dir)
	s, err := createServer(filepath.Join(dir, "repo"))
	if err != nil {
		return p, err
	}
	p.key = s.key
	if p.empty, err = filesOf(s.dir); err != nil {
		return p, err
	}
	if err := s.release("1.1.0", nil, indexOf("1.1.0")); err != nil {
		return p, err
	}
	p.updated, err = filesOf(s.dir)
	return p, err
})

// createServer publishes a repository of its own, without a release.
func createServer(dir string) (*releaseServer, error) {
	s := &releaseServer{dir: dir, key: identity.GenerateKey()}
	signers := map[string]repository.Signers{}
	for _, role := range repository.Roles() {
		signers[role] = repository.Signers{Keys: []identity.PublicKey{s.key.Public()}, Threshold: 1}
	}
	var err error
	if s.repo, err = repository.Create(dir, repository.Settings{Signers: signers}, time.Now); err != nil {
		return nil, err
	}
	return s, s.publish()
}

// filesOf reads a directory.
func filesOf(dir string) (fstest.MapFS, error) {
	files, root := fstest.MapFS{}, os.DirFS(dir)
	return files, fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f := &fstest.MapFile{Mode: fs.ModeDir | 0o755}
		if !d.IsDir() {
			f.Mode = 0o644
			f.Data, err = fs.ReadFile(root, path)
		}
		files[path] = f
		return err
	})
}

// releaseServer is one whose requests do not leave the process, so that they
// take no time.
type releaseServer struct {
	t     *testing.T
	dir   string
	repo  *repository.Repository
	key   identity.PrivateKey
	fresh bool // nothing was released yet

	mu       sync.Mutex
	requests []string
	down     error
	spoil    func(path string, resp *http.Response)
}

func newServer(t *testing.T) *releaseServer {
	t.Helper()
	p, err := publishOnce()
	noErr(t, err)
	s := &releaseServer{t: t, key: p.key, fresh: true}
	s.copy(p.empty)
	return s
}

// copy makes files the server's.
func (s *releaseServer) copy(files fs.FS) {
	s.t.Helper()
	s.dir = filepath.Join(s.t.TempDir(), "repo")
	noErr(s.t, os.CopyFS(s.dir, files))
	var err error
	s.repo, err = repository.Open(s.dir, time.Now)
	noErr(s.t, err)
}

func indexOf(version string) []byte {
	index, err := delta.Make(bytes.NewReader(osFile(version)))
	if err != nil {
		panic(err)
	}
	return index.Encode()
}

// add releases a version, with changed attributes if change is given.
func (s *releaseServer) add(version string, change func(*release.Attributes)) {
	s.t.Helper()
	if s.fresh && version == "1.1.0" && change == nil {
		p, err := publishOnce()
		noErr(s.t, err)
		s.fresh = false
		s.copy(p.updated)
		return
	}
	s.addIndexed(version, change, indexOf(version))
}

func (s *releaseServer) addIndexed(version string, change func(*release.Attributes), index []byte) {
	s.t.Helper()
	s.fresh = false
	noErr(s.t, s.release(version, change, index))
}

func (s *releaseServer) release(version string, change func(*release.Attributes), index []byte) error {
	a := release.Attributes{Version: version, Board: board, Channels: []string{"stable"}}
	if change != nil {
		change(&a)
	}
	path := filepath.Join(filepath.Dir(s.dir), "os.efi")
	if err := os.WriteFile(path, osFile(version), 0o600); err != nil {
		return err
	}
	if err := s.repo.Add(a, path, index); err != nil {
		return err
	}
	return s.publish()
}

func (s *releaseServer) publish() error {
	if _, err := s.repo.Sign(s.key.Signer()); err != nil {
		return err
	}
	return s.repo.Publish(context.Background())
}

// RoundTrip implements http.RoundTripper.
func (s *releaseServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.URL.Path)
	if s.down != nil {
		return nil, s.down
	}
	answer := httptest.NewRecorder()
	if b, err := os.ReadFile(filepath.Join(s.dir, filepath.FromSlash(r.URL.Path))); err == nil {
		answer.Header().Set("ETag", `"`+digestOf(b)+`"`)
	}
	http.FileServer(http.Dir(s.dir)).ServeHTTP(answer, r)
	resp := answer.Result()
	if s.spoil != nil {
		s.spoil(r.URL.Path, resp)
	}
	return resp, nil
}

// took returns the requests since the last call.
func (s *releaseServer) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.requests
	s.requests = nil
	return list
}

// flip changes a bit in the middle of each answer whose path contains part.
func (s *releaseServer) flip(part string) {
	s.spoil = func(path string, resp *http.Response) {
		if strings.Contains(path, part) {
			b, _ := io.ReadAll(resp.Body)
			b[len(b)/2] ^= 1
			resp.Body = io.NopCloser(bytes.NewReader(b))
		}
	}
}

// node is a machine with an agent, whose slot A was flashed with 1.0.0.
type node struct {
	*Agent
	t        *testing.T
	dir      string
	versions map[string]string // by digest: what an OS file says of itself
	firmware *firmware
	slots    map[string]*slot
	journal  update.FileJournal
	server   *releaseServer
	key      identity.PrivateKey
	network  identity.NetworkID
	config   config.Update
	facts    func() gate.Facts
	members  []Member
	serves   bool
	// startable is the firmware's answer about a file; nil for one that starts all.
	startable func(io.ReaderAt, int64) error

	// turn orders what the test and the agent do, as the race detector sees it.
	turn    atomic.Int64
	status  api.Update
	reports []api.Update
	events  []string
	problem string
	reboots int
}

// with runs f in virtual time, with a node that follows a release server.
func with(t *testing.T, f func(t *testing.T, n *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, newServer(t))
		if next := n.boot(); next != update.Nothing {
			t.Fatalf("a new node has to %s", next)
		}
		f(t, n)
	})
}

func newNode(t *testing.T, s *releaseServer) *node {
	n := &node{
		t: t, dir: t.TempDir(), server: s, versions: map[string]string{}, firmware: &firmware{standard: "A"},
		slots: map[string]*slot{"A": {content: osFile("1.0.0")}, "B": {}}, key: identity.GenerateKey(),
		network: identity.NetworkID{7}, facts: func() gate.Facts { return gate.Facts{BootID: "b", Member: true, API: true} },
	}
	n.journal = update.FileJournal(filepath.Join(n.dir, "update.json"))
	for _, v := range []string{"1.0.0", "1.1.0", "1.2.0", "0.9.0"} {
		n.versions[digestOf(osFile(v))] = v
	}
	n.config = config.Update{Server: "http://releases/"}
	return n
}

// bootIn starts the machine from a slot.
func (n *node) bootIn(running string) (update.Next, error) {
	n.t.Helper()
	n.firmware.running = running
	path := filepath.Join(n.dir, "running")
	noErr(n.t, os.WriteFile(path, n.slots[running].content, 0o600))
	slots := map[string]update.Content{}
	for name, s := range n.slots {
		slots[name] = s
	}
	n.config.Root = n.server.repo.Digest()
	agent, next, err := Boot(Options{
		Slots: update.Config{
			Firmware: n.firmware, Journal: n.journal, Slots: slots, Now: time.Now,
			Release: update.Release{Version: n.versions[digestOf(n.slots[running].content)]},
			Startable: func(r io.ReaderAt, size int64) error {
				if n.startable == nil {
					return nil
				}
				return n.startable(r, size)
			},
		},
		State: filepath.Join(n.dir, "state"), Work: filepath.Join(n.dir, "work"), Board: board, Running: path,
		Config: func() config.Update { n.turn.Add(1); return n.config }, Network: func() identity.NetworkID { return n.network },
		Key: n.key.Public, Now: time.Now, Facts: func(context.Context) gate.Facts { n.turn.Add(1); return n.facts() },
		Servers: &http.Client{Transport: n.server}, Members: func() []Member { return n.members }, Serves: func() bool { return n.serves },
		Report: func(u api.Update) {
			n.turn.Add(1)
			n.status = u
			n.reports = append(n.reports, u)
		},
		Event:   func(text string) { n.events = append(n.events, text) },
		Problem: func(text string) { n.problem = text },
		Reboot:  func() { n.reboots++ },
		Log:     slog.New(slog.DiscardHandler),
	})
	n.Agent = agent
	return next, err
}

// boot starts the machine as its firmware is asked to.
func (n *node) boot() update.Next {
	n.t.Helper()
	once := n.firmware.once
	n.firmware.once = ""
	if once == "" {
		once = n.firmware.standard
	}
	next, err := n.bootIn(once)
	noErr(n.t, err)
	return next
}

// tryOut stages a version and starts it.
func (n *node) tryOut(version string) {
	n.t.Helper()
	_, err := n.Stage(n.t.Context(), version, false)
	noErr(n.t, err)
	noErr(n.t, n.Try(n.t.Context()))
	if next := n.boot(); next != update.Judge {
		n.t.Fatalf("%s is to be tried: %s", version, next)
	}
	n.reboots = 0
}

// update makes a version good.
func (n *node) update(version string) {
	n.t.Helper()
	n.tryOut(version)
	n.judge(n.t.Context())
	n.holds(n.updater.State().Running, update.Good, version)
}

// holds checks what the status says of a slot.
func (n *node) holds(name string, phase update.Phase, version string) {
	n.t.Helper()
	i := slices.IndexFunc(n.status.Slots, func(s api.Slot) bool { return s.Name == name })
	if i < 0 || n.status.Slots[i].Phase != string(phase) || n.status.Slots[i].Version != version {
		n.t.Errorf("slots %+v, want %s in %s to be %s", n.status.Slots, version, name, phase)
	}
	if n.status.Activity != nil {
		n.t.Errorf("the node is still busy: %+v", n.status.Activity)
	}
}

// intact checks that nothing is staged, and that what runs was left alone.
func (n *node) intact() {
	n.t.Helper()
	n.holds("A", update.Good, "1.0.0")
	n.holds("B", update.Empty, "")
	if !bytes.Equal(n.slots["A"].content, osFile("1.0.0")) || n.firmware.standard != "A" || n.firmware.once != "" {
		n.t.Errorf("what runs was touched: default %q, once %q", n.firmware.standard, n.firmware.once)
	}
	if n.reboots != 0 {
		n.t.Errorf("%d reboots", n.reboots)
	}
}

// run runs the agent until the test ends or stop is called.
func (n *node) run() (stop func()) {
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan struct{})
	go func() {
		n.Run(ctx)
		close(done)
	}()
	synctest.Wait() // it has looked around
	stop = func() {
		cancel()
		<-done
	}
	n.t.Cleanup(stop)
	return stop
}

// roundTripper is a server that never answers.
type roundTripper struct{}

func (roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// handler answers requests without a network.
type handler struct{ http.Handler }

func (h handler) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	return answer.Result(), nil
}

// after lets time pass and everything come to rest.
func (n *node) after(d time.Duration) {
	n.turn.Add(1)
	time.Sleep(d)
	synctest.Wait()
}
