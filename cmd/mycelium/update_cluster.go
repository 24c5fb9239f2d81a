package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/kubenode"
)

// podMover is what an update asks of Kubernetes. Nodes are named by their address
// on the mesh, or where that is not known by their name.
type podMover interface {
	// Held returns those of the nodes that an update has left without new pods.
	Held(ctx context.Context, nodes []nodeRef) ([]nodeRef, error)
	// Drain keeps new pods off a node, marked as an update's doing, and moves its
	// pods away within their disruption budgets.
	Drain(ctx context.Context, n nodeRef, timeout time.Duration, say func(string)) error
	// Uncordon takes back what Drain did; what somebody else has cordoned stays so.
	Uncordon(ctx context.Context, n nodeRef) error
}

// kubernetesClient returns a client for Kubernetes by way of the first of the nodes
// that offers it.
func (f *contextFlags) kubernetesClient(cmd *cobra.Command, fl *fleet, by []nodeRef) (kubernetes.Interface, error) {
	data, err := f.kubeconfigBy(cmd, fl, by)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		return nil, err
	}
	config.Timeout = patient
	config.WarningHandler = rest.NoWarnings{}
	return kubernetes.NewForConfig(config)
}

// kubernetesMover is a podMover for the network's cluster.
type kubernetesMover struct {
	flags   *contextFlags
	cmd     *cobra.Command
	fleet   *fleet
	version string // that nodes are updated to
	// servers returns those whose Kubernetes answers now.
	servers func() []nodeRef
}

// client asks by way of another server than the node that it is about, if there is
// one: that one is to go down.
func (k *kubernetesMover) client(about nodeRef) (kubernetes.Interface, error) {
	by := k.servers()
	slices.SortStableFunc(by, func(a, b nodeRef) int { return isLast(a, about) - isLast(b, about) })
	if len(by) == 0 {
		return nil, errors.New("reach the cluster: no server's Kubernetes API answers")
	}
	c, err := k.flags.kubernetesClient(k.cmd, k.fleet, by)
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	return c, nil
}

func isLast(n, last nodeRef) int {
	if n.Name == last.Name {
		return 1
	}
	return 0
}

func (k *kubernetesMover) Held(ctx context.Context, nodes []nodeRef) ([]nodeRef, error) {
	c, err := k.client(nodeRef{})
	if err != nil {
		return nil, err
	}
	held, err := kubenode.Held(ctx, c)
	if err != nil {
		return nil, err
	}
	var out []nodeRef
	for _, n := range nodes {
		for i := range held {
			if n.Mesh != "" && kubenode.HasAddress(&held[i], n.Mesh) || n.Mesh == "" && held[i].Name == n.Name {
				out = append(out, n)
			}
		}
	}
	return out, nil
}

func (k *kubernetesMover) Drain(ctx context.Context, n nodeRef, timeout time.Duration, say func(string)) error {
	c, err := k.client(n)
	if err != nil {
		return err
	}
	node, err := kubenode.Find(ctx, c, n.Mesh, n.Name)
	if errors.Is(err, kubenode.ErrNotFound) {
		say("the cluster does not know it: there is nothing to move")
		return nil
	}
	if err != nil {
		return err
	}
	if err := kubenode.Hold(ctx, c, node.Name, k.version); err != nil {
		return err
	}
	if node, err = kubenode.Find(ctx, c, n.Mesh, n.Name); err != nil {
		return err
	}
	return kubenode.Drain(ctx, c, node, timeout, say)
}

func (k *kubernetesMover) Uncordon(ctx context.Context, n nodeRef) error {
	c, err := k.client(nodeRef{})
	if err != nil {
		return err
	}
	node, err := kubenode.Find(ctx, c, n.Mesh, n.Name)
	if errors.Is(err, kubenode.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return kubenode.Release(ctx, c, node.Name)
}
