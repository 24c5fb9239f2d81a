package main

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/plaintext"
	"github.com/digital-mycelium/os/cmd/mycelium/internal/rollout"
	"github.com/digital-mycelium/os/pkg/api"
)

// shortly is how long a node may take to answer one look among many.
const shortly = 10 * time.Second

// watch looks at the nodes of a network.
type watch struct {
	fleet   *fleet
	version string
	chosen  []nodeRef

	mu      sync.Mutex
	nodes   []nodeRef // with what they last said of themselves
	clients []nodeClient
	apiUp   []bool
}

func newWatch(fl *fleet, version string, nodes, chosen []nodeRef) *watch {
	return &watch{
		fleet: fl, version: version, nodes: slices.Clone(nodes), chosen: chosen,
		clients: make([]nodeClient, len(nodes)), apiUp: make([]bool, len(nodes)),
	}
}

// look asks all nodes at once.
func (w *watch) look(ctx context.Context) []rollout.Node {
	out := make([]rollout.Node, len(w.nodes))
	var all sync.WaitGroup
	for i, n := range w.refs() {
		all.Go(func() {
			chosen := containsRef(w.chosen, n) || n.known() && slices.ContainsFunc(w.chosen, func(c nodeRef) bool { return c.Key == n.Key })
			s, err := w.status(ctx, i, n)
			w.mu.Lock()
			defer w.mu.Unlock()
			if err != nil {
				w.apiUp[i] = false
				out[i] = rollout.Node{Name: n.Name, Chosen: chosen, Problem: plaintext.Line(err.Error()), Server: n.Role == "server", Kubelet: n.Role != "client"}
				return
			}
			out[i] = plainNode(rollout.See(n.Name, chosen, w.version, s))
			w.apiUp[i] = out[i].Server && s.Kubernetes.APIUp
			w.nodes[i].Role = cmp.Or(s.Membership.Role, n.Role)
			w.nodes[i].Mesh = cmp.Or(s.Membership.Address, n.Mesh)
		})
	}
	all.Wait()
	return out
}

// plainNode takes what could steer a terminal out of a node's words.
func plainNode(n rollout.Node) rollout.Node {
	n.Running, n.Refused, n.NotReady = plaintext.Line(n.Running), plaintext.Line(n.Refused), plaintext.Line(n.NotReady)
	n.Waiting = slices.Clone(n.Waiting)
	for i := range n.Waiting {
		n.Waiting[i] = plaintext.Line(n.Waiting[i])
	}
	return n
}

// status asks one node; it keeps the connection as long as that serves.
func (w *watch) status(ctx context.Context, i int, n nodeRef) (*api.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, shortly)
	defer cancel()
	w.mu.Lock()
	c := w.clients[i]
	w.mu.Unlock()
	if c == nil {
		var err error
		if c, err = w.fleet.client(ctx, n); err != nil {
			return nil, err
		}
	}
	s, err := c.Status(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clients[i] = c
	if err != nil {
		c.Close()
		w.clients[i] = nil
	}
	return s, err
}

// refs returns the nodes with what they last said of themselves.
func (w *watch) refs() []nodeRef {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.nodes)
}

func (w *watch) ref(name string) nodeRef {
	refs := w.refs()
	return refs[slices.IndexFunc(refs, func(n nodeRef) bool { return n.Name == name })]
}

// servers returns the nodes whose Kubernetes API answered at the last look.
func (w *watch) servers() (out []nodeRef) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, n := range w.nodes {
		if w.apiUp[i] {
			out = append(out, n)
		}
	}
	return out
}

func (w *watch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, c := range w.clients {
		if c != nil {
			c.Close()
			w.clients[i] = nil
		}
	}
}
