package qemu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/digital-mycelium/os/pkg/api"
)

// Client returns a client of the node's machine API, by way of the forwarded
// port and with the operator's certificate. The caller must close it.
func (n *Node) Client() (*api.Client, error) {
	address, err := n.Address(api.Port)
	if err != nil {
		return nil, err
	}
	pki := n.Spec().PKI
	if pki == "" {
		return nil, fmt.Errorf("node %s was started without certificates: it has no machine API", n.name)
	}
	ca, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	operator, err := api.ReadPair(pki, "operator")
	if err != nil {
		return nil, err
	}
	return api.NewClient(api.ClientConfig{Address: address, ServerName: n.name, CA: ca, Operator: operator})
}

// KubeconfigPath returns where Kubeconfig keeps the file.
func (n *Node) KubeconfigPath() string { return n.path(kubeFile) }

// Kubeconfig fetches the admin kubeconfig, points it at the forwarded port and
// keeps it (mode 0600) at KubeconfigPath.
func (n *Node) Kubeconfig(ctx context.Context) ([]byte, error) {
	address, err := n.Address(KubernetesPort)
	if err != nil {
		return nil, err
	}
	client, err := n.Client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	data, err := client.Kubeconfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("fetch the kubeconfig of node %s: %w", n.name, err)
	}
	if data, err = RewriteServer(data, "https://"+address); err != nil {
		return nil, fmt.Errorf("kubeconfig of node %s: %w", n.name, err)
	}
	return data, writeFile(n.KubeconfigPath(), data)
}

// RewriteServer returns the kubeconfig with server in every cluster.
func RewriteServer(kubeconfig []byte, server string) ([]byte, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(kubeconfig, &doc); err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	clusters, _ := doc["clusters"].([]any)
	changed := 0
	for _, entry := range clusters {
		named, _ := entry.(map[string]any)
		cluster, ok := named["cluster"].(map[string]any)
		if !ok {
			continue
		}
		cluster["server"] = server
		changed++
	}
	if changed == 0 {
		return nil, fmt.Errorf("read the kubeconfig: it names no cluster")
	}
	return yaml.Marshal(doc)
}
