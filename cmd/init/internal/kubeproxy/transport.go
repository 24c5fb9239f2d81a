package kubeproxy

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/kube"
)

// transports hold the connections to Kubernetes, those with the administrator's
// certificate apart from those without.
type transports struct {
	mu           sync.Mutex
	of           *tls.Config // the credentials that they were made from
	admin, plain *http.Transport
}

// get returns the transport for a call. New credentials bring new connections;
// calls under way keep the old ones until they end.
func (t *transports) get(c kube.Credentials, token bool) *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of != c.TLS {
		if t.of != nil {
			t.admin.CloseIdleConnections()
			t.plain.CloseIdleConnections()
		}
		without := c.TLS.Clone()
		without.Certificates = nil
		t.of, t.admin, t.plain = c.TLS, newTransport(c.TLS.Clone()), newTransport(without)
	}
	if token {
		return t.plain
	}
	return t.admin
}

// newTransport speaks HTTP/1.1, which can be upgraded to the protocols of exec
// and port-forward.
func newTransport(config *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:     dialer.DialContext,
		TLSClientConfig: config,
		// An emulated machine that starts Kubernetes takes long for a handshake.
		TLSHandshakeTimeout:   20 * time.Second,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true, // the caller says what it understands
	}
}
