package qemu

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/networks"
)

// DemoPort is the node port that the demo workload's Service takes. Every node of
// a network forwards it, besides the machine API's.
const DemoPort = 30080

// lanPrefix is the LAN segment's addresses: node number N has 10.77.0.N.
var lanPrefix = netip.MustParsePrefix("10.77.0.0/24")

// maxNodes is what the LAN segment's addresses allow.
const maxNodes = 254

// NetworkSpec describes a network. The zero value of a field means its default.
type NetworkSpec struct {
	// Name is a DNS label; required.
	Name string `json:"name"`
	// Nodes is how many; default 1. The first Servers of them run the cluster's
	// control plane, default 1, the others are agents.
	Nodes   int `json:"nodes"`
	Servers int `json:"servers"`
	// Identity is the network that the nodes become members of; default: one to
	// throw away, in the network's directory.
	Identity Identity `json:"identity"`
	// Node is what the nodes have in common: Image, memory, disk, clock and so
	// on. Its Name, Dir, Config, Segment, MACs and Identity are set for each node.
	Node NodeSpec `json:"node"`
	// Created is when Create made the network; Create sets it.
	Created time.Time `json:"created"`
	// Config is what the nodes' configurations have in common; each node's host
	// name and LAN address are added. Default: config.Default. With an invite in it
	// all nodes join by that one.
	Config *config.Config `json:"-"`
}

// Network is several nodes in one directory: network.json, identity/ and nodes/NAME/.
type Network struct {
	dir   string
	spec  NetworkSpec
	nodes []*Node
}

const (
	networkFile = "network.json"
	lockFile    = "lock"
	nodesDir    = "nodes"
)

// Create makes the network's directory with the nodes' configurations, founds the
// network that they become members of unless spec names one, and starts nothing.
// It is an error when dir holds a network.
func Create(ctx context.Context, dir string, spec NetworkSpec) (*Network, error) {
	if spec.Nodes == 0 {
		spec.Nodes = 1
	}
	if !namePattern.MatchString(spec.Name) {
		return nil, fmt.Errorf("the network name %q must be lower-case letters, digits and hyphens, at most 63", spec.Name)
	}
	if spec.Nodes < 1 || spec.Nodes > maxNodes {
		return nil, fmt.Errorf("%d nodes: use 1 to %d", spec.Nodes, maxNodes)
	}
	if spec.Servers == 0 {
		spec.Servers = 1
	}
	if spec.Servers < 1 || spec.Servers > spec.Nodes {
		return nil, fmt.Errorf("%d servers of %d nodes: use 1 to %d", spec.Servers, spec.Nodes, spec.Nodes)
	}
	if spec.Config == nil {
		spec.Config = config.Default()
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, networkFile)); err == nil {
		return nil, fmt.Errorf("there is a network in %s already", dir)
	}
	if spec.Node.Image, err = filepath.Abs(spec.Node.Image); err != nil {
		return nil, err
	}
	if _, err := classify(spec.Node.Image); err != nil {
		return nil, err
	}
	spec.Created = time.Now()
	n := &Network{dir: dir, spec: spec}
	if err := n.create(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("create network %s: %w", spec.Name, err), os.RemoveAll(dir))
	}
	return n, nil
}

func (n *Network) create(ctx context.Context) error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	if err := n.createIdentity(ctx); err != nil {
		return err
	}
	var err error
	if n.spec.Node.Segment, err = drawSegment(); err != nil {
		return err
	}
	for number := 1; number <= n.spec.Nodes; number++ {
		node, err := n.createNode(number)
		if err != nil {
			return err
		}
		n.nodes = append(n.nodes, node)
	}
	data, err := json.MarshalIndent(n.spec, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(n.dir, networkFile), data)
}

// createIdentity founds a network to throw away, or looks at the chosen one.
func (n *Network) createIdentity(ctx context.Context) (err error) {
	if n.spec.Identity == (Identity{}) {
		n.spec.Identity, err = NewIdentity(ctx, filepath.Join(n.dir, identityDir), n.spec.Name)
		return err
	}
	if n.spec.Config.Membership.Invite != "" {
		return n.spec.Identity.use(ctx, func(*networks.Network) error { return nil })
	}
	return n.spec.Identity.use(ctx, (*networks.Network).CanIssue)
}

func (n *Network) createNode(number int) (*Node, error) {
	s := n.spec.Node
	s.Name = NodeName(number)
	s.Dir = filepath.Join(n.dir, nodesDir, s.Name)
	s.Identity = n.spec.Identity
	s.WANMAC = MAC(n.spec.Name, s.Name, WAN)
	s.LANMAC = MAC(n.spec.Name, s.Name, LAN)
	address := lanAddress(number)
	var err error
	if s.Config, err = nodeConfig(n.spec.Config, s, address); err != nil {
		return nil, err
	}
	s.Forwards = nodeForwards(number, s.Forwards)
	node, err := newNode(s)
	if err != nil {
		return nil, err
	}
	return node, node.save()
}

// nodeForwards adds the forwards that every node has to the chosen ones. A
// fixed host port can be taken only once: the first node has it, the others
// take free ones.
func nodeForwards(number int, chosen []Forward) []Forward {
	out := slices.Clone(chosen)
	if number > 1 {
		for i := range out {
			out[i].Host, out[i].Fixed = 0, false
		}
	}
	for _, port := range []int{api.Port, DemoPort} {
		if !slices.ContainsFunc(out, func(f Forward) bool { return f.Guest == port }) {
			out = append(out, Forward{Guest: port})
		}
	}
	return out
}

// NodeName returns the name of node number (from 1).
func NodeName(number int) string { return fmt.Sprintf("node-%d", number) }

func lanAddress(number int) netip.Addr {
	a := lanPrefix.Addr().As4()
	a[3] = byte(number)
	return netip.AddrFrom4(a)
}

// nodeConfig is the base with what is the node's own.
func nodeConfig(base *config.Config, s NodeSpec, address netip.Addr) ([]byte, error) {
	c := *base
	c.Hostname = s.Name
	lan := config.Interface{MAC: s.LANMAC, Addresses: []string{netip.PrefixFrom(address, lanPrefix.Bits()).String()}}
	c.Network.Interfaces = append(slices.Clone(c.Network.Interfaces), lan)
	document, err := c.Document()
	if err != nil {
		return nil, err
	}
	if _, err := config.Parse(document); err != nil {
		return nil, fmt.Errorf("configuration of %s: %w", s.Name, err)
	}
	return document, nil
}

// drawSegment chooses a LAN segment that no other network of this host is
// likely to have: 18 bits of group (organisation-local scope, RFC 2365) and a port.
func drawSegment() (Segment, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1<<32))
	if err != nil {
		return Segment{}, fmt.Errorf("draw a LAN segment: %w", err)
	}
	v := n.Uint64()
	return Segment{
		Group: fmt.Sprintf("239.%d.%d.%d", 192+v>>16&3, v>>8&0xff, v&0xff),
		Port:  20000 + int(v>>18%10000),
	}, nil
}

// OpenNetwork takes up the network in dir, running or not. The error is
// fs.ErrNotExist when there is none.
func OpenNetwork(dir string) (*Network, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, networkFile))
	if err != nil {
		return nil, fmt.Errorf("open the network in %s: %w", dir, err)
	}
	n := &Network{dir: dir}
	if err := json.Unmarshal(data, &n.spec); err != nil {
		return nil, fmt.Errorf("open the network in %s: %w", dir, err)
	}
	for number := 1; number <= n.spec.Nodes; number++ {
		node, err := Open(filepath.Join(dir, nodesDir, NodeName(number)))
		if err != nil {
			return nil, err
		}
		n.nodes = append(n.nodes, node)
	}
	return n, nil
}

// Dir returns the network's directory.
func (n *Network) Dir() string { return n.dir }

// Spec returns what the network was created with.
func (n *Network) Spec() NetworkSpec { return n.spec }

// Nodes returns the network's nodes.
func (n *Network) Nodes() []*Node { return slices.Clone(n.nodes) }

// Node returns the node name.
func (n *Network) Node(name string) (*Node, error) {
	for _, node := range n.nodes {
		if node.Name() == name {
			return node, nil
		}
	}
	return nil, fmt.Errorf("network %s has no node %q; it has %s to %s", n.spec.Name, name, NodeName(1), NodeName(n.spec.Nodes))
}

// DownOptions say how a network ends.
type DownOptions struct {
	// Grace is how long the nodes may take to shut down in order; default 60 s.
	Grace time.Duration
	// Keep keeps the network's directory with its disks, for another Start.
	Keep bool
}

// Down stops all nodes and, unless opts.Keep, removes the network's directory.
// forced names the nodes that did not shut down in order.
func (n *Network) Down(ctx context.Context, opts DownOptions) (forced []string, err error) {
	if opts.Grace == 0 {
		opts.Grace = time.Minute
	}
	unlock, err := n.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, node := range n.nodes {
		wg.Go(func() {
			hard, stopErr := node.Stop(ctx, opts.Grace)
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, stopErr)
			if hard {
				forced = append(forced, node.Name())
			}
		})
	}
	wg.Wait()
	slices.Sort(forced)
	if err != nil || opts.Keep {
		return forced, err
	}
	for _, node := range n.nodes {
		if err := node.forget(ctx); err != nil {
			return forced, err
		}
	}
	if err := os.RemoveAll(n.dir); err != nil {
		return forced, fmt.Errorf("remove network %s: %w", n.spec.Name, err)
	}
	return forced, nil
}

// lock keeps other processes from starting or stopping the network meanwhile.
func (n *Network) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(n.dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock network %s: %w", n.spec.Name, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("another command is starting or stopping it; wait for that one to end")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock network %s: %w", n.spec.Name, err), f.Close())
	}
	return func() { f.Close() }, nil
}

// ListNetworks returns the names of the networks whose directories are in root.
func ListNetworks(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	var names []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(root, e.Name(), networkFile)); err == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
