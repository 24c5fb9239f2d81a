package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/digital-mycelium/os/pkg/qemu"
)

// WorkloadName is the name of the Deployment and Service that Deploy makes in
// the namespace default.
const WorkloadName = "workload"

// Deploy loads the tests' image and makes a Deployment that serves HTTP, with
// a Service on the node port that every machine forwards.
func (m *Machine) Deploy(ctx context.Context) error {
	if err := m.LoadProbe(ctx); err != nil {
		return err
	}
	cluster, err := m.Cluster(ctx)
	if err != nil {
		return err
	}
	labels := map[string]string{"app": WorkloadName}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: WorkloadName},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "main", Image: ProbeImage, ImagePullPolicy: corev1.PullNever,
					Command: []string{"/probe", "serve", "8080"},
				}}},
			},
		},
	}
	_, err = cluster.Kube.AppsV1().Deployments("default").Create(ctx, deployment, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make the workload: %w", err)
	}
	_, err = cluster.Kube.CoreV1().Services("default").Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: WorkloadName},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Selector: labels,
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080), NodePort: qemu.DemoPort}},
		},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make the workload's service: %w", err)
	}
	return nil
}

// WaitDeployed waits until the workload's pod is Ready, whether its Service
// answers or not.
func (m *Machine) WaitDeployed(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, workloadTimeout, fmt.Errorf("not Ready within %v", workloadTimeout))
	defer cancel()
	cluster, err := m.Cluster(ctx)
	if err != nil {
		return err
	}
	err = Poll(ctx, "a Ready pod of the workload", func(ctx context.Context) (bool, string, error) {
		d, err := cluster.Kube.AppsV1().Deployments("default").Get(ctx, WorkloadName, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		return d.Status.ReadyReplicas == 1, fmt.Sprintf("%+v", d.Status), nil
	})
	if err != nil {
		err = fmt.Errorf("%w; pods:\n%s", err, m.describePods(context.WithoutCancel(ctx)))
	}
	return err
}

// workloadTimeout bounds the way from a Ready node to the workload's answer.
const workloadTimeout = 5 * time.Minute

// WaitWorkload waits until the workload answers through its Service on the host.
func (m *Machine) WaitWorkload(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, workloadTimeout, fmt.Errorf("no answer within %v", workloadTimeout))
	defer cancel()
	port, ok := m.HostPort(qemu.DemoPort)
	if !ok {
		return errors.New("the workload's port is not forwarded")
	}
	err := Poll(ctx, "an answer of the workload", func(ctx context.Context) (bool, string, error) {
		body, err := HTTPGet(ctx, fmt.Sprintf("http://127.0.0.1:%d/", port))
		return strings.Contains(body, `"hostname":"`+WorkloadName), body, err
	})
	if err != nil {
		err = fmt.Errorf("%w; pods:\n%s", err, m.describePods(context.WithoutCancel(ctx)))
	}
	return err
}

// describePods says what keeps pods from running, for errors.
func (m *Machine) describePods(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cluster, err := m.Cluster(ctx)
	if err != nil {
		return err.Error()
	}
	pods, err := cluster.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, p := range pods.Items {
		fmt.Fprintf(&b, "%s/%s: %s %s %s\n", p.Namespace, p.Name, p.Status.Phase, p.Status.Reason, p.Status.Message)
		for _, c := range p.Status.ContainerStatuses {
			fmt.Fprintf(&b, "  %s: ready %v, %d restarts, %+v\n", c.Name, c.Ready, c.RestartCount, c.State)
		}
	}
	events, err := cluster.Kube.CoreV1().Events("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		return b.String() + err.Error()
	}
	for _, e := range events.Items[max(0, len(events.Items)-15):] {
		fmt.Fprintf(&b, "  event: %s %s: %s\n", e.InvolvedObject.Name, e.Reason, e.Message)
	}
	return b.String()
}

// HTTPGet fetches a URL on a connection of its own.
func HTTPGet(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return string(body), err
}

// RunPrivileged runs the probe with args in a privileged pod in the node's own
// process and network namespaces, with the folder /var of the node at /host,
// and returns the pod's name. It does not wait for the pod to end.
func (m *Machine) RunPrivileged(ctx context.Context, name string, args ...string) error {
	cluster, err := m.Cluster(ctx)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeoutCause(ctx, workloadTimeout, fmt.Errorf("none within %v", workloadTimeout))
	defer cancel()
	err = Poll(waiting, m.Name()+": the namespace's service account, without which no pod is taken", func(ctx context.Context) (bool, string, error) {
		_, err := cluster.Kube.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err == nil, "", err
	})
	if err != nil {
		return err
	}
	privileged, grace := true, int64(0)
	_, err = cluster.Kube.CoreV1().Pods("default").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			HostPID: true, HostNetwork: true, RestartPolicy: corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: &grace,
			// It must run even on a node that is out of something.
			PriorityClassName: "system-node-critical",
			Tolerations:       []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Volumes: []corev1.Volume{{Name: "host", VolumeSource: corev1.VolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: "/var"},
			}}},
			Containers: []corev1.Container{{
				Name: "main", Image: ProbeImage, ImagePullPolicy: corev1.PullNever,
				Command:         append([]string{"/probe"}, args...),
				SecurityContext: &corev1.SecurityContext{Privileged: &privileged},
				VolumeMounts:    []corev1.VolumeMount{{Name: "host", MountPath: "/host"}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("run %v: %w", args, err)
	}
	return nil
}

// LoadProbe puts the tests' image, ProbeImage, into the node's image store.
func (m *Machine) LoadProbe(ctx context.Context) error {
	archive, err := m.suite.Probe()
	if err != nil {
		return err
	}
	return m.LoadImage(ctx, archive)
}
