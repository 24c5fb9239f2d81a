package delta

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// random returns n bytes that follow from the seed.
func random(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func index(t testing.TB, file []byte) *Index {
	t.Helper()
	x, err := Make(bytes.NewReader(file))
	noErr(t, err)
	return x
}

// memory is a source in memory, which counts what is read of it.
type memory struct {
	name string
	file []byte
	sent atomic.Int64
}

func (m *memory) Name() string { return m.name }

func (m *memory) ReadRange(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	r := io.NewSectionReader(bytes.NewReader(m.file), offset, length)
	return io.NopCloser(io.TeeReader(&contextReader{ctx, r}, countTo(&m.sent))), nil
}

func countTo(n *atomic.Int64) io.Writer {
	return writerFunc(func(b []byte) (int, error) {
		n.Add(int64(len(b)))
		return len(b), nil
	})
}

type writerFunc func(b []byte) (int, error)

func (w writerFunc) Write(b []byte) (int, error) { return w(b) }

// memoryPeer is one as a peer that has the file.
type memoryPeer struct {
	memory
	state PeerState
}

func (m *memoryPeer) Before() bool { return false }

func (m *memoryPeer) State(context.Context) (PeerState, error) { return m.state, nil }

func peersOf(peers ...Peer) func(context.Context) []Peer {
	return func(context.Context) []Peer { return peers }
}

func local(name string, file []byte) Local {
	return Local{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(file)), nil }}
}

// holds checks a file that was fetched.
func holds(t testing.TB, f *File, want []byte) {
	t.Helper()
	got, err := io.ReadAll(f)
	noErr(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("the file has other bytes than it should (%d, want %d)", len(got), len(want))
	}
}

// wantErr checks that an error says something.
func wantErr(t testing.TB, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Fatalf("got error %v, want one with %q", err, part)
	}
}

// pipes is a network in memory, so that time-outs pass in virtual time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	close  sync.Once
}

// serve starts a server and returns a client all of whose requests go there.
func serve(t testing.TB, h http.Handler) *http.Client {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	srv := &http.Server{Handler: h}
	go func() { _ = srv.Serve(p) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case p.conns <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = srv.Close()
	})
	return &http.Client{Transport: transport}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.close.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
