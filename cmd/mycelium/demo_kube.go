package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/digital-mycelium/os/pkg/qemu"
)

const (
	demoName      = "hello"
	demoNamespace = "default"
	demoProgram   = "/hello" // in the image
	demoPort      = 8080     // in the pod
	servicePort   = 80
)

// demo is the demo workload in one cluster.
type demo struct {
	config  *rest.Config
	cluster kubernetes.Interface
	image   string
}

func newDemo(kubeconfig []byte, image string) (*demo, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	cluster, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	return &demo{config: config, cluster: cluster, image: image}, nil
}

func demoLabels() map[string]string { return map[string]string{"app": demoName} }

func (d *demo) deployment() *appsv1.Deployment {
	no, yes, replicas := false, true, int32(1)
	user := int64(65532)
	env := func(name, field string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{FieldPath: field},
		}}
	}
	container := corev1.Container{
		Name: demoName, Image: d.image, ImagePullPolicy: corev1.PullNever,
		Env:   []corev1.EnvVar{env("POD_NAME", "metadata.name"), env("NODE_NAME", "spec.nodeName")},
		Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: demoPort}},
		ReadinessProbe: &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
				Path: "/healthz", Port: intstr.FromString("http"),
			}},
			PeriodSeconds: 2, TimeoutSeconds: 5,
		},
		SecurityContext: &corev1.SecurityContext{
			RunAsNonRoot: &yes, RunAsUser: &user, ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no,
			Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: demoName, Namespace: demoNamespace, Labels: demoLabels()},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: demoLabels()},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: demoLabels()},
				Spec: corev1.PodSpec{
					AutomountServiceAccountToken: &no,
					Containers:                   []corev1.Container{container},
				},
			},
		},
	}
}

func (d *demo) service() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: demoName, Namespace: demoNamespace, Labels: demoLabels()},
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeNodePort,
			Selector: demoLabels(),
			Ports: []corev1.ServicePort{{
				Name: "http", Port: servicePort, TargetPort: intstr.FromString("http"), NodePort: qemu.DemoPort,
			}},
		},
	}
}

// apply creates the workload, or brings one that is there to what it should be.
func (d *demo) apply(ctx context.Context) error {
	deployments := d.cluster.AppsV1().Deployments(demoNamespace)
	_, err := deployments.Create(ctx, d.deployment(), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = deployments.Update(ctx, d.deployment(), metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("apply the Deployment %s: %w", demoName, err)
	}
	_, err = d.cluster.CoreV1().Services(demoNamespace).Create(ctx, d.service(), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("apply the Service %s: %w", demoName, err)
	}
	return nil
}

// waitReady waits until the Deployment's present generation is rolled out and
// returns a ready pod of it.
func (d *demo) waitReady(ctx context.Context) (*corev1.Pod, error) {
	why := "nothing is known of it yet"
	for {
		pod, reason, err := d.readyPod(ctx)
		if err == nil && pod != nil {
			return pod, nil
		}
		if err == nil {
			why = reason
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("the Deployment %s did not roll out: %w; %s", demoName, ctx.Err(), why), err)
		case <-time.After(time.Second):
		}
	}
}

// readyPod returns a ready pod once the rollout is over, and the reason otherwise.
func (d *demo) readyPod(ctx context.Context) (*corev1.Pod, string, error) {
	deployment, err := d.cluster.AppsV1().Deployments(demoNamespace).Get(ctx, demoName, metav1.GetOptions{})
	if err != nil {
		return nil, "", err
	}
	pods, err := d.cluster.CoreV1().Pods(demoNamespace).List(ctx, metav1.ListOptions{
		LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: demoLabels()}),
	})
	if err != nil {
		return nil, "", err
	}
	status := deployment.Status
	rolledOut := status.ObservedGeneration >= deployment.Generation &&
		status.UpdatedReplicas == 1 && status.AvailableReplicas == 1 && status.Replicas == 1
	reason := "it has no pod"
	for i := range pods.Items {
		pod := &pods.Items[i]
		if rolledOut && pod.DeletionTimestamp == nil && podReady(pod) {
			return pod, "", nil
		}
		reason = podReason(pod)
	}
	return nil, reason, nil
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// podReason says why a pod is not ready.
func podReason(pod *corev1.Pod) string {
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil {
			return fmt.Sprintf("pod %s waits: %s %s", pod.Name, w.Reason, w.Message)
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Status != corev1.ConditionTrue && c.Message != "" {
			return fmt.Sprintf("pod %s: %s", pod.Name, c.Message)
		}
	}
	return fmt.Sprintf("pod %s is %s", pod.Name, pod.Status.Phase)
}

// askInside asks the Service's cluster address from inside the pod.
func (d *demo) askInside(ctx context.Context, pod *corev1.Pod) (url, answer string, err error) {
	service, err := d.cluster.CoreV1().Services(demoNamespace).Get(ctx, demoName, metav1.GetOptions{})
	if err != nil {
		return "", "", err
	}
	url = fmt.Sprintf("http://%s/", net.JoinHostPort(service.Spec.ClusterIP, fmt.Sprint(servicePort)))
	request := d.cluster.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).
		SubResource("exec").VersionedParams(&corev1.PodExecOptions{
		Container: demoName, Command: []string{demoProgram, "get", url}, Stdout: true, Stderr: true,
	}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(d.config, "GET", request.URL().String())
	if err != nil {
		return url, "", err
	}
	var stdout, stderr bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		return url, "", fmt.Errorf("run \"%s get %s\" in pod %s: %w: %s", demoProgram, url, pod.Name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return url, stdout.String(), nil
}
