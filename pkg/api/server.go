package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/digital-mycelium/os/pkg/api/machine/v1/machinev1connect"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
)

// Ports that a node listens on.
const (
	// Port is the TCP port of a node's machine API.
	Port = 6440
	// AdmissionPort is the TCP port on which an issuer admits newcomers.
	AdmissionPort = 6441
)

// KubernetesServerName is the TLS server name with which a client of
// /kubernetes/ gets MemberConfig.KubernetesCertificate to see.
const KubernetesServerName = "kubernetes.mycelium.internal"

// MaxImageSize is the largest image archive that a node takes, in bytes.
const MaxImageSize = 8 << 30

const (
	maxHeader  = 16 << 10
	maxStreams = 64 // of one connection
)

// limits are what a server gives its peers. Numbers are of connections.
type limits struct {
	handshakes int           // under way at a time
	grace      time.Duration // that a handshake has before another may take its place
	handshake  time.Duration // in all
	sessions   int           // after the handshake
	perPeer    int           // of these
	message    int           // bytes
	header     time.Duration
	idle       time.Duration
	body       time.Duration // for a request's whole body
	stall      time.Duration // between two pieces of an upload
	write      time.Duration // for a piece of an answer
	ping       time.Duration // of silence before a client is asked whether it is still there, and that its answer may take
	recheck    time.Duration // how often the rights behind a request under way are judged
	burst      time.Duration // in which changes of the status become one
}

var usualLimits = limits{
	handshakes: 256, grace: 2 * time.Second, handshake: 10 * time.Second,
	sessions: 64, perPeer: 16,
	message: config.MaxSize + 4<<10, // a whole configuration, and what is around it
	header:  10 * time.Second, idle: 2 * time.Minute,
	body: 30 * time.Second, stall: time.Minute, write: 30 * time.Second,
	ping:    15 * time.Second,
	recheck: 15 * time.Second, burst: 100 * time.Millisecond,
}

// Server serves one port. Make it with NewMemberServer, NewEnrolmentServer or
// NewAdmissionServer.
type Server struct {
	mux      *http.ServeMux
	guard    *guard
	tls      *tls.Config
	http2    bool
	limits   limits
	log      *slog.Logger
	refused  *refusalLog
	sessions *sessions
	peer     func(tls.ConnectionState, net.Conn) string
}

func newServer(v *identity.Verifier, c *tls.Config, log *slog.Logger) *Server {
	s := &Server{mux: http.NewServeMux(), tls: c, log: log, refused: newRefusalLog()}
	s.guard = &guard{verifier: v, log: log, refused: s.refused, errors: connect.NewErrorWriter()}
	s.setLimits(usualLimits)
	s.peer = func(cs tls.ConnectionState, _ net.Conn) string { return string(keyOf(cs)) }
	return s
}

func (s *Server) setLimits(l limits) {
	s.limits, s.guard.limits = l, l
	s.sessions = newSessions(l.sessions, l.perPeer)
}

// handle serves the paths that begin with prefix; needs says to whom.
func (s *Server) handle(prefix string, h http.Handler) {
	s.guard.served = append(s.guard.served, prefix)
	s.mux.Handle(prefix, h)
}

// keyOf returns the key that the peer's handshake has proven, as DER.
func keyOf(cs tls.ConnectionState) []byte {
	if len(cs.PeerCertificates) == 0 {
		return nil
	}
	return cs.PeerCertificates[0].RawSubjectPublicKeyInfo
}

// options of every service's handler. Nothing is compressed: on a LAN it would
// cost more than it saves, and what is not unpacked cannot explode.
func (s *Server) options() []connect.HandlerOption {
	return []connect.HandlerOption{
		connect.WithInterceptors(s.guard),
		connect.WithReadMaxBytes(s.limits.message),
		connect.WithCompression("gzip", nil, nil),
	}
}

// MemberConfig is what a member of a network serves on Port.
type MemberConfig struct {
	Verifier *identity.Verifier
	// Certificate returns the node's own, from identity.TLSCertificate.
	Certificate func() (*tls.Certificate, error)
	// Kubernetes serves what is below /kubernetes/, without that prefix; nil when
	// there is none. It finds the caller with Caller.
	Kubernetes http.Handler
	// KubernetesCertificate is shown instead of Certificate to clients that ask for
	// KubernetesServerName, such as kubectl, which wants ordinary X.509; may be nil.
	KubernetesCertificate *tls.Certificate
	Node                  Node
	Peers                 Peers
	Log                   *slog.Logger
}

// NewMemberServer returns the server of a member: MachineService, NetworkService,
// /metrics, /kubernetes/ and OSFilePath, for members of its network alone.
func NewMemberServer(cfg MemberConfig) *Server {
	c := cfg.Verifier.ServerTLS(identity.TLSOptions{Certificate: cfg.Certificate, ExplainRefusals: true})
	own := c.GetCertificate
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == KubernetesServerName && cfg.KubernetesCertificate != nil {
			return cfg.KubernetesCertificate, nil
		}
		return own(hello)
	}
	s := newServer(cfg.Verifier, c, cfg.Log)
	s.http2 = true
	s.handle(machinev1connect.NewMachineServiceHandler(&machineService{cfg.Node, s}, s.options()...))
	s.handle(machinev1connect.NewNetworkServiceHandler(&networkService{cfg.Peers}, s.options()...))
	s.handle(metricsPath, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
		_, _ = w.Write([]byte(cfg.Node.Metrics()))
	}))
	s.handle(OSFilePath, osFiles(cfg.Node))
	kubernetes := cfg.Kubernetes
	if kubernetes == nil {
		kubernetes = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			writeStatus(w, http.StatusServiceUnavailable, "ServiceUnavailable", "this node does not serve Kubernetes: ask one with the role server (mycelium node list)")
		})
	}
	s.handle(kubernetesPath, http.StripPrefix(kubernetesPath[:len(kubernetesPath)-1], kubernetes))
	return s
}

// Serve answers on l until ctx ends, then gives requests under way a moment and
// returns. It closes l. A Server serves once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(s.http2)
	s.tls.NextProtos = []string{"http/1.1"}
	if s.http2 {
		s.tls.NextProtos = []string{"h2", "http/1.1"}
	}
	requests, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	server := &http.Server{
		Handler:           s.guard.middleware(s.mux),
		ReadHeaderTimeout: s.limits.header,
		IdleTimeout:       s.limits.idle,
		MaxHeaderBytes:    maxHeader,
		Protocols:         &protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     256 << 10,
			SendPingTimeout:               s.limits.ping,
			PingTimeout:                   s.limits.ping,
			WriteByteTimeout:              s.limits.write,
		},
		ConnState:   s.sessions.state,
		BaseContext: func(net.Listener) context.Context { return requests },
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		end(connect.NewError(connect.CodeUnavailable, errors.New("the node ends its machine API: it reboots, shuts down or changes its network; try again")))
		grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(newGate(l, s))
	if !stop() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	_ = server.Close()
	return fmt.Errorf("serve the machine API: %w", err)
}
