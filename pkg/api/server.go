package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// Node is what a machine API serves.
type Node interface {
	// Status returns the status now and a channel that is closed at its next
	// change.
	Status() (Status, <-chan struct{})
	// Kubeconfig returns the admin kubeconfig, or ErrNotYet.
	Kubeconfig() ([]byte, error)
	// LogNames returns the names of the logs, sorted.
	LogNames() []string
	// Log returns a log by its name, or ErrNotFound.
	Log(name string) (Log, error)
	// PutImage stores a container image archive under a file name that
	// ValidImageName accepts; the archive is complete when r ends with io.EOF.
	PutImage(ctx context.Context, name string, r io.Reader) error
	// Reboot and Shutdown ask for the orderly end of the machine's run and return
	// at once.
	Reboot()
	Shutdown()
}

// Log is a log that is read while it is written.
type Log interface {
	// Tail returns the last n lines (all for n < 0), the position behind them,
	// and a channel that is closed when there are more.
	Tail(n int) (lines []byte, position int64, more <-chan struct{})
	// Since returns the lines behind a position, as Tail does.
	Since(position int64) (lines []byte, next int64, more <-chan struct{})
}

// Errors of a Node that have a status of their own.
var (
	ErrNotFound = errors.New("not found") // 404
	ErrNotYet   = errors.New("not yet")   // 503
	ErrFull     = errors.New("disk full") // 507
)

// Limits of the server.
const (
	maxHeader      = 16 << 10
	maxConnections = 64
	// MaxImageSize is the largest image archive that a node takes, in bytes.
	MaxImageSize   = 8 << 30
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	writeTimeout   = 30 * time.Second
	imageStall     = time.Minute
	watchHeartbeat = 15 * time.Second
)

// ServerConfig is who the node is and whom it answers. All fields are PEM.
type ServerConfig struct {
	// CA is what clients' certificates are verified by, at each connection.
	CA               []byte
	Certificate, Key []byte
}

// Server serves one node's machine API. Make it with NewServer.
type Server struct {
	http *http.Server
	tls  *tls.Config
}

// NewServer returns a server for node.
func NewServer(cfg ServerConfig, node Node, log *slog.Logger) (*Server, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(cfg.CA) {
		return nil, errors.New("the CA is no PEM certificate")
	}
	pair, err := tls.X509KeyPair(cfg.Certificate, cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("the node's certificate: %w", err)
	}
	return &Server{
		tls: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    pool,
			Certificates: []tls.Certificate{pair},
			NextProtos:   []string{"http/1.1"},
			// A ticket would let a client come back after its certificate has expired.
			SessionTicketsDisabled: true,
		},
		http: &http.Server{
			Handler:           Handler(node, log),
			ReadHeaderTimeout: headerTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
	}, nil
}

// Serve answers on l until ctx ends, then gives requests under way a moment and
// returns. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := s.http.Shutdown(grace); err != nil {
			_ = s.http.Close()
		}
	})
	defer stop()
	err := s.http.Serve(tls.NewListener(limitListener(l, maxConnections), s.tls))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the machine API: %w", err)
}

// Handler returns the machine API without TLS, for Server and for tests.
func Handler(node Node, log *slog.Logger) http.Handler {
	h := &handler{node: node, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", h.status)
	mux.HandleFunc("GET /v1/kubeconfig", h.kubeconfig)
	mux.HandleFunc("GET /v1/logs", h.logs)
	mux.HandleFunc("GET /v1/logs/{name}", h.logText)
	mux.HandleFunc("PUT /v1/images/{file}", h.image)
	mux.HandleFunc("POST /v1/reboot", h.end("reboot", node.Reboot))
	mux.HandleFunc("POST /v1/shutdown", h.end("shutdown", node.Shutdown))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "no such resource or method; see /v1/status, /v1/kubeconfig, /v1/logs")
	})
	return mux
}

type handler struct {
	node Node
	log  *slog.Logger
}

func writeError(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}

// fail answers with the status that err stands for.
func fail(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrNotFound):
		code = http.StatusNotFound
	case errors.Is(err, ErrNotYet):
		code = http.StatusServiceUnavailable
	case errors.Is(err, ErrFull):
		code = http.StatusInsufficientStorage
	}
	writeError(w, code, err.Error())
}

func writeJSON(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

// kubeconfig, logs: short answers.

func (h *handler) kubeconfig(w http.ResponseWriter, r *http.Request) {
	b, err := h.node.Kubeconfig()
	if err != nil {
		fail(w, err)
		return
	}
	h.log.Info("kubeconfig given out", "client", clientName(r))
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(b)
}

func (h *handler) logs(w http.ResponseWriter, _ *http.Request) { _ = writeJSON(w, h.node.LogNames()) }

// end answers 202 and lets the answer leave before the machine's end begins.
func (h *handler) end(what string, act func()) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h.log.Info("asked for "+what, "client", clientName(r))
		w.WriteHeader(http.StatusAccepted)
		_ = http.NewResponseController(w).Flush()
		act()
	}
}

// clientName is the name in the client's certificate, for the log.
func clientName(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	return r.TLS.PeerCertificates[0].Subject.CommonName
}

var imageName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.tar(\.zst)?$`)

// ValidImageName reports whether a file name may stand in the image store: a
// plain name of letters, digits, '.', '_' and '-' that ends with .tar or .tar.zst.
func ValidImageName(name string) bool { return imageName.MatchString(name) }

func (h *handler) image(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	if !ValidImageName(name) {
		writeError(w, http.StatusBadRequest, strconv.Quote(name)+" is no name of an image archive: letters, digits, '.', '_' and '-', ending with .tar or .tar.zst")
		return
	}
	if r.ContentLength > MaxImageSize {
		writeError(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("%d bytes are too many (%d at most)", r.ContentLength, int64(MaxImageSize)))
		return
	}
	body := &stallReader{r: http.MaxBytesReader(w, r.Body, MaxImageSize), control: http.NewResponseController(w)}
	err := h.node.PutImage(r.Context(), name, body)
	if errors.As(err, new(*http.MaxBytesError)) {
		writeError(w, http.StatusRequestEntityTooLarge, "the image archive is too large")
		return
	}
	if err != nil {
		h.log.Warn("image not stored", "name", name, "client", clientName(r), "error", err)
		fail(w, err)
		return
	}
	h.log.Info("image stored", "name", name, "client", clientName(r))
	w.WriteHeader(http.StatusNoContent)
}

// stallReader gives a client that sends nothing for a while up, however long
// the whole archive takes.
type stallReader struct {
	r       io.Reader
	control *http.ResponseController
}

func (s *stallReader) Read(p []byte) (int, error) {
	_ = s.control.SetReadDeadline(time.Now().Add(imageStall)) // unsupported only in tests
	return s.r.Read(p)
}
