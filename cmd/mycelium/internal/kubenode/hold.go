package kubenode

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

// HeldFor is the annotation of a node that Hold keeps pods off; its value says what
// for. It tells such a node from one that a person has cordoned.
const HeldFor = "mycelium.os/update"

// Hold lets nothing more onto the node and marks it, in one step. One that somebody
// else has cordoned is left as it is, and Release does not touch it.
func Hold(ctx context.Context, client kubernetes.Interface, name, reason string) error {
	return change(ctx, client, name, func(n *corev1.Node) bool {
		if _, held := n.Annotations[HeldFor]; n.Spec.Unschedulable && !held {
			return false
		}
		if n.Annotations == nil {
			n.Annotations = map[string]string{}
		}
		n.Spec.Unschedulable, n.Annotations[HeldFor] = true, reason
		return true
	})
}

// Release lets pods onto a node again that Hold keeps them off.
func Release(ctx context.Context, client kubernetes.Interface, name string) error {
	return change(ctx, client, name, func(n *corev1.Node) bool {
		_, held := n.Annotations[HeldFor]
		n.Spec.Unschedulable = n.Spec.Unschedulable && !held
		delete(n.Annotations, HeldFor)
		return held
	})
}

// change changes a node unless f returns false. A node that is gone is no error.
func change(ctx context.Context, client kubernetes.Interface, name string, f func(*corev1.Node) bool) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		n, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil || !f(n) {
			return err
		}
		_, err = client.CoreV1().Nodes().Update(ctx, n, metav1.UpdateOptions{})
		return err
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("change whether %s takes pods: %w", name, err)
	}
	return nil
}

// Held returns the nodes that Hold keeps pods off.
func Held(ctx context.Context, client kubernetes.Interface) ([]corev1.Node, error) {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the cluster's nodes: %w", err)
	}
	var out []corev1.Node
	for _, n := range list.Items {
		if _, held := n.Annotations[HeldFor]; held {
			out = append(out, n)
		}
	}
	return out, nil
}

// HasAddress says whether the node is the one at a mesh address.
func HasAddress(n *corev1.Node, address string) bool {
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP && a.Address == address {
			return true
		}
	}
	return false
}
