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
)

// Guest ports that every node of a network forwards.
const (
	KubernetesPort = 6443
	// DemoPort is the node port that the demo workload's Service takes.
	DemoPort = 30080
)

// lanPrefix is the LAN segment's addresses: node number N has 10.77.0.N.
var lanPrefix = netip.MustParsePrefix("10.77.0.0/24")

// maxNodes is what the LAN segment's addresses allow.
const maxNodes = 254

// NetworkSpec describes a network. The zero value of a field means its default.
type NetworkSpec struct {
	// Name is a DNS label; required.
	Name string `json:"name"`
	// Nodes is how many; default 1.
	Nodes int `json:"nodes"`
	// Node is what the nodes have in common: Image, memory, disk, clock and so
	// on. Its Name, Dir, Config, Segment, MACs and PKI are set for each node.
	Node NodeSpec `json:"node"`
	// Created is when Create made the network; Create sets it.
	Created time.Time `json:"created"`
	// Config is what the nodes' configurations have in common; each node's host
	// name, LAN address and certificates are added. Default: config.Default.
	Config *config.Config `json:"-"`
}

// Network is several nodes in one directory: network.json, pki/ and nodes/NAME/.
type Network struct {
	dir   string
	spec  NetworkSpec
	nodes []*Node
}

const (
	networkFile = "network.json"
	lockFile    = "lock"
	pkiDir      = "pki"
	nodesDir    = "nodes"
)

// Create makes the network's directory with the certificates and the nodes'
// configurations, and starts nothing. It is an error when dir holds a network.
func Create(dir string, spec NetworkSpec) (*Network, error) {
	if spec.Nodes == 0 {
		spec.Nodes = 1
	}
	if !namePattern.MatchString(spec.Name) {
		return nil, fmt.Errorf("the network name %q must be lower-case letters, digits and hyphens, at most 63", spec.Name)
	}
	if spec.Nodes < 1 || spec.Nodes > maxNodes {
		return nil, fmt.Errorf("%d nodes: use 1 to %d", spec.Nodes, maxNodes)
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
	if err := n.create(); err != nil {
		return nil, errors.Join(fmt.Errorf("create network %s: %w", spec.Name, err), os.RemoveAll(dir))
	}
	return n, nil
}

func (n *Network) create() error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	authority, err := n.createPKI()
	if err != nil {
		return err
	}
	if n.spec.Node.Segment, err = drawSegment(); err != nil {
		return err
	}
	for number := 1; number <= n.spec.Nodes; number++ {
		node, err := n.createNode(number, authority)
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

func (n *Network) createPKI() (*api.Authority, error) {
	authority, err := api.NewAuthority(n.spec.Name)
	if err != nil {
		return nil, err
	}
	operator, err := authority.Operator("operator")
	if err != nil {
		return nil, err
	}
	pki := filepath.Join(n.dir, pkiDir)
	return authority, errors.Join(
		api.WritePair(pki, "ca", authority.Pair()),
		api.WritePair(pki, "operator", operator),
	)
}

func (n *Network) createNode(number int, authority *api.Authority) (*Node, error) {
	s := n.spec.Node
	s.Name = NodeName(number)
	s.Dir = filepath.Join(n.dir, nodesDir, s.Name)
	s.PKI = filepath.Join(n.dir, pkiDir)
	s.WANMAC = MAC(n.spec.Name, s.Name, WAN)
	s.LANMAC = MAC(n.spec.Name, s.Name, LAN)
	address := lanAddress(number)
	pair, err := authority.Node(s.Name, address.AsSlice())
	if err != nil {
		return nil, err
	}
	if s.Config, err = nodeConfig(n.spec.Config, s, address, authority, pair); err != nil {
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
	for _, port := range []int{api.Port, KubernetesPort, DemoPort} {
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
func nodeConfig(base *config.Config, s NodeSpec, address netip.Addr, ca *api.Authority, pair api.KeyPair) ([]byte, error) {
	c := *base
	c.Hostname = s.Name
	lan := config.Interface{MAC: s.LANMAC, Addresses: []string{netip.PrefixFrom(address, lanPrefix.Bits()).String()}}
	c.Network.Interfaces = append(slices.Clone(c.Network.Interfaces), lan)
	c.API = config.API{
		CA:          string(ca.Pair().Certificate),
		Certificate: string(pair.Certificate),
		Key:         config.Secret(pair.Key),
	}
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

// Start starts the nodes that do not run. When one cannot be started, those
// that this call started are killed again.
func (n *Network) Start(ctx context.Context) error {
	unlock, err := n.lock()
	if err != nil {
		return err
	}
	defer unlock()
	var started []*Node
	for _, node := range n.nodes {
		running, err := node.Running()
		if err == nil && !running {
			err = node.Start(ctx)
			if err == nil {
				started = append(started, node)
			}
		}
		if err != nil {
			for _, s := range started {
				err = errors.Join(err, s.Kill(context.WithoutCancel(ctx)))
			}
			return err
		}
	}
	return nil
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
