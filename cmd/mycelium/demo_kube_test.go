package main

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/digital-mycelium/os/pkg/qemu"
)

func fakeDemo() *demo { return &demo{cluster: fake.NewClientset(), image: "mycelium.os/hello:1"} }

func TestDemoApplyTwice(t *testing.T) {
	d := fakeDemo()
	for range 2 {
		if err := d.apply(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	service, err := d.cluster.CoreV1().Services(demoNamespace).Get(t.Context(), demoName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if p := service.Spec.Ports[0]; p.NodePort != qemu.DemoPort || p.TargetPort.String() != "http" {
		t.Errorf("port %+v", p)
	}
}

func TestDemoWaitReady(t *testing.T) {
	d := fakeDemo()
	ctx := t.Context()
	if err := d.apply(ctx); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "hello-1", Namespace: demoNamespace, Labels: demoLabels()}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImageNeverPull"},
	}}}
	pods := d.cluster.CoreV1().Pods(demoNamespace)
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := d.waitReady(cancelled); err == nil || !strings.Contains(err.Error(), "ErrImageNeverPull") {
		t.Fatalf("error %v does not say why", err)
	}

	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if _, err := pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, _, err := d.readyPod(ctx); err != nil || got != nil {
		t.Fatalf("a pod counts before the rollout is over: %v, %v", got, err)
	}
	deployments := d.cluster.AppsV1().Deployments(demoNamespace)
	deployment, err := deployments.Get(ctx, demoName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	deployment.Status.Replicas, deployment.Status.UpdatedReplicas, deployment.Status.AvailableReplicas = 1, 1, 1
	if _, err := deployments.UpdateStatus(ctx, deployment, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := d.waitReady(ctx)
	if err != nil || got.Name != "hello-1" {
		t.Fatalf("%v, %v", got, err)
	}
}

func TestDemoIsConfined(t *testing.T) {
	c := fakeDemo().deployment().Spec.Template.Spec.Containers[0]
	s := c.SecurityContext
	if !*s.RunAsNonRoot || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || c.ImagePullPolicy != corev1.PullNever {
		t.Errorf("container %+v", c)
	}
}
