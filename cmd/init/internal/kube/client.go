package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// maxBody bounds an answer in bytes.
const maxBody = 4 << 20

// ErrNotFound says that the API server has no such object (yet).
var ErrNotFound = errors.New("not found")

// Client asks one API server. It is safe for concurrent use.
type Client struct {
	server string
	http   *http.Client
}

// NewClient returns a client for the server that the credentials name. The
// caller closes it.
func NewClient(c Credentials) *Client {
	return &Client{server: c.Server, http: &http.Client{
		// An emulated machine that starts Kubernetes takes long for a handshake.
		Timeout:   20 * time.Second,
		Transport: &http.Transport{TLSClientConfig: c.TLS, MaxIdleConns: 1, IdleConnTimeout: time.Minute},
	}}
}

// Close gives up idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) get(ctx context.Context, path, accept string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", accept)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("GET %s: %w", path, ErrNotFound)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("GET %s: %s", path, resp.Status)
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// Ready returns nil when the API server says that it is ready.
func (c *Client) Ready(ctx context.Context) error {
	return c.get(ctx, "/readyz", "text/plain", nil)
}

// Version returns the server's version, e.g. "v1.35.1+k3s1".
func (c *Client) Version(ctx context.Context) (string, error) {
	var v struct {
		GitVersion string `json:"gitVersion"`
	}
	err := c.get(ctx, "/version", "application/json", &v)
	return v.GitVersion, err
}

// NodeReady returns the Ready condition of a node: whether it is, and when it
// is not, why. ErrNotFound means that the node has not registered yet.
func (c *Client) NodeReady(ctx context.Context, name string) (ready bool, reason string, err error) {
	var n struct {
		Status struct {
			Conditions []struct {
				Type, Status, Reason, Message string
			} `json:"conditions"`
		} `json:"status"`
	}
	if err := c.get(ctx, "/api/v1/nodes/"+url.PathEscape(name), "application/json", &n); err != nil {
		return false, "", err
	}
	for _, cond := range n.Status.Conditions {
		if cond.Type != "Ready" {
			continue
		}
		if cond.Status == "True" {
			return true, "", nil
		}
		if cond.Message == "" {
			cond.Message = cond.Reason
		}
		return false, cond.Message, nil
	}
	return false, "the kubelet has not reported yet", nil
}

// NodeBoot returns which boot of the machine its node last reported from
// (/proc/sys/kernel/random/boot_id).
func (c *Client) NodeBoot(ctx context.Context, name string) (string, error) {
	var n struct {
		Status struct {
			NodeInfo struct {
				BootID string `json:"bootID"`
			} `json:"nodeInfo"`
		} `json:"status"`
	}
	err := c.get(ctx, "/api/v1/nodes/"+url.PathEscape(name), "application/json", &n)
	return n.Status.NodeInfo.BootID, err
}

// Pods counts the pods on a node, and those of them that are running. It asks
// for a table, whose rows are a hundredth of the objects' size.
func (c *Client) Pods(ctx context.Context, node string) (running, total int, err error) {
	var t struct {
		Columns []struct {
			Name string `json:"name"`
		} `json:"columnDefinitions"`
		Rows []struct {
			Cells []any `json:"cells"`
		} `json:"rows"`
	}
	path := "/api/v1/pods?includeObject=None&fieldSelector=" + url.QueryEscape("spec.nodeName="+node)
	if err := c.get(ctx, path, "application/json;as=Table;v=v1;g=meta.k8s.io", &t); err != nil {
		return 0, 0, err
	}
	status := -1
	for i, col := range t.Columns {
		if col.Name == "Status" {
			status = i
		}
	}
	for _, r := range t.Rows {
		total++
		if status >= 0 && status < len(r.Cells) && r.Cells[status] == "Running" {
			running++
		}
	}
	return running, total, nil
}
