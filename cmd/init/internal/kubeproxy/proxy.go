// Package kubeproxy lets members of the network reach Kubernetes: a reverse
// proxy to its API for callers whom the machine API has authenticated.
//
// Kubernetes gets to know a caller by impersonation: the proxy shows the
// administrator's certificate and names the caller and the group of its role. A
// caller with a token of Kubernetes' own (a service account's) is passed on
// without either, and the token decides.
//
// The administrator's certificate must never serve anybody as such. So nothing
// that the caller sends can add to what the proxy says of it, and nothing but
// Kubernetes is reached: K3s' own API on the same port does not know
// impersonation.
package kubeproxy

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"sync/atomic"

	"github.com/digital-mycelium/os/cmd/init/internal/kube"
	"github.com/digital-mycelium/os/pkg/identity"
)

// Config says where Kubernetes is and who calls.
type Config struct {
	// Credentials returns the administrator's, as they are now:
	// kube.Source.Credentials.
	Credentials func() (kube.Credentials, error)
	// Target returns the URL of the API server for the next call. When it is nil
	// or returns "", that is the one of the credentials, which on a server is its
	// own. The server must be of the same cluster.
	Target func() string
	// Caller returns whom the machine API has authenticated: its name and its key,
	// as identity shows them, and its role.
	Caller func(ctx context.Context) (name, key string, role identity.APIRole)
	Log    *slog.Logger
}

// New returns a handler for paths as Kubernetes has them, such as /api/v1/nodes.
// It answers errors of its own as Kubernetes does, with a Status object. For
// exec, attach and port-forward, its ResponseWriter must support hijacking, as
// that of HTTP/1.1 does, and no time limit may be set on it.
func New(cfg Config) http.Handler { return &proxy{Config: cfg} }

type proxy struct {
	Config
	transports transports
}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who := caller{}
	who.name, who.key, who.role = p.Caller(r.Context())
	if refusal := p.refusal(who, r); refusal != nil {
		p.Log.Warn("refused a call to Kubernetes", "caller", who.name, "key", who.key, "method", r.Method, "path", r.URL.Path, "reason", refusal.Message)
		refusal.write(w)
		return
	}
	credentials, err := p.Credentials()
	if err != nil {
		unavailable("Kubernetes has not started on this node yet: try again in a moment").write(w)
		return
	}
	target, err := p.target(credentials)
	if err != nil {
		p.Log.Error("no address of Kubernetes", "error", err)
		unavailable("this node does not know where Kubernetes is: try another server").write(w)
		return
	}
	transport := p.transports.get(credentials, hasToken(r.Header))
	reached := &atomic.Bool{}
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { reached.Store(true) }})
	rp := httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1, // watches
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme, pr.Out.URL.Host, pr.Out.Host = target.Scheme, target.Host, ""
			pr.SetXForwarded() // for Kubernetes' audit log
			who.identify(pr.Out.Header, hasToken(pr.In.Header))
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { p.failed(w, r, err, reached.Load()) },
		ErrorLog:     slog.NewLogLogger(p.Log.Handler(), slog.LevelInfo),
	}
	rp.ServeHTTP(w, r.WithContext(ctx))
}

// target is where the call goes.
func (p *proxy) target(c kube.Credentials) (*url.URL, error) {
	server := c.Server
	if p.Target != nil {
		if t := p.Target(); t != "" {
			server = t
		}
	}
	u, err := url.Parse(server)
	if err == nil && (u.Scheme != "https" || u.Host == "") {
		err = errors.New("not an https URL: " + server)
	}
	return u, err
}

// refusal says why Kubernetes must not see the call; nil when it may.
func (p *proxy) refusal(who caller, r *http.Request) *status {
	switch {
	case who.role < identity.Reader:
		return forbidden("this certificate gives no access to Kubernetes: ask an admin of the network for one with an API role")
	case r.Method == http.MethodConnect:
		return &status{Code: http.StatusMethodNotAllowed, Reason: "MethodNotAllowed", Message: "Kubernetes is not reached by CONNECT"}
	case !isKubernetes(r.URL.Path):
		return &status{Code: http.StatusNotFound, Reason: "NotFound", Message: "no path of Kubernetes: " + r.URL.Path}
	case !hasImpersonation(r.Header):
		return nil
	case who.role < identity.Admin:
		return forbidden("only admins may act as somebody else (" + impersonate + "* headers, kubectl --as); your role is " + who.role.String())
	case r.Header.Get(impersonateUser) == "":
		return &status{Code: http.StatusBadRequest, Reason: "BadRequest", Message: "whom to act as is missing (" + impersonateUser + " header, kubectl --as)"}
	}
	return nil
}

// failed answers a call that got no answer.
func (p *proxy) failed(w http.ResponseWriter, r *http.Request, err error, reached bool) {
	switch {
	case errors.Is(err, context.Canceled): // the caller has gone
		w.WriteHeader(http.StatusBadGateway)
	case !reached:
		p.Log.Debug("Kubernetes is not reached", "error", err)
		unavailable("Kubernetes does not answer on this node: it is starting, or down (mycelium status says more)").write(w)
	default:
		// What became of the call nobody knows: it must not be repeated unasked.
		p.Log.Info("Kubernetes broke a call off", "method", r.Method, "path", r.URL.Path, "error", err)
		(&status{Code: http.StatusBadGateway, Reason: "InternalError", Message: "Kubernetes broke the call off: " + err.Error()}).write(w)
	}
}

// roots are the first elements of Kubernetes' paths.
var roots = map[string]bool{
	"": true, "api": true, "apis": true, "version": true, "openapi": true, "metrics": true,
	"healthz": true, "livez": true, "readyz": true, "statusz": true, "flagz": true,
	".well-known": true, "openid": true,
}

// isKubernetes reports whether a path is one of Kubernetes', as it stands and
// as a server might tidy it.
func isKubernetes(p string) bool {
	if p == "" || p == "/" {
		return true
	}
	for _, p := range []string{p, path.Clean(p)} {
		root, _, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
		if root == "" || !roots[root] {
			return false
		}
	}
	return true
}
