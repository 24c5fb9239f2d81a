package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// pollEvery is how often the API is asked before it answers, and so the error
// of "API up". Each question costs the guest something; watches take over then.
const pollEvery = 250 * time.Millisecond

// cluster asks a machine's Kubernetes API.
type cluster struct {
	*kubernetes.Clientset
}

// newCluster makes a client from an admin kubeconfig.
func newCluster(kubeconfig []byte) (*cluster, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.Timeout = 0
	config.QPS, config.Burst = 100, 100
	config.WarningHandler = rest.NoWarnings{}
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &cluster{set}, nil
}

// until calls try every pollEvery until it returns no error. The error is that
// of the last try when ctx ends first.
func until(ctx context.Context, what string, try func(context.Context) error) error {
	for {
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := try(limited)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; the last answer: %w", what, ctx.Err(), err)
		case <-time.After(pollEvery):
		}
	}
}

// waitAPI waits until /readyz says ok.
func (c *cluster) waitAPI(ctx context.Context) (time.Time, error) {
	var at time.Time
	err := until(ctx, "wait for the Kubernetes API", func(ctx context.Context) error {
		_, err := c.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		at = time.Now()
		return err
	})
	return at, err
}

// demoLabels select the demo workload's pods.
func demoLabels() map[string]string { return map[string]string{"app": "bench"} }

// apply creates the demo workload, as soon as the API takes it.
func (c *cluster) apply(ctx context.Context, image string) error {
	replicas := int32(1)
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "bench"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: demoLabels()},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: demoLabels()},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "hello", Image: image, ImagePullPolicy: corev1.PullNever,
				}}},
			},
		},
	}
	return until(ctx, "apply the demo workload", func(ctx context.Context) error {
		_, err := c.AppsV1().Deployments("default").Create(ctx, d, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
}

// waitReady waits until a node is Ready.
func (c *cluster) waitReady(ctx context.Context) (time.Time, error) {
	return waitFor(ctx, "wait for the node to be Ready",
		func(ctx context.Context) (watch.Interface, error) {
			return c.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{})
		},
		func(n *corev1.Node) bool {
			for _, condition := range n.Status.Conditions {
				if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
					return true
				}
			}
			return false
		})
}

// waitPod waits until the demo workload's pod runs.
func (c *cluster) waitPod(ctx context.Context) (time.Time, error) {
	selector := metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: demoLabels()})
	return waitFor(ctx, "wait for the demo workload's pod",
		func(ctx context.Context) (watch.Interface, error) {
			return c.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{LabelSelector: selector})
		},
		func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
}

// errWatchEnded says that the server ended a watch.
var errWatchEnded = errors.New("the watch ended")

// waitFor watches objects until one is as wanted, and returns when the host
// learnt it. A watch that ends is begun again.
func waitFor[T any](ctx context.Context, what string,
	begin func(context.Context) (watch.Interface, error), done func(T) bool,
) (time.Time, error) {
	for {
		err := watchFor(ctx, begin, done)
		if err == nil {
			return time.Now(), nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("%s: %w; before: %w", what, ctx.Err(), err)
		case <-time.After(pollEvery):
		}
	}
}

func watchFor[T any](ctx context.Context, begin func(context.Context) (watch.Interface, error), done func(T) bool) error {
	w, err := begin(ctx)
	if err != nil {
		return err
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		if object, ok := event.Object.(T); ok && done(object) {
			return nil
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errWatchEnded
}

// nodePath asks the node's kubelet for path by way of the API, e.g. "metrics/cadvisor".
func (c *cluster) nodePath(ctx context.Context, path string) (string, error) {
	nodes, err := c.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	if len(nodes.Items) == 0 {
		return "", errors.New("the cluster has no node")
	}
	b, err := c.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/" + nodes.Items[0].Name + "/proxy/" + path).DoRaw(ctx)
	return string(b), err
}
