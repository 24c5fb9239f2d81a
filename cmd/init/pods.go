package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/digital-mycelium/os/cmd/init/internal/kube"
	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/identity"
)

// pods is where the cluster's pods are.
type pods struct {
	mu      sync.Mutex
	routes  map[netip.Addr]netip.Prefix // by the node's address on the mesh
	changed chan struct{}               // closed and replaced at each change
}

func newPods() *pods { return &pods{changed: make(chan struct{})} }

func (p *pods) get() (map[netip.Addr]netip.Prefix, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.routes, p.changed
}

func (p *pods) set(routes map[netip.Addr]netip.Prefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if maps.Equal(p.routes, routes) {
		return
	}
	p.routes = routes
	close(p.changed)
	p.changed = make(chan struct{})
}

// podCIDRPath keeps the network that Kubernetes gave this node's pods, so that
// they need not wait for Kubernetes in the next boot.
const podCIDRPath = "/var/lib/mycelium/pod-network"

// firstPodCIDR is what Kubernetes gives the first node of a cluster.
var firstPodCIDR = netip.MustParsePrefix("10.42.0.0/24")

// watchPods follows what Kubernetes says of the nodes, until ctx ends.
func (m *machine) watchPods(ctx context.Context, role identity.NodeRole) {
	kube.WatchNodes(ctx, kube.NewSource(nodesKubeconfig(role)), m.log.With("part", "pods"), func(nodes []kube.Node) {
		routes, problems := podRoutes(nodes)
		m.board.SetProblem("pods", strings.Join(problems, "; "))
		m.pods.set(routes)
		for _, n := range nodes {
			if n.Name == m.hostname && n.PodCIDR.IsValid() {
				if err := m.setPodCIDR(n.PodCIDR); err != nil {
					m.log.Error("the pods' network", "network", n.PodCIDR, "error", err)
					m.board.SetProblem("podnetwork", "pods get no addresses: "+err.Error())
				} else {
					m.board.ClearProblem("podnetwork")
				}
			}
		}
	})
}

// placeCNI configures the pod network for a node whose pods are in network.
func placeCNI(network netip.Prefix) error {
	text, err := cniConfig(network)
	if err != nil {
		return err
	}
	return placeFile(filepath.Join(cniDir, filepath.Base(cniTemplate)), text)
}

// setPodCIDR makes the pods' network of this node that one.
func (m *machine) setPodCIDR(network netip.Prefix) error {
	if err := placeCNI(network); err != nil {
		return err
	}
	if have, err := readPodCIDR(); err == nil && have == network {
		return nil
	}
	return durable.WriteFile(podCIDRPath, []byte(network.String()+"\n"), 0o644)
}

// startPodCIDR sets what is known before Kubernetes answers: what it said in an
// earlier boot, or what it will say to a cluster's first node. Any other node
// gets its network later; containerd watches the directory, which must be there.
func (m *machine) startPodCIDR(first bool) error {
	if err := os.MkdirAll(cniDir, 0o755); err != nil {
		return fmt.Errorf("configure the pod network: %w", err)
	}
	network, err := readPodCIDR()
	if errors.Is(err, fs.ErrNotExist) {
		if !first {
			return nil
		}
		network, err = firstPodCIDR, nil
	}
	if err != nil {
		return err
	}
	return placeCNI(network)
}

func readPodCIDR() (netip.Prefix, error) {
	b, err := os.ReadFile(podCIDRPath)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.ParsePrefix(strings.TrimSpace(string(b)))
}
