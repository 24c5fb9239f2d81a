package kube

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// nodeJSON is a Node object as the API server sends it.
func nodeJSON(name, version, ip, cidr string, ready bool) string {
	return fmt.Sprintf(`{"kind":"Node","metadata":{"name":%q,"resourceVersion":%q},"spec":{"podCIDR":%q},
		"status":{"addresses":[{"type":"Hostname","address":%q},{"type":"InternalIP","address":%q}],"conditions":[{"type":"Ready","status":%q}]}}`,
		name, version, cidr, name, ip, map[bool]string{true: "True", false: "Unknown"}[ready])
}

func TestNodeObject(t *testing.T) {
	for doc, want := range map[string]Node{
		nodeJSON("a", "1", "100.64.0.1", "10.42.0.0/24", true): {Name: "a", InternalIP: netip.MustParseAddr("100.64.0.1"), PodCIDR: netip.MustParsePrefix("10.42.0.0/24"), Ready: true},
		nodeJSON("b", "1", "x", "10.42.0.1/24", false):         {Name: "b"},
		`{"metadata":{"name":"c"},"spec":{"unschedulable":true},"status":{"addresses":[
			{"type":"InternalIP","address":"100.64.0.3"},{"type":"InternalIP","address":"100.64.0.4"}]}}`: {Name: "c", InternalIP: netip.MustParseAddr("100.64.0.3"), Unschedulable: true},
	} {
		var o nodeObject
		if err := json.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		if got := o.node(); got != want {
			t.Errorf("%s\ngot  %+v\nwant %+v", doc, got, want)
		}
	}
}

// cluster is an API server that serves scripted answers.
type cluster struct {
	t       *testing.T
	list    func(query string) string        // an answer's body; "" is an error
	watch   func(version string, w *watcher) // until it returns
	watches chan string                      // the versions that watches began at
}

// watcher is the server's end of a watch.
type watcher struct {
	io.Writer
	done <-chan struct{}
}

func (w *watcher) send(kind, object string) {
	var line bytes.Buffer
	if err := json.Compact(&line, []byte(fmt.Sprintf(`{"type":%q,"object":%s}`, kind, object))); err != nil {
		panic(err)
	}
	fmt.Fprintln(w, line.String())
	w.Writer.(http.Flusher).Flush()
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	switch {
	case r.URL.Path != "/api/v1/nodes":
		http.NotFound(w, r)
	case q.Get("watch") != "true":
		if body := c.list(r.URL.RawQuery); body != "" {
			_, _ = io.WriteString(w, body)
		} else {
			http.Error(w, "no", http.StatusInternalServerError)
		}
	default:
		c.watches <- q.Get("resourceVersion")
		w.(http.Flusher).Flush()
		c.watch(q.Get("resourceVersion"), &watcher{w, r.Context().Done()})
	}
}

func (c *cluster) start() *httptest.Server {
	c.watches = make(chan string, 100)
	srv := httptest.NewTLSServer(c)
	c.t.Cleanup(srv.Close)
	return srv
}

// writeSource makes a kubeconfig for srv.
func writeSource(t *testing.T, path string, srv *httptest.Server, at time.Time) {
	t.Helper()
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	doc := regexp.MustCompile(`certificate-authority-data: \S+`).ReplaceAllString(kubeconfigFor(t), "certificate-authority-data: "+ca)
	write(t, path, strings.Replace(doc, "https://127.0.0.1:6443", srv.URL, 1), at)
}

func names(nodes []Node) string {
	var s []string
	for _, n := range nodes {
		s = append(s, fmt.Sprintf("%s %s %s %v", n.Name, n.InternalIP, n.PodCIDR, n.Ready))
	}
	return strings.Join(s, ", ")
}

func TestNodesReadsEveryPage(t *testing.T) {
	c := &cluster{t: t, list: func(query string) string {
		switch {
		case strings.Contains(query, "continue=b%2F2"):
			return `{"metadata":{"resourceVersion":"7"},"items":[` + nodeJSON("a", "3", "100.64.0.1", "10.42.1.0/24", true) + `]}`
		case strings.Contains(query, "continue"):
			return ""
		}
		return `{"metadata":{"resourceVersion":"7","continue":"b/2"},"items":[` + nodeJSON("b", "2", "100.64.0.2", "10.42.2.0/24", false) + `]}`
	}}
	srv := c.start()
	client := NewClient(Credentials{Server: srv.URL, TLS: srv.Client().Transport.(*http.Transport).TLSClientConfig})
	defer client.Close()
	nodes, err := client.Nodes(t.Context())
	if want := "a 100.64.0.1 10.42.1.0/24 true, b 100.64.0.2 10.42.2.0/24 false"; err != nil || names(nodes) != want {
		t.Errorf("got %q, %v\nwant %q", names(nodes), err, want)
	}
	c.list = func(string) string { return `{"kind":"Status"}` }
	if nodes, err := client.Nodes(t.Context()); err == nil {
		t.Errorf("an answer that is no list: %q, no error", names(nodes))
	}
	c.list = func(string) string {
		return `{"metadata":{"resourceVersion":"7","continue":"b/2"},"items":[` + strings.Repeat("{},", nodesPerPage*50) + `{}]}`
	}
	if _, err := client.Nodes(t.Context()); err == nil {
		t.Error("a list without an end: no error")
	}
}

// follow runs a nodeWatch and returns where its calls arrive.
func follow(t *testing.T, path string) <-chan string {
	t.Helper()
	calls := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	w := &nodeWatch{
		source: NewSource(path), log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		firstPause: time.Millisecond, changed: func(n []Node) { calls <- names(n) },
	}
	go func() { defer close(done); w.follow(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return calls
}

// expect takes the calls until want, which must be one of them.
func expect(t *testing.T, calls <-chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-calls:
			if got != w {
				t.Fatalf("got  %q\nwant %q", got, w)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("never called with %q", w)
		}
	}
}

const nodeA, nodeB = "a 100.64.0.1 10.42.1.0/24 true", "b 100.64.0.2 10.42.2.0/24 true"

func TestWatchNodes(t *testing.T) {
	c := &cluster{
		t:    t,
		list: func(string) string { return `{"metadata":{"resourceVersion":"5"},"items":[]}` },
	}
	c.watch = func(version string, w *watcher) {
		switch version {
		case "5":
			w.send("ADDED", nodeJSON("b", "6", "100.64.0.2", "10.42.2.0/24", true))
			w.send("ADDED", nodeJSON("a", "7", "100.64.0.1", "", false))
			w.send("MODIFIED", nodeJSON("a", "8", "100.64.0.1", "", false)) // a heartbeat: nothing new
			w.send("MODIFIED", nodeJSON("a", "9", "100.64.0.1", "10.42.1.0/24", true))
			w.send("BOOKMARK", `{"kind":"Node","metadata":{"resourceVersion":"20"}}`)
			w.send("DELETED", nodeJSON("b", "21", "100.64.0.2", "10.42.2.0/24", true))
			w.send("DELETED", nodeJSON("never", "22", "", "", false))
			w.send("ERROR", `{"kind":"Status","code":410,"message":"too old resource version"}`)
		}
		<-w.done
	}
	srv := c.start()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	writeSource(t, path, srv, time.Now())
	calls := follow(t, path)
	expect(t, calls, "", nodeB, "a 100.64.0.1 invalid Prefix false, "+nodeB, nodeA+", "+nodeB, nodeA)
	// The error is followed by a list, which is empty again.
	expect(t, calls, "")
	if first, second := <-c.watches, <-c.watches; first != "5" || second != "5" {
		t.Errorf("watched from %s and %s", first, second)
	}
}

func TestWatchNodesGoesOnWhereItEnded(t *testing.T) {
	c := &cluster{t: t, list: func(string) string {
		return `{"metadata":{"resourceVersion":"5"},"items":[` + nodeJSON("a", "1", "100.64.0.1", "10.42.1.0/24", true) + `]}`
	}}
	got := readVersions(t, `{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"77"}}}`+"\n", "5")
	if got != "77" {
		t.Errorf("after a bookmark the version is %s", got)
	}
	// A watch that ends at once is not followed by another one without a pause.
	c.watch = func(string, *watcher) {}
	srv := c.start()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	writeSource(t, path, srv, time.Now())
	calls := follow(t, path)
	expect(t, calls, nodeA)
	for range 3 {
		<-c.watches
	}
	select {
	case again := <-calls:
		t.Errorf("called again with %q, although nothing changed", again)
	default:
	}
}

func readVersions(t *testing.T, stream, version string) string {
	t.Helper()
	v, err := readNodeEvents(strings.NewReader(stream), version, func(Node, bool) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWatchNodesOutlivesItsServer(t *testing.T) {
	list := func(o ...string) func(string) string {
		return func(string) string {
			return `{"metadata":{"resourceVersion":"5"},"items":[` + strings.Join(o, ",") + `]}`
		}
	}
	wait := func(_ string, w *watcher) { <-w.done }
	a, b := nodeJSON("a", "1", "100.64.0.1", "10.42.1.0/24", true), nodeJSON("b", "2", "100.64.0.2", "10.42.2.0/24", true)
	one := &cluster{t: t, list: list(a), watch: wait}
	first := one.start()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	at := time.Now()
	writeSource(t, path, first, at)
	calls := follow(t, path)
	expect(t, calls, nodeA)
	// Another server with another certificate; the old one goes away.
	two := &cluster{t: t, list: list(a, b), watch: wait}
	writeSource(t, path, two.start(), at.Add(time.Second))
	<-one.watches
	first.CloseClientConnections()
	first.Close()
	expect(t, calls, nodeA+", "+nodeB)
}

func TestReadNodeEventsRefuses(t *testing.T) {
	for name, stream := range map[string]string{
		"no JSON":         "{\n",
		"an error":        `{"type":"ERROR","object":{"message":"gone"}}` + "\n",
		"another type":    `{"type":"ADDED","object":[]}` + "\n",
		"an endless line": strings.Repeat(" ", maxBody+1),
	} {
		if _, err := readNodeEvents(strings.NewReader(stream), "1", func(Node, bool) error { return nil }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	w := &nodeWatch{changed: func([]Node) {}, nodes: make([]Node, maxNodes)}
	if err := w.event(Node{Name: "one more"}, false); err == nil || !slices.Equal(w.nodes, make([]Node, maxNodes)) {
		t.Errorf("too many nodes: %v", err)
	}
}

func FuzzReadNodeEvents(f *testing.F) {
	f.Add([]byte(`{"type":"ADDED","object":` + nodeJSON("a", "1", "100.64.0.1", "10.42.1.0/24", true) + "}\n"))
	f.Add([]byte(`{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"77"}}}` + "\n"))
	f.Add([]byte(`{"type":"ERROR","object":{"message":"gone"}}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &nodeWatch{changed: func([]Node) {}}
		_, _ = readNodeEvents(bytes.NewReader(b), "1", w.event)
		if !slices.IsSortedFunc(w.nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("nodes are not in order: %v", names(w.nodes))
		}
	})
}
