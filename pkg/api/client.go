package api

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"github.com/digital-mycelium/os/pkg/api/machine/v1/machinev1connect"
)

// maxAnswer bounds a message that a client takes, in bytes.
const maxAnswer = 16 << 20

// ClientConfig says whom to ask, and as whom.
type ClientConfig struct {
	// Address is the host of the node's machine API, with a port if it is not Port.
	Address string
	// TLS says who calls and whom to accept, from identity.Verifier.ClientTLS.
	TLS *tls.Config
}

// Client calls one node's machine API, MachineService and NetworkService. It is
// safe for concurrent use; the caller ends its connections with Close. A node's
// refusal is a *CallError.
type Client struct {
	http *http.Client
	base string // URL of the node
}

// NewClient makes a client; it does not connect yet.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.TLS == nil {
		return nil, errors.New("a client of the machine API needs a TLS configuration: join a network first")
	}
	if cfg.Address == "" {
		return nil, errors.New("a client of the machine API needs an address: give the node's")
	}
	h, base := dialer(cfg.Address, Port, cfg.TLS, true)
	return &Client{h, base}, nil
}

// machine is no field: a program whose calls are of NetworkService alone, such
// as init, then links no client of MachineService.
func (c *Client) machine() machinev1connect.MachineServiceClient {
	return machinev1connect.NewMachineServiceClient(c.http, c.base, clientOptions()...)
}

func (c *Client) network() machinev1connect.NetworkServiceClient {
	return machinev1connect.NewNetworkServiceClient(c.http, c.base, clientOptions()...)
}

// OSFiles returns what asks the node for OS files at OSFilePath (delta.HTTPPeer):
// the client's own connections, and the node's base URL.
func (c *Client) OSFiles() (*http.Client, string) { return c.http, c.base }

// Close ends the client's idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func clientOptions() []connect.ClientOption {
	return []connect.ClientOption{
		connect.WithReadMaxBytes(maxAnswer),
		connect.WithAcceptCompression("gzip", nil, nil),
	}
}

// dialer returns what calls address, and the URL to call.
func dialer(address string, port int, config *tls.Config, http2 bool) (*http.Client, string) {
	var protocols http.Protocols
	protocols.SetHTTP1(true) // a node without a network speaks nothing else, and must be recognized
	protocols.SetHTTP2(http2)
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 20 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:     config.Clone(),
		TLSHandshakeTimeout: 20 * time.Second, // an emulated machine may need long while it boots
		IdleConnTimeout:     time.Minute,
		MaxIdleConnsPerHost: 4,
		Protocols:           &protocols,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
	return &http.Client{
		Transport: transport,
		// A node never sends its caller elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, "https://" + strings.ReplaceAll(withPort(address, port), "%", "%25") // a zone of IPv6, RFC 6874
}

// withPort adds the port that a host's address lacks.
func withPort(address string, port int) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), strconv.Itoa(port))
}

// ask makes one call and returns the answer's message.
func ask[Req, Res any](ctx context.Context, f func(context.Context, *connect.Request[Req]) (*connect.Response[Res], error), request *Req) (*Res, error) {
	var conn atomic.Pointer[net.Conn]
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { conn.Store(&i.Conn) }})
	res, err := f(ctx, connect.NewRequest(request))
	if err != nil {
		return nil, fromWire(withAlert(err, conn.Load()))
	}
	return res.Msg, nil
}

// withAlert adds to err the alert with which the other end has closed conn. A
// client of TLS 1.3 is still writing its first request when the server refuses
// its certificate, and package http then reports either the alert or the write
// that came too late. Package tls keeps the alert for every later Read.
func withAlert(err error, conn *net.Conn) error {
	if conn == nil || !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	if _, alert := (*conn).Read(make([]byte, 1)); alert != nil && strings.HasPrefix(alert.Error(), "remote error: tls: ") {
		return connect.NewError(connect.CodeOf(err), alert)
	}
	return err
}
