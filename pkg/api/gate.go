package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// gate is a listener whose connections have done their TLS handshake. The
// handshakes run beside each other and apart from the connections that have
// passed: who does not pass keeps nobody out.
type gate struct {
	net.Listener
	tls      *tls.Config
	limits   limits
	log      *slog.Logger
	refused  *refusalLog
	peer     func(tls.ConnectionState, net.Conn) string // whom a connection counts for
	crowd    *crowd
	sessions *sessions

	passed chan net.Conn
	closed chan struct{}
	once   sync.Once
	failed error // why accepting ended; set before failure is closed
	failer chan struct{}
}

func newGate(l net.Listener, s *Server) *gate {
	g := &gate{
		Listener: l, tls: s.tls, limits: s.limits, log: s.log, refused: s.refused, peer: s.peer,
		crowd: newCrowd(s.limits.handshakes, s.limits.grace), sessions: s.sessions,
		passed: make(chan net.Conn), closed: make(chan struct{}), failer: make(chan struct{}),
	}
	go g.run()
	return g
}

// Accept implements net.Listener.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case c := <-g.passed:
		return c, nil
	case <-g.failer:
		return nil, g.failed
	case <-g.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It ends handshakes under way as well.
func (g *gate) Close() error {
	g.once.Do(func() { close(g.closed) })
	err := g.Listener.Close()
	g.crowd.closeAll()
	return err
}

// run accepts connections until the listener is closed.
func (g *gate) run() {
	pause := 5 * time.Millisecond
	for {
		c, err := g.Listener.Accept()
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Temporary() { //nolint:staticcheck // as net/http: no file descriptors left, for a moment
			g.log.Warn("cannot accept a connection to the machine API", "error", err)
			select {
			case <-time.After(pause):
			case <-g.closed:
				return
			}
			pause = min(2*pause, time.Second)
			continue
		}
		if err != nil {
			g.failed = err
			close(g.failer)
			return
		}
		pause = 5 * time.Millisecond
		p := g.crowd.enter(c, g.closed)
		if p == nil {
			_ = c.Close()
			return
		}
		go g.shake(p)
	}
}

// shake does one handshake and hands the connection on.
func (g *gate) shake(p *place) {
	passed := false
	defer func() {
		if r := recover(); r != nil { // a bug must not end the process, which is the machine
			g.log.Error("a TLS handshake panicked: report this", "address", p.conn.RemoteAddr().String(), "panic", fmt.Sprint(r))
		}
		if !passed {
			// Its place stays taken for a while: who comes again and again costs no
			// more time than who stays, and the peer gets to read why.
			if c, ok := p.conn.(interface{ CloseWrite() error }); ok {
				_ = c.CloseWrite()
			}
			time.AfterFunc(g.limits.grace-time.Since(p.since), func() {
				_ = p.conn.Close()
				g.crowd.leave(p)
			})
		}
	}()
	raw := &trackedConn{Conn: p.conn}
	c := tls.Server(raw, g.tls)
	_ = c.SetDeadline(time.Now().Add(g.limits.handshake))
	if err := c.HandshakeContext(context.Background()); err != nil { // the deadline ends it
		if reason, advice := explainHandshake(err); reason != "" && g.refused.first(p.source.String(), reason) {
			g.log.Info("refused a connection to the machine API", "address", p.conn.RemoteAddr().String(), "reason", err.Error(), "advice", advice)
		}
		return
	}
	_ = c.SetDeadline(time.Time{})
	peer := g.peer(c.ConnectionState(), p.conn)
	raw.ended = func() { g.sessions.remove(c) }
	if !g.sessions.add(c, peer, time.Now()) {
		if g.refused.first(peer, "sessions") {
			g.log.Warn("refused a connection to the machine API", "address", p.conn.RemoteAddr().String(), "reason", "all connections are in use", "advice", "end some: each command that follows something has one")
		}
		return
	}
	g.crowd.leave(p) // the next one may come while this one waits to be taken up
	select {
	case g.passed <- c:
		passed = true
	case <-g.closed:
		g.sessions.remove(c)
	}
}

// trackedConn tells when it is closed. ended is set before the connection is
// handed on.
type trackedConn struct {
	net.Conn
	ended func()
}

func (c *trackedConn) Close() error {
	err := c.Conn.Close()
	if c.ended != nil {
		c.ended()
	}
	return err
}
