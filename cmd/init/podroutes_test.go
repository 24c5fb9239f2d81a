package main

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/cmd/init/internal/kube"
	"github.com/digital-mycelium/os/pkg/identity"
)

func TestPodRoutes(t *testing.T) {
	node := func(name, ip, cidr string) kube.Node {
		n := kube.Node{Name: name}
		n.InternalIP, _ = netip.ParseAddr(ip)
		n.PodCIDR, _ = netip.ParsePrefix(cidr)
		return n
	}
	tests := []struct {
		name     string
		nodes    []kube.Node
		routes   map[string]string
		problems []string // a part of each
	}{
		{name: "none"},
		{
			name: "two nodes",
			nodes: []kube.Node{
				node("a", "100.64.0.1", "10.42.0.0/24"), node("b", "100.64.0.2", "10.42.1.0/24"),
			},
			routes: map[string]string{"100.64.0.1": "10.42.0.0/24", "100.64.0.2": "10.42.1.0/24"},
		},
		{
			name:   "not ready for one, and one outside of the mesh",
			nodes:  []kube.Node{node("a", "100.64.0.1", ""), node("b", "", "10.42.1.0/24"), node("d", "192.168.1.7", "10.42.3.0/24")},
			routes: map[string]string{},
		},
		{
			name: "the address of another",
			nodes: []kube.Node{
				node("thief", "100.64.0.1", "10.42.9.0/24"), node("a", "100.64.0.1", "10.42.0.0/24"), node("b", "100.64.0.2", "10.42.1.0/24"),
			},
			routes:   map[string]string{"100.64.0.2": "10.42.1.0/24"},
			problems: []string{"pods on a, thief: in Kubernetes they all have 100.64.0.1"},
		},
		{
			name: "the pods of another",
			nodes: []kube.Node{
				node("thief", "100.64.0.1", "10.42.1.0/24"), node("b", "100.64.0.2", "10.42.1.0/24"), node("c", "100.64.0.3", "10.42.2.0/24"),
			},
			routes:   map[string]string{"100.64.0.3": "10.42.2.0/24"},
			problems: []string{"pods on b, thief: in Kubernetes they all have 10.42.1.0/24"},
		},
		{
			name: "more than a node's share, and elsewhere",
			nodes: []kube.Node{
				node("a", "100.64.0.1", "10.42.0.0/16"), node("b", "100.64.0.2", "10.43.0.0/24"), node("c", "100.64.0.3", "fd00::/24"), node("d", "100.64.0.3", "10.42.7.0/25"),
			},
			routes: map[string]string{},
			problems: []string{
				"pods on a: 10.42.0.0/16 is not", "pods on b: 10.43.0.0/24 is not", "pods on c: fd00::/24 is not", "pods on d: 10.42.7.0/25 is not",
				"pods on c, d: in Kubernetes they all have 100.64.0.3",
			},
		},
	}
	for _, tt := range tests {
		for range 2 { // the order of the nodes is nothing to go by
			routes, problems := podRoutes(tt.nodes)
			got := map[string]string{}
			for a, p := range routes {
				got[a.String()] = p.String()
			}
			if !maps.Equal(got, tt.routes) {
				t.Errorf("%s: routes %v, want %v", tt.name, got, tt.routes)
			}
			if len(problems) != len(tt.problems) {
				t.Errorf("%s: problems %q, want %q", tt.name, problems, tt.problems)
			}
			for _, want := range tt.problems {
				if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, want) }) {
					t.Errorf("%s: problems %q lack %q", tt.name, problems, want)
				}
			}
			slices.Reverse(tt.nodes)
		}
	}
}

func TestKubeconfigsByRole(t *testing.T) {
	// An agent has no administrator's kubeconfig.
	for role, want := range map[identity.NodeRole][2]string{
		identity.Server: {"/state/rancher/k3s.yaml", "/state/rancher/k3s.yaml"},
		identity.Agent:  {"/var/lib/rancher/k3s/agent/kubelet.kubeconfig", "/var/lib/rancher/k3s/agent/k3scontroller.kubeconfig"},
	} {
		if got := [2]string{statusKubeconfig(role), nodesKubeconfig(role)}; got != want {
			t.Errorf("%s: %q, want %q", role, got, want)
		}
	}
}
