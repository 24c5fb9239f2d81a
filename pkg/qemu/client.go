package qemu

import (
	"context"
	"crypto/tls"
	"fmt"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/networks"
)

// apiAddress returns the host's address of the node's machine API.
func (n *Node) apiAddress() (string, error) { return n.Address(api.Port) }

// Client returns a client of the node's machine API, by way of the forwarded
// port and as the operator of its network. The node answers it when it is a
// member. The caller must close it.
func (n *Node) Client(ctx context.Context) (*api.Client, error) {
	address, err := n.apiAddress()
	if err != nil {
		return nil, err
	}
	key, err := n.Key() // any member when it is not known yet: who has the port is certain
	if err != nil {
		return nil, err
	}
	var config *tls.Config
	err = n.Spec().Identity.use(ctx, func(id *networks.Network) error {
		if key != (identity.PublicKey{}) { // its port may be another one since its last start
			if err := n.put(id, key); err != nil {
				return err
			}
		}
		config, err = id.ClientTLS(key)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("call node %s: %w", n.name, err)
	}
	return api.NewClient(api.ClientConfig{Address: address, TLS: config})
}

// Status asks the node what it knows of itself.
func (n *Node) Status(ctx context.Context) (*api.Status, error) {
	client, err := n.Client(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return n.ask(ctx, client)
}

// ask also takes note of the node's key.
func (n *Node) ask(ctx context.Context, client *api.Client) (*api.Status, error) {
	status, err := client.Status(ctx)
	if err != nil {
		return nil, err
	}
	key, err := identity.ParsePublicKey(status.Membership.Key)
	if err != nil {
		return nil, fmt.Errorf("node %s: its status: %w", n.name, err)
	}
	return status, n.remember(ctx, key)
}

// KubeconfigPath returns where Kubeconfig keeps the file.
func (n *Node) KubeconfigPath() string { return n.path(kubeFile) }

// Kubeconfig makes a kubeconfig for the operator, by way of the node's forwarded
// machine API, and keeps it (mode 0600) at KubeconfigPath.
func (n *Node) Kubeconfig(ctx context.Context) ([]byte, error) {
	address, err := n.apiAddress()
	if err != nil {
		return nil, err
	}
	client, err := n.Client(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	data, err := client.Kubeconfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("fetch the kubeconfig of node %s: %w", n.name, err)
	}
	err = n.Spec().Identity.use(ctx, func(id *networks.Network) error {
		data, err = id.Kubeconfig(data, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of node %s: %w", n.name, err)
	}
	return data, writeFile(n.KubeconfigPath(), data)
}
