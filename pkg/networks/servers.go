package networks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"

	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/identity"
)

const (
	serversFile     = "servers.age"        // until a node has it
	serversPermFile = "servers.delegation" // afterwards, too
)

// ErrHandedOver: the key of the servers' issuer is not here any more.
var ErrHandedOver = errors.New("a node has it already")

// serversCaps is the most that the servers' issuer may grant: who breaks into a
// server can let machines in, not people.
var serversCaps = identity.Caps{Node: identity.Server}

// ServersDelegation returns what the issuer of the network's servers may certify,
// and whether a node has its key. It returns nil when there is no such issuer, as
// for access that another operator has handed over.
func (n *Network) ServersDelegation() (d *identity.Delegation, handedOver bool) {
	if n.servers == nil {
		return nil, false
	}
	_, err := os.Lstat(n.path(serversFile))
	return n.servers, errors.Is(err, fs.ErrNotExist)
}

// ServersIssuer returns the key and the encoded delegation of the issuer that the
// network's first server is to have, for handing them to it (ErrHandedOver,
// ErrNoIssuer).
func (n *Network) ServersIssuer() (key identity.PrivateKey, delegation []byte, err error) {
	switch d, gone := n.ServersDelegation(); {
	case n.Issuer == nil:
		return key, nil, n.CanIssue()
	case d == nil:
		return key, nil, fmt.Errorf("the servers' issuer of %q: %w: make one with: mycelium network delegate --for-servers --network %s", n.Name, ErrNoIssuer, n.Name)
	case gone:
		return key, nil, fmt.Errorf("the servers' issuer of %q: %w: make another one with: mycelium network delegate --for-servers --network %s", n.Name, ErrHandedOver, n.Name)
	}
	local, err := ReadIdentities(n.path(localFile))
	if err != nil {
		return key, nil, err
	}
	if key, err = identity.ReadKey(n.path(serversFile), local...); err != nil {
		return key, nil, err
	}
	if key.Public() != n.servers.Issuer {
		return key, nil, fmt.Errorf("%s: %w: %s is for another key: restore both from the same backup", n.path(serversFile), identity.ErrSignature, serversPermFile)
	}
	delegation, err = readSmall(n.path(serversPermFile), maxAccess)
	return key, delegation, err
}

// MarkHandedOver deletes the key of the servers' issuer here, because a node has
// it now. Two that use one key would give serial numbers out twice.
func (n *Network) MarkHandedOver() error {
	err := os.Remove(n.path(serversFile))
	if err == nil {
		err = durable.SyncDir(n.Dir)
	}
	if err != nil {
		return fmt.Errorf("delete the key of the servers' issuer of %q: %w", n.Name, err)
	}
	return nil
}

// DelegateServers makes a new issuer for the network's servers, by the root key:
// quota serial numbers (DefaultQuota when 0), and a year. Those that a node has
// from before stay good.
func (n *Network) DelegateServers(root identity.PrivateKey, quota uint64) error {
	if n.Issuer == nil {
		return n.CanIssue()
	}
	local, err := ReadIdentities(n.path(localFile))
	var to []age.Recipient
	for _, id := range local {
		if x, ok := id.(*age.X25519Identity); ok {
			to = append(to, x.Recipient())
		}
	}
	if err == nil {
		err = makeServers(n.Dir, root, n.Verifier.Network(), grant{n.nextSerial(), quota, n.clock.Now()}, to...)
	}
	if err == nil {
		err = n.loadServers()
	}
	if err != nil {
		return fmt.Errorf("delegate to the servers' issuer of %q: %w", n.Name, err)
	}
	return nil
}

// makeServers makes the files of the servers' issuer. When it is cut off, there is
// none that could be handed over.
func makeServers(dir string, root identity.PrivateKey, id identity.NetworkID, g grant, to ...age.Recipient) error {
	if err := os.Remove(filepath.Join(dir, serversFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key := identity.GenerateKey()
	delegation, err := g.delegate(root, id, key.Public(), serversCaps)
	if err == nil {
		err = durable.WriteFile(filepath.Join(dir, serversPermFile), delegation, 0o600)
	}
	if err == nil {
		err = identity.WriteKey(filepath.Join(dir, serversFile), key, to...)
	}
	return err
}

func (n *Network) loadServers() error {
	data, err := readSmall(n.path(serversPermFile), maxAccess)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a network from before, or handed over
	}
	if err != nil {
		return fmt.Errorf("read the delegation of the servers' issuer: %w", err)
	}
	d, err := identity.Parse[identity.Delegation](data)
	if err == nil && d.Network != n.Verifier.Network() {
		err = identity.ErrWrongNetwork
	}
	if err != nil {
		return fmt.Errorf("%s: %w: restore it from a backup", n.path(serversPermFile), err)
	}
	n.servers = d
	return nil
}

// nextSerial returns the first serial number that no issuer was ever given. Each
// delegation begins there, so that the last two end after all the others.
func (n *Network) nextSerial() uint64 {
	d := n.Issuer.Delegation()
	next := d.FirstSerial + d.Count
	if s := n.servers; s != nil {
		next = max(next, s.FirstSerial+s.Count)
	}
	return next
}
