package networks

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"

	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/identity"
)

const (
	nodesFile = "nodes.json"
	maxNodes  = 4 << 20 // bytes
)

// Node is a node of the network that is known here.
type Node struct {
	// Name is for people; no authority rests on it.
	Name string             `json:"name"`
	Key  identity.PublicKey `json:"key"`
	// Addresses are where its machine API may be, "host:port".
	Addresses []string `json:"addresses"`
}

func (d Node) check() error {
	if err := CheckName(d.Name); err != nil {
		return err
	}
	if d.Key == (identity.PublicKey{}) {
		return fmt.Errorf("node %q has no key", d.Name)
	}
	for _, a := range d.Addresses {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
			return fmt.Errorf("node %q: the address %.80q must be HOST:PORT", d.Name, a)
		}
	}
	return nil
}

// Nodes returns the nodes that are known here, by name.
func (n *Network) Nodes() []Node { return cloneNodes(n.nodes) }

func cloneNodes(nodes []Node) []Node {
	out := slices.Clone(nodes)
	for i := range out {
		out[i].Addresses = slices.Clone(out[i].Addresses)
	}
	return out
}

// PutNode remembers a node, in place of what was known of its key.
func (n *Network) PutNode(d Node) error {
	if err := d.check(); err != nil {
		return fmt.Errorf("remember a node of %q: %w", n.Name, err)
	}
	if d.Addresses == nil {
		d.Addresses = []string{}
	}
	at := slices.IndexFunc(n.nodes, func(o Node) bool { return o.Key == d.Key })
	if at >= 0 && n.nodes[at].Name == d.Name && slices.Equal(n.nodes[at].Addresses, d.Addresses) {
		return nil
	}
	nodes := without(n.nodes, d.Key)
	return n.saveNodes(append(nodes, cloneNodes([]Node{d})...))
}

// RemoveNode forgets the node with that key. One that is not known is no error.
func (n *Network) RemoveNode(key identity.PublicKey) error {
	nodes := without(n.nodes, key)
	if len(nodes) == len(n.nodes) {
		return nil
	}
	return n.saveNodes(nodes)
}

func without(nodes []Node, key identity.PublicKey) []Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(d Node) bool { return d.Key == key })
}

func (n *Network) saveNodes(nodes []Node) error {
	slices.SortFunc(nodes, func(a, b Node) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), bytes.Compare(a.Key[:], b.Key[:]))
	})
	data, err := encodeNodes(nodes)
	if err == nil {
		err = durable.WriteFile(n.path(nodesFile), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember the nodes of %q: %w", n.Name, err)
	}
	n.nodes = nodes
	return nil
}

func encodeNodes(nodes []Node) ([]byte, error) {
	if len(nodes) == 0 {
		return []byte("[]\n"), nil
	}
	data, err := json.MarshalIndent(nodes, "", "  ")
	return append(data, '\n'), err
}

func (n *Network) loadNodes() error {
	data, err := readSmall(n.path(nodesFile), maxNodes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the nodes: %w", err)
	}
	if n.nodes, err = parseNodes(data); err != nil {
		return fmt.Errorf("read the nodes %s: %w: mend the file, or remove it to have it begun again", n.path(nodesFile), err)
	}
	return nil
}

// parseNodes reads what encodeNodes returned, and what a person made of it.
func parseNodes(data []byte) ([]Node, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var nodes []Node
	if err := dec.Decode(&nodes); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the list")
	}
	seen := map[identity.PublicKey]bool{}
	for _, d := range nodes {
		if err := d.check(); err != nil {
			return nil, err
		}
		if seen[d.Key] {
			return nil, fmt.Errorf("the key %s is there twice", d.Key)
		}
		seen[d.Key] = true
	}
	return nodes, nil
}
