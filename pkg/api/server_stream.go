package api

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// status answers with the status, or with one a line at each change.
func (h *handler) status(w http.ResponseWriter, r *http.Request) {
	s, changed := h.node.Status()
	if r.URL.Query().Get("watch") != "true" {
		_ = writeJSON(w, s)
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	out := stream{w: w, control: http.NewResponseController(w)}
	enc := json.NewEncoder(&out)
	for {
		if err := enc.Encode(s); err != nil || out.flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
			// Changes come in bursts.
			select {
			case <-r.Context().Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		case <-time.After(watchHeartbeat):
		}
		s, changed = h.node.Status()
	}
}

// logText answers with a log's lines, and with those to come when asked to.
func (h *handler) logText(w http.ResponseWriter, r *http.Request) {
	tail := -1
	if s := r.URL.Query().Get("tail"); s != "" {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			writeError(w, http.StatusBadRequest, "tail must be a number of lines")
			return
		}
		tail = int(n)
	}
	log, err := h.node.Log(r.PathValue("name"))
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	out := stream{w: w, control: http.NewResponseController(w)}
	lines, position, more := log.Tail(tail)
	for {
		if _, err := out.Write(lines); err != nil || out.flush() != nil {
			return
		}
		if r.URL.Query().Get("follow") != "true" {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-more:
		}
		lines, position, more = log.Since(position)
	}
}

// stream writes an answer of unknown length; a client that does not read is
// given up.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s *stream) Write(p []byte) (int, error) {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout)) // unsupported only in tests
	return s.w.Write(p)
}

func (s *stream) flush() error { return s.control.Flush() }

// limitListener accepts at most n connections at a time; more wait in the
// kernel's queue.
func limitListener(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}
