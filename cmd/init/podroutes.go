package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/digital-mycelium/os/cmd/init/internal/kube"
	"github.com/digital-mycelium/os/pkg/identity"
)

// podNetwork is what all pods have their addresses from; each node has a
// network of podBits bits of it (K3s' defaults).
var podNetwork = netip.MustParsePrefix("10.42.0.0/16")

const podBits = 24

// podRoutes says behind which member's mesh address which pods are, as
// Kubernetes has it; who is a member the mesh knows. Where two nodes
// claim the same address or the same pods, neither gets a route: a node writes
// its own address into Kubernetes, and must not be able to draw another one's
// traffic to itself. problems names them, in a stable order and in words for the owner.
func podRoutes(nodes []kube.Node) (routes map[netip.Addr]netip.Prefix, problems []string) {
	byAddress, byPods := map[netip.Addr][]string{}, map[netip.Prefix][]string{}
	for _, n := range nodes {
		if n.InternalIP.IsValid() {
			byAddress[n.InternalIP] = append(byAddress[n.InternalIP], n.Name)
		}
		if n.PodCIDR.IsValid() {
			byPods[n.PodCIDR] = append(byPods[n.PodCIDR], n.Name)
		}
	}
	routes = map[netip.Addr]netip.Prefix{}
	for _, n := range nodes {
		switch {
		case !identity.MeshPrefix.Contains(n.InternalIP) || !n.PodCIDR.IsValid():
		case n.PodCIDR.Bits() != podBits || !podNetwork.Contains(n.PodCIDR.Addr()):
			problems = append(problems, fmt.Sprintf("no route to the pods on %s: %s is not a /%d of %s", n.Name, n.PodCIDR, podBits, podNetwork))
		case len(byAddress[n.InternalIP]) == 1 && len(byPods[n.PodCIDR]) == 1:
			routes[n.InternalIP] = n.PodCIDR
		}
	}
	problems = append(problems, claims(byAddress)...)
	return routes, append(problems, claims(byPods)...)
}

// claims says which keys more than one node has.
func claims[K interface {
	comparable
	String() string
}](nodes map[K][]string,
) (problems []string) {
	for _, key := range slices.SortedFunc(maps.Keys(nodes), func(a, b K) int { return strings.Compare(a.String(), b.String()) }) {
		if names := nodes[key]; len(names) > 1 {
			problems = append(problems, fmt.Sprintf("no route to the pods on %s: in Kubernetes they all have %s; delete those that are gone (kubectl delete node)",
				strings.Join(slices.Sorted(slices.Values(names)), ", "), key))
		}
	}
	return problems
}
