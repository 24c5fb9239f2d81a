package kube

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// watchSeconds is after how long the server ends a watch, and the next one
	// begins where it ended; watchPatience is when it should have.
	watchSeconds  = 240
	watchPatience = (watchSeconds + 30) * time.Second
)

// The shortest and the longest pause after a failure; each is twice the one before.
const (
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// WatchNodes calls changed with all nodes of the cluster, by name, as soon as
// they are known and whenever they have changed, until ctx ends. It connects
// again whenever the connection ends, with what the source says then. changed
// gets a slice of its own and is never called twice at once.
func WatchNodes(ctx context.Context, source *Source, log *slog.Logger, changed func([]Node)) {
	w := &nodeWatch{source: source, log: log, changed: changed, firstPause: firstPause}
	w.follow(ctx)
}

// nodeWatch is what WatchNodes knows.
type nodeWatch struct {
	source     *Source
	log        *slog.Logger
	changed    func([]Node)
	firstPause time.Duration

	nodes    []Node // by name
	told     []Node // at the last call of changed
	once     bool   // it was called
	progress bool   // this run got as far as to know the nodes
}

// follow runs until ctx ends.
func (w *nodeWatch) follow(ctx context.Context) {
	pause := w.firstPause
	for failing := false; ; {
		w.progress = false
		err := w.run(ctx)
		if ctx.Err() != nil {
			return
		}
		if w.progress {
			pause, failing = w.firstPause, false
		}
		if !failing {
			w.log.Info("cannot follow the cluster's nodes: trying again", "error", err)
			failing = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// run lists the nodes and follows their changes until that fails.
func (w *nodeWatch) run(ctx context.Context) error {
	client, err := w.source.Client()
	if err != nil {
		return err
	}
	nodes, version, err := client.listNodes(ctx)
	if err != nil {
		return err
	}
	w.nodes, w.progress = nodes, true
	w.tell()
	for {
		began := time.Now()
		if version, err = client.watchNodes(ctx, version, w.event); err != nil {
			return err
		}
		if time.Since(began) < time.Second {
			return errors.New("the API server ends a watch as soon as it has begun")
		}
	}
}

// tell calls changed if there is anything new.
func (w *nodeWatch) tell() {
	if w.once && slices.Equal(w.told, w.nodes) {
		return
	}
	w.once, w.told = true, slices.Clone(w.nodes)
	w.changed(slices.Clone(w.nodes))
}

// event takes one change in: n is there and like this now, or gone.
func (w *nodeWatch) event(n Node, gone bool) error {
	i, found := slices.BinarySearchFunc(w.nodes, n.Name, func(n Node, name string) int { return strings.Compare(n.Name, name) })
	switch {
	case gone && found:
		w.nodes = slices.Delete(w.nodes, i, i+1)
	case gone:
	case found:
		w.nodes[i] = n
	case len(w.nodes) >= maxNodes:
		return fmt.Errorf("the cluster has more than %d nodes", maxNodes)
	default:
		w.nodes = slices.Insert(w.nodes, i, n)
	}
	w.tell()
	return nil
}

// watchNodes calls event for each change after the version, and returns the
// version of the last one when the server ends the watch.
func (c *Client) watchNodes(ctx context.Context, version string, event func(n Node, gone bool) error) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, watchPatience)
	defer cancel()
	path := fmt.Sprintf("/api/v1/nodes?watch=true&allowWatchBookmarks=true&timeoutSeconds=%d&resourceVersion=%s",
		watchSeconds, url.QueryEscape(version))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path, nil)
	if err != nil {
		return version, err
	}
	req.Header.Set("Accept", "application/json")
	// The client's time limit is for short questions.
	resp, err := (&http.Client{Transport: c.http.Transport}).Do(req)
	if err != nil {
		return version, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return version, fmt.Errorf("watch the nodes: %s", resp.Status)
	}
	return readNodeEvents(resp.Body, version, event)
}

// readNodeEvents reads a watch, one JSON object a line, to its end.
func readNodeEvents(r io.Reader, version string, event func(n Node, gone bool) error) (string, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxBody)
	for lines.Scan() {
		var e struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return version, fmt.Errorf("watch the nodes: %w", err)
		}
		if e.Type == "ERROR" {
			var status struct {
				Message string `json:"message"`
			}
			_ = json.Unmarshal(e.Object, &status)
			return version, fmt.Errorf("watch the nodes: the API server says %q", status.Message)
		}
		var o nodeObject
		if err := json.Unmarshal(e.Object, &o); err != nil {
			return version, fmt.Errorf("watch the nodes: %w", err)
		}
		if o.Metadata.ResourceVersion != "" {
			version = o.Metadata.ResourceVersion
		}
		if e.Type == "BOOKMARK" || o.Metadata.Name == "" {
			continue
		}
		if err := event(o.node(), e.Type == "DELETED"); err != nil {
			return version, err
		}
	}
	if err := lines.Err(); err != nil {
		return version, fmt.Errorf("watch the nodes: %w", err)
	}
	return version, nil
}
