package api

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/digital-mycelium/os/pkg/identity"
)

// guard lets nobody call what needs does not allow. It judges each request
// before a byte of its body is read, again before the call is made and at each
// message of a stream, and now and then while a request is under way, whose
// context it ends together with the caller's rights.
type guard struct {
	verifier *identity.Verifier // nil for a server that is for anybody
	served   []string           // the beginnings of the paths that this server has
	limits   limits
	log      *slog.Logger
	refused  *refusalLog
	errors   *connect.ErrorWriter
}

// call is what the guard knows of a request.
type call struct {
	path   string
	peer   tls.ConnectionState
	caller *identity.Certificate // nil for who is no member
	body   *patientBody
}

type callKey struct{}

// Caller returns the certificate of the member on whose behalf ctx runs; nil
// when it is not a member's request.
func Caller(ctx context.Context) *identity.Certificate {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c.caller
	}
	return nil
}

// WithCaller returns a context whose Caller is c, for tests of handlers.
func WithCaller(ctx context.Context, c *identity.Certificate) context.Context {
	return context.WithValue(ctx, callKey{}, &call{caller: c})
}

func callOf(ctx context.Context) *call { c, _ := ctx.Value(callKey{}).(*call); return c }

// judge says whether the peer may call path now, and as whom.
func (g *guard) judge(path string, peer tls.ConnectionState) (*identity.Certificate, error) {
	n, known := needFor(path)
	known = known && slices.ContainsFunc(g.served, func(p string) bool { return strings.HasPrefix(path, p) })
	if known && n.For == anybody {
		return nil, nil
	}
	if g.verifier == nil {
		return nil, refusal(fmt.Errorf("%w: this node belongs to no network yet and can only be enrolled", identity.ErrNotMember))
	}
	if known && n.For == newcomers {
		if _, err := identity.PeerRequest(peer); err != nil {
			return nil, refusal(err)
		}
		return nil, nil
	}
	caller, err := g.verifier.Authorize(peer, identity.NoAPI)
	if err != nil {
		return nil, refusal(fmt.Errorf("%w%s", err, advice(err)))
	}
	switch {
	case !known:
		return nil, connect.NewError(connect.CodeUnimplemented, fmt.Errorf("%.100q is nothing that this node serves: see whether it is of the same version", path))
	case caller.Caps.API < n.API:
		return nil, refusal(fmt.Errorf("%w: %s has the API role %s, %s needs %s: ask who has the issuer for a certificate with that role", identity.ErrRole, caller.Name, caller.Caps.API, shortPath(path), n.API))
	case caller.Caps.Node < n.Node:
		return nil, refusal(fmt.Errorf("%w: %s has the node role %s, %s is for nodes with the role %s or a higher one: invite the node with that role", identity.ErrRole, caller.Name, caller.Caps.Node, shortPath(path), n.Node))
	}
	return caller, nil
}

// advice says what to do where package identity does not.
func advice(err error) string {
	switch {
	case errors.Is(err, identity.ErrRevoked):
		return ": access cannot be given back to this key, ask for a certificate for a new one"
	case errors.Is(err, identity.ErrExpired):
		return " (nodes renew by themselves while an issuer can be reached; people ask who has the issuer)"
	}
	return ""
}

// shortPath is a call's name without its package.
func shortPath(p string) string {
	if entry(p) == OSFilePath {
		return OSFilePath
	}
	if _, known := needs[p]; known && p != metricsPath {
		return path.Base(p)
	}
	return strings.TrimSuffix(p, "/")
}

// middleware judges each request and sets its deadlines.
func (g *guard) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := &patientWriter{ResponseWriter: w, control: http.NewResponseController(w), limit: g.limits.write}
		defer out.last()
		body := &patientBody{ReadCloser: r.Body, control: out.control, limit: g.limits.body}
		if longUpload(r.URL.Path) {
			body.each, body.limit = true, g.limits.stall
		}
		if r.ContentLength != 0 {
			body.start()
		}
		c := &call{path: r.URL.Path, body: body}
		if r.TLS != nil {
			c.peer = *r.TLS
		}
		var err error
		if c.caller, err = g.judge(c.path, c.peer); err != nil {
			g.refuse(out, r, err)
			return
		}
		ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), callKey{}, c))
		defer cancel(nil)
		go g.watch(ctx, c, cancel)
		r = r.WithContext(ctx)
		r.Body = body
		next.ServeHTTP(out, r)
	})
}

// watch ends a request when its caller's rights end.
func (g *guard) watch(ctx context.Context, c *call, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(g.limits.recheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if _, err := g.judge(c.path, c.peer); err != nil {
				cancel(err)
				return
			}
		}
	}
}

// refuse answers in the form that the caller's program understands.
func (g *guard) refuse(w http.ResponseWriter, r *http.Request, err error) {
	code := connect.CodeOf(err)
	var e *connect.Error
	if errors.As(err, &e) {
		if reason := e.Meta().Get(reasonHeader); reason != "" && g.refused.first(host(r.RemoteAddr), entry(r.URL.Path)+" "+reason) {
			g.log.Info("refused a call", "call", shortPath(r.URL.Path), "address", r.RemoteAddr, "reason", e.Message())
		}
	}
	switch {
	case strings.HasPrefix(r.URL.Path, kubernetesPath):
		writeStatus(w, http.StatusForbidden, "Forbidden", e.Message()) // kubectl hides the text of a 401
	case r.URL.Path == metricsPath, entry(r.URL.Path) == OSFilePath:
		status := http.StatusForbidden
		if code == connect.CodeUnauthenticated {
			status = http.StatusUnauthorized
		}
		http.Error(w, e.Message(), status)
	default:
		_ = g.errors.Write(w, r, err)
	}
}

// writeStatus answers in the form of Kubernetes' API (metav1.Status).
func writeStatus(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure",
		"message": message, "reason": reason, "code": code,
	})
}

// WrapUnary implements connect.Interceptor: the message has been read, which may
// have taken its time.
func (g *guard) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		c := callOf(ctx)
		if _, err := g.judge(c.path, c.peer); err != nil {
			return nil, err
		}
		res, err := next(ctx, req)
		g.record(c, err)
		if err != nil {
			return nil, toWire(err)
		}
		return res, nil
	}
}

// WrapStreamingHandler implements connect.Interceptor.
func (g *guard) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		c := callOf(ctx)
		err := next(ctx, &guardedStream{conn, g, c})
		g.record(c, err)
		return toWire(err)
	}
}

// WrapStreamingClient implements connect.Interceptor; a guard is for servers.
func (g *guard) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// record logs the calls that change something.
func (g *guard) record(c *call, err error) {
	if n, _ := needFor(c.path); n.API < identity.Operator || c.caller == nil {
		return
	}
	args := []any{"call", shortPath(c.path), "caller", c.caller.Name, "key", c.caller.Key.String()}
	if err != nil {
		g.log.Warn("a call failed", append(args, "error", err)...)
		return
	}
	g.log.Info("a call was made", args...)
}

// guardedStream ends when the caller's rights end.
type guardedStream struct {
	connect.StreamingHandlerConn
	guard *guard
	call  *call
}

func (s *guardedStream) Send(m any) error {
	if _, err := s.guard.judge(s.call.path, s.call.peer); err != nil {
		return err
	}
	return s.StreamingHandlerConn.Send(m)
}

func (s *guardedStream) Receive(m any) error {
	err := s.StreamingHandlerConn.Receive(m)
	if _, refused := s.guard.judge(s.call.path, s.call.peer); refused != nil {
		return refused
	}
	if !s.call.body.each {
		s.call.body.enough()
	}
	return err
}

// host is the address of host:port.
func host(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return h
}
