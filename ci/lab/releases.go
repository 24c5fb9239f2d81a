package lab

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/release"
	"github.com/digital-mycelium/os/pkg/release/repository"
	"github.com/digital-mycelium/os/pkg/update/delta"
)

// ReleaseServer is a release repository, and an HTTP server of it on 127.0.0.1, which
// guests reach at 10.0.2.2.
type ReleaseServer struct {
	// Root is what nodes are configured with, URL where guests find the server.
	Root, URL string

	dir  string
	key  identity.PrivateKey
	repo *repository.Repository

	mu    sync.Mutex
	sent  int64
	spoil func(w http.ResponseWriter, r *http.Request, serve http.Handler)
}

// NewReleaseServer makes an empty repository and serves it until the test ends.
func NewReleaseServer(t testing.TB) *ReleaseServer {
	t.Helper()
	s := &ReleaseServer{dir: filepath.Join(t.TempDir(), "releases"), key: identity.GenerateKey()}
	all := repository.Signers{Keys: []identity.PublicKey{s.key.Public()}, Threshold: 1}
	settings := repository.Settings{Signers: map[string]repository.Signers{}}
	for _, role := range repository.Roles() {
		settings.Signers[role] = all
	}
	var err error
	if s.repo, err = repository.Create(s.dir, settings, time.Now); err != nil {
		t.Fatalf("make the release repository: %v", err)
	}
	if _, err := s.repo.Sign(s.key.Signer(), repository.Root); err != nil {
		t.Fatalf("sign the release repository: %v", err)
	}
	s.Root = s.repo.Digest()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("release server: %v", err)
	}
	s.URL = fmt.Sprintf("http://10.0.2.2:%d", l.Addr().(*net.TCPAddr).Port)
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: s}
	t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.Serve(l) }() // ends with Close
	return s
}

// Publish releases an OS file on the channel stable.
func (s *ReleaseServer) Publish(ctx context.Context, f OSFile) error {
	file, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	index, err := delta.Make(file)
	if err != nil {
		return err
	}
	if err := s.repo.Add(release.Attributes{Version: f.Version, Board: f.Board, Channels: []string{"stable"}}, f.Path, index.Encode()); err != nil {
		return err
	}
	if _, err := s.repo.Sign(s.key.Signer()); err != nil {
		return err
	}
	return s.repo.Publish(ctx)
}

// Spoil has requests answered by f, which may call serve for the right answer; nil
// ends that.
func (s *ReleaseServer) Spoil(f func(w http.ResponseWriter, r *http.Request, serve http.Handler)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil = f
}

// Sent returns how many bytes of answers' bodies the server has sent, and begins anew.
func (s *ReleaseServer) Sent() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.sent
	s.sent = 0
	return n
}

// ServeHTTP implements http.Handler.
func (s *ReleaseServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	spoil := s.spoil
	s.mu.Unlock()
	counted := &countingWriter{w, s}
	files := http.FileServer(http.Dir(s.dir))
	if spoil != nil {
		spoil(counted, r, files)
		return
	}
	files.ServeHTTP(counted, r)
}

// IsOSFile reports whether a request is for an OS file, and not for metadata or an index.
func IsOSFile(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, ".os.efi") }

// countingWriter counts what is sent. It is no io.ReaderFrom, so that all of it passes here.
type countingWriter struct {
	http.ResponseWriter
	server *ReleaseServer
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	w.server.sent += int64(n)
	return n, err
}
