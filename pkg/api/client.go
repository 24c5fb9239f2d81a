package api

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxErrorBody bounds what the client reads of an error's body.
const maxErrorBody = 64 << 10

// maxKubeconfig bounds what the client reads of a kubeconfig.
const maxKubeconfig = 1 << 20

// StatusError is a node's refusal.
type StatusError struct {
	// Code is the HTTP status.
	Code int
	// Message is the node's own words.
	Message string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the node answered %d %s: %s", e.Code, http.StatusText(e.Code), e.Message)
}

// ClientConfig says whom to ask, and as whom.
type ClientConfig struct {
	// Address is the host and port of the node's machine API.
	Address string
	// ServerName is the name that the node's certificate must carry.
	ServerName string
	// CA is the authority's certificate in PEM form; it alone vouches for the node.
	CA []byte
	// Operator is the caller's certificate and key.
	Operator KeyPair
}

// Client calls one node's machine API. It is safe for concurrent use; the
// caller ends its idle connections with Close.
type Client struct {
	base string
	http *http.Client
}

// NewClient makes a client; it does not connect yet.
func NewClient(cfg ClientConfig) (*Client, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(cfg.CA) {
		return nil, errors.New("the authority's certificate is not a PEM certificate")
	}
	own, err := tls.X509KeyPair(cfg.Operator.Certificate, cfg.Operator.Key)
	if err != nil {
		return nil, fmt.Errorf("read the operator's certificate: %w", err)
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			RootCAs:      roots,
			Certificates: []tls.Certificate{own},
			ServerName:   cfg.ServerName,
		},
		TLSHandshakeTimeout:   20 * time.Second, // an emulated machine may need long while it boots
		ResponseHeaderTimeout: 0,                // image loads answer when they are done
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   4,
	}
	return &Client{base: "https://" + cfg.Address, http: &http.Client{Transport: transport}}, nil
}

// Close ends the client's idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks what the node knows of itself.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	body, err := c.do(ctx, http.MethodGet, "/v1/status", nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var s Status
	if err := json.NewDecoder(body).Decode(&s); err != nil {
		return nil, fmt.Errorf("read the node's status: %w", err)
	}
	return &s, nil
}

// WatchStatus calls f with the node's status now and after each change, until
// ctx ends, the node goes away, or f returns an error, which it then returns.
func (c *Client) WatchStatus(ctx context.Context, f func(*Status) error) error {
	body, err := c.do(ctx, http.MethodGet, "/v1/status?watch=true", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	dec := json.NewDecoder(bufio.NewReader(body))
	for {
		var s Status
		if err := dec.Decode(&s); err != nil {
			return fmt.Errorf("read the node's status: %w", err)
		}
		if err := f(&s); err != nil {
			return err
		}
	}
}

// Kubeconfig fetches the admin kubeconfig, whose server is the node itself
// (https://127.0.0.1:6443).
func (c *Client) Kubeconfig(ctx context.Context) ([]byte, error) {
	body, err := c.do(ctx, http.MethodGet, "/v1/kubeconfig", nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxKubeconfig))
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	return data, nil
}

// Logs lists the names of the node's logs.
func (c *Client) Logs(ctx context.Context) ([]string, error) {
	body, err := c.do(ctx, http.MethodGet, "/v1/logs", nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var names []string
	if err := json.NewDecoder(body).Decode(&names); err != nil {
		return nil, fmt.Errorf("read the names of the logs: %w", err)
	}
	return names, nil
}

// LogOptions choose a part of a log.
type LogOptions struct {
	// Follow keeps the log open for new lines until the context ends.
	Follow bool
	// Tail is how many of the last lines to begin with; 0 means all that the node has.
	Tail int
}

// Log opens the log name as text. The caller must close it.
func (c *Client) Log(ctx context.Context, name string, opts LogOptions) (io.ReadCloser, error) {
	query := url.Values{}
	if opts.Follow {
		query.Set("follow", "true")
	}
	if opts.Tail > 0 {
		query.Set("tail", strconv.Itoa(opts.Tail))
	}
	path := "/v1/logs/" + url.PathEscape(name)
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.do(ctx, http.MethodGet, path, nil)
}

// LoadImage sends the container image archive r under the file name to the
// node's image store.
func (c *Client) LoadImage(ctx context.Context, file string, r io.Reader) error {
	return c.discard(ctx, http.MethodPut, "/v1/images/"+url.PathEscape(file), r)
}

// Reboot asks for an orderly reboot; it returns when the node has accepted.
func (c *Client) Reboot(ctx context.Context) error {
	return c.discard(ctx, http.MethodPost, "/v1/reboot", nil)
}

// Shutdown asks for an orderly power-off; it returns when the node has accepted.
func (c *Client) Shutdown(ctx context.Context) error {
	return c.discard(ctx, http.MethodPost, "/v1/shutdown", nil)
}

func (c *Client) discard(ctx context.Context, method, path string, body io.Reader) error {
	answer, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer)
	return errors.Join(err, answer.Close())
}

// do returns the body of a successful answer, which the caller must close.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err // *url.Error names the method and the address
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	return nil, statusError(resp)
}

func statusError(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return fmt.Errorf("read the node's error: %w", err)
	}
	var object struct {
		Error string `json:"error"`
	}
	message := strings.TrimSpace(string(text))
	if json.Unmarshal(text, &object) == nil && object.Error != "" {
		message = object.Error
	}
	return &StatusError{Code: resp.StatusCode, Message: message}
}
