package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Node is a node of the cluster, as far as the network between nodes needs to
// know it.
type Node struct {
	Name string
	// InternalIP is its first address of that type; zero while it has none.
	InternalIP netip.Addr
	// PodCIDR is what its pods have their addresses from; zero until Kubernetes
	// has assigned it.
	PodCIDR       netip.Prefix
	Unschedulable bool
	Ready         bool
}

const (
	// nodesPerPage is such that a page of the largest nodes fits maxBody: a node
	// says on up to 200 kB which images it has.
	nodesPerPage = 20
	// maxNodes bounds what a list of nodes may take of this machine's memory.
	maxNodes = 10000
)

// nodeObject is the part of a Node object that is used here.
type nodeObject struct {
	Metadata struct {
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Spec struct {
		PodCIDR       string `json:"podCIDR"`
		Unschedulable bool   `json:"unschedulable"`
	} `json:"spec"`
	Status struct {
		Addresses []struct {
			Type    string `json:"type"`
			Address string `json:"address"`
		} `json:"addresses"`
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	} `json:"status"`
}

// node returns what o says. What is no address counts as not there.
func (o *nodeObject) node() Node {
	n := Node{Name: strings.Clone(o.Metadata.Name), Unschedulable: o.Spec.Unschedulable}
	for _, a := range o.Status.Addresses {
		if a.Type == "InternalIP" {
			n.InternalIP, _ = netip.ParseAddr(a.Address)
			break
		}
	}
	if p, err := netip.ParsePrefix(o.Spec.PodCIDR); err == nil && p == p.Masked() {
		n.PodCIDR = p
	}
	for _, c := range o.Status.Conditions {
		if c.Type == "Ready" {
			n.Ready = c.Status == "True"
		}
	}
	return n
}

// Nodes returns the cluster's nodes, by name.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	nodes, _, err := c.listNodes(ctx)
	return nodes, err
}

// listNodes returns the nodes and the version of the list.
func (c *Client) listNodes(ctx context.Context) (nodes []Node, version string, err error) {
	next := ""
	for {
		var page struct {
			Metadata struct {
				Continue        string `json:"continue"`
				ResourceVersion string `json:"resourceVersion"`
			} `json:"metadata"`
			Items []nodeObject `json:"items"`
		}
		path := fmt.Sprintf("/api/v1/nodes?limit=%d", nodesPerPage)
		if next != "" {
			path += "&continue=" + url.QueryEscape(next)
		}
		if err := c.get(ctx, path, "application/json", &page); err != nil {
			return nil, "", err
		}
		for i := range page.Items {
			nodes = append(nodes, page.Items[i].node())
		}
		if len(nodes) > maxNodes {
			return nil, "", fmt.Errorf("the cluster has more than %d nodes", maxNodes)
		}
		if next = page.Metadata.Continue; next == "" {
			version = page.Metadata.ResourceVersion
			break
		}
	}
	if version == "" {
		return nil, "", errors.New("GET /api/v1/nodes: the answer is no list of nodes")
	}
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes, version, nil
}
