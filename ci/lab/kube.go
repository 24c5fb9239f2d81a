package lab

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Cluster is the way to a node's Kubernetes API.
type Cluster struct {
	// Kubeconfig is the path of the operator's kubeconfig.
	Kubeconfig string
	Config     *rest.Config
	Kube       kubernetes.Interface
}

// Cluster fetches the machine's kubeconfig and makes clients from it.
func (m *Machine) Cluster(ctx context.Context) (*Cluster, error) {
	text, err := m.Kubeconfig(ctx)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(text)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of %s: %w", m.Name(), err)
	}
	// The tests poll; the client's own limits would only add to the waits.
	config.QPS, config.Burst = 50, 100
	config.Timeout = 2 * time.Minute
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of %s: %w", m.Name(), err)
	}
	return &Cluster{Kubeconfig: m.KubeconfigPath(), Config: config, Kube: kube}, nil
}
