package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/networks"
)

const (
	identityDir = "identity" // in a network's directory
	keyFile     = "key"      // in a node's directory
	operator    = "operator"
)

// Identity says where the operator's side of a network is kept, in which machines
// are members and by whose certificate they are called.
type Identity struct {
	// Dir is the directory of a networks.Store, Network the name in it.
	Dir     string `json:"dir"`
	Network string `json:"network"`
}

// NewIdentity founds a network to throw away in dir: nobody is asked for a
// passphrase, and whoever can read dir has all its keys.
func NewIdentity(ctx context.Context, dir, name string) (Identity, error) {
	i := Identity{Dir: dir, Network: name}
	err := i.store().Create(ctx, name, networks.CreateOptions{Operator: operator})
	return i, err
}

func (i Identity) store() *networks.Store { return &networks.Store{Dir: i.Dir} }

// use opens the network for f. Others that want it wait meanwhile, so f must not
// call a node that waits for something else.
func (i Identity) use(ctx context.Context, f func(*networks.Network) error) error {
	if i == (Identity{}) {
		return errors.New("the machine has no network whose operator could call it")
	}
	n, err := i.store().Open(ctx, i.Network)
	if err != nil {
		return err
	}
	defer n.Close()
	return f(n)
}

// Key returns the public key by which the node was a member when it was last
// called, the zero key when it never was.
func (n *Node) Key() (key identity.PublicKey, err error) {
	text, err := os.ReadFile(n.path(keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return key, nil
	}
	if err == nil {
		key, err = identity.ParsePublicKey(strings.TrimSpace(string(text)))
	}
	if err != nil {
		return key, fmt.Errorf("node %s: read its key: %w", n.name, err)
	}
	return key, nil
}

// remember keeps the key of the node, which is a member now, also for the
// operator's other commands, and takes the invite that it has used out of its
// configuration.
func (n *Node) remember(ctx context.Context, key identity.PublicKey) error {
	old, err := n.Key()
	if err != nil || old == key {
		return err
	}
	err = n.Spec().Identity.use(ctx, func(id *networks.Network) error {
		if err := id.RemoveNode(old); err != nil {
			return err
		}
		return n.put(id, key)
	})
	if err == nil {
		err = n.configure(func(m *config.Membership) { m.Invite = "" })
	}
	if err == nil {
		err = writeFile(n.path(keyFile), []byte(key.String()+"\n"))
	}
	if err != nil {
		return fmt.Errorf("node %s: remember its key: %w", n.name, err)
	}
	return nil
}

// put tells the operator's network where the node is.
func (n *Node) put(id *networks.Network, key identity.PublicKey) error {
	address, err := n.apiAddress()
	if err != nil {
		return err
	}
	return id.PutNode(networks.Node{Name: n.name, Key: key, Addresses: []string{address}})
}

// forget takes the node out of what the operator's network knows.
func (n *Node) forget(ctx context.Context) error {
	key, err := n.Key()
	if err != nil || key == (identity.PublicKey{}) {
		return err
	}
	err = n.Spec().Identity.use(ctx, func(id *networks.Network) error { return id.RemoveNode(key) })
	if errors.Is(err, networks.ErrNotFound) {
		return nil // deleted before its machines
	}
	return err
}

// invited reports whether the node has a token in its configuration.
func (n *Node) invited() bool {
	c, err := config.Parse(n.Spec().Config)
	return err == nil && c.Membership.Invite != ""
}

// configure changes the part of the configuration that says how the node comes to
// its network, for its next start.
func (n *Node) configure(change func(*config.Membership)) error {
	spec := n.Spec()
	if len(spec.Config) == 0 {
		return nil
	}
	c, err := config.Parse(spec.Config)
	if err != nil {
		return fmt.Errorf("configuration of %s: %w", n.name, err)
	}
	change(&c.Membership)
	document, err := c.Document()
	if err != nil {
		return fmt.Errorf("configuration of %s: %w", n.name, err)
	}
	if string(document) == string(spec.Config) {
		return nil
	}
	if err := n.Change(func(s *NodeSpec) { s.Config = document }); err != nil {
		return err
	}
	return writeFile(filepath.Join(n.dir, configFile), document)
}
