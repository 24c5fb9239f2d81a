// Package kubenode takes a node out of a Kubernetes cluster.
package kubenode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubectl/pkg/drain"
)

// ErrNotFound: the cluster does not know the node.
var ErrNotFound = errors.New("no such node in the cluster")

// ErrBarePods: pods would be lost, because nothing makes them anew elsewhere.
var ErrBarePods = errors.New("pods would be lost")

// Find returns the cluster's node at a mesh address. Only where the address is
// not known the name serves, since anybody can choose a name.
func Find(ctx context.Context, client kubernetes.Interface, address, name string) (*corev1.Node, error) {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the cluster's nodes: %w", err)
	}
	i := slices.IndexFunc(list.Items, func(n corev1.Node) bool {
		if address == "" {
			return n.Name == name
		}
		return slices.Contains(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: address})
	})
	if i < 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	return &list.Items[i], nil
}

// Drain lets nothing more onto the node and evicts its pods, within their
// disruption budgets, until all are gone or timeout has passed. Pods of daemon
// sets stay. progress gets a line for each step.
func Drain(ctx context.Context, client kubernetes.Interface, node *corev1.Node, timeout time.Duration, progress func(string)) error {
	out := &lines{f: progress}
	h := &drain.Helper{
		Ctx: ctx, Client: client, GracePeriodSeconds: -1, // the pods' own
		IgnoreAllDaemonSets: true,
		DeleteEmptyDirData:  true, // by its definition it lasts as long as the pod is there
		Timeout:             timeout, Out: io.Discard, ErrOut: out,
		OnPodDeletionOrEvictionFinished: func(pod *corev1.Pod, evicted bool, err error) {
			if err == nil {
				progress(fmt.Sprintf("pod %s/%s is gone", pod.Namespace, pod.Name))
			}
		},
	}
	progress("no new pods on " + node.Name)
	if err := drain.RunCordonOrUncordon(h, node, true); err != nil {
		return fmt.Errorf("keep new pods off %s: %w", node.Name, err)
	}
	list, errs := h.GetPodsForDeletion(node.Name)
	if len(errs) > 0 {
		return fmt.Errorf("drain %s: %w: %w", node.Name, ErrBarePods, errors.Join(errs...))
	}
	progress(fmt.Sprintf("%d pods move away", len(list.Pods())))
	if err := h.DeleteOrEvictPods(list.Pods()); err != nil {
		return fmt.Errorf("drain %s: %w", node.Name, err)
	}
	return nil
}

// Delete removes the node from the cluster. One that is gone is no error.
func Delete(ctx context.Context, client kubernetes.Interface, node *corev1.Node) error {
	uid := node.UID
	err := client.CoreV1().Nodes().Delete(ctx, node.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s from the cluster: %w", node.Name, err)
	}
	return nil
}

// lines hands on what is written as lines.
type lines struct{ f func(string) }

func (l *lines) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if line = strings.TrimSpace(line); line != "" {
			l.f(line)
		}
	}
	return len(p), nil
}
