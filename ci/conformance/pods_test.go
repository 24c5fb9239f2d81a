package conformance

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/digital-mycelium/os/ci/lab"
)

// probePath is the only program in the tests' image.
const probePath = "/probe"

// container is one that runs the probe with args.
func container(name string, args ...string) corev1.Container {
	return corev1.Container{
		Name: name, Image: lab.ProbeImage, ImagePullPolicy: corev1.PullNever,
		Command: append([]string{probePath}, args...),
	}
}

// pod is one whose only container, "main", runs the probe with args. It is not
// restarted and leaves at once when deleted.
func pod(name string, args ...string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			Containers:                    []corev1.Container{container("main", args...)},
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: ptr(int64(1)),
		},
	}
}

// server is a pod that serves HTTP on port 8080 and is Ready when it does.
func server(name string) *corev1.Pod {
	p := pod(name, "serve", "8080")
	p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{
		ProbeHandler: httpCheck("/healthz"), PeriodSeconds: 2, TimeoutSeconds: 20, FailureThreshold: 3,
	}
	return p
}

func httpCheck(path string) corev1.ProbeHandler {
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(8080)}}
}

// mount gives the pod's main container a volume at path.
func mount(p *corev1.Pod, name, path string, source corev1.VolumeSource) {
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source})
	main := &p.Spec.Containers[0]
	main.VolumeMounts = append(main.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path})
}

func ptr[T any](v T) *T { return &v }

// resources makes a list from pairs such as "memory", "64Mi".
func resources(pairs ...string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for i := 0; i+1 < len(pairs); i += 2 {
		list[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return list
}

func (s *scope) create(p *corev1.Pod) *corev1.Pod {
	s.Helper()
	made, err := s.kube.CoreV1().Pods(s.ns).Create(s.ctx, p, metav1.CreateOptions{})
	s.must("create pod "+p.Name, err)
	return made
}

// waitPod waits until a pod satisfies done.
func (s *scope) waitPod(name, what string, done func(*corev1.Pod) bool) *corev1.Pod {
	s.Helper()
	var last *corev1.Pod
	s.wait(fmt.Sprintf("pod %s: %s", name, what), func(ctx context.Context) (bool, string, error) {
		p, err := s.kube.CoreV1().Pods(s.ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		last = p
		return done(p), summary(p), nil
	})
	return last
}

// ready creates a pod and waits until it is Ready.
func (s *scope) ready(p *corev1.Pod) *corev1.Pod {
	s.Helper()
	s.create(p)
	return s.waitPod(p.Name, "Ready", isReady)
}

// finish creates a pod, waits until it ended, and returns it with its log.
func (s *scope) finish(p *corev1.Pod) (*corev1.Pod, string) {
	s.Helper()
	s.create(p)
	ended := s.waitPod(p.Name, "ended", isEnded)
	return ended, s.logs(p.Name, corev1.PodLogOptions{Container: p.Spec.Containers[0].Name})
}

// output is finish for a pod that must succeed; it returns the log.
func (s *scope) output(p *corev1.Pod) string {
	s.Helper()
	ended, log := s.finish(p)
	if ended.Status.Phase != corev1.PodSucceeded {
		s.Fatalf("pod %s: %s\n%s", p.Name, summary(ended), log)
	}
	return log
}

// remove deletes a pod with its own grace period and waits until it is gone.
func (s *scope) remove(name string) {
	s.Helper()
	s.must("delete pod", s.kube.CoreV1().Pods(s.ns).Delete(s.ctx, name, metav1.DeleteOptions{}))
	s.gone("pod "+name, func(ctx context.Context) error {
		_, err := s.kube.CoreV1().Pods(s.ns).Get(ctx, name, metav1.GetOptions{})
		return err
	})
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func isEnded(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

func isRunning(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning }

// summary is a pod's state in a line.
func summary(p *corev1.Pod) string {
	parts := []string{string(p.Status.Phase), p.Status.Reason, p.Status.Message}
	for _, c := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
		switch st := c.State; {
		case st.Waiting != nil:
			parts = append(parts, fmt.Sprintf("%s waiting: %s %s", c.Name, st.Waiting.Reason, st.Waiting.Message))
		case st.Terminated != nil:
			parts = append(parts, fmt.Sprintf("%s ended %d: %s", c.Name, st.Terminated.ExitCode, st.Terminated.Reason))
		default:
			parts = append(parts, fmt.Sprintf("%s ready=%v restarts=%d", c.Name, c.Ready, c.RestartCount))
		}
	}
	return strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
}
