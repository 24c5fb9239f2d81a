package conformance

import (
	"errors"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func podCases() []testCase {
	return []testCase{
		{"init containers in order", initContainers},
		{"failing init container holds the pod", initContainerFails},
		{"sidecar outlives start and ends with the pod", sidecar},
		{"restart policy", restartPolicy},
		{"graceful deletion", gracefulDeletion},
		{"deaf pod is killed after its grace period", deafPod},
		{"lifecycle hooks", lifecycleHooks},
		{"shared process namespace and host names", sharedNamespaces},
		{"missing image and broken command", brokenContainers},
		{"active deadline", activeDeadline},
	}
}

// shared gives every container of p a common folder /shared.
func shared(p *corev1.Pod) *corev1.Pod {
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "shared", VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{},
	}})
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			list[i].VolumeMounts = append(list[i].VolumeMounts, corev1.VolumeMount{Name: "shared", MountPath: "/shared"})
		}
	}
	return p
}

func initContainers(s *scope) {
	p := pod("ordered", "cat", "/shared/diary")
	p.Spec.InitContainers = []corev1.Container{
		container("first", "append", "/shared/diary", "first"),
		container("second", "append", "/shared/diary", "second"),
	}
	if log := s.output(shared(p)); log != "first\nsecond\n" {
		s.Errorf("diary %q", log)
	}
}

func initContainerFails(s *scope) {
	p := pod("held", "exit", "0")
	p.Spec.InitContainers = []corev1.Container{container("first", "exit", "5")}
	ended, _ := s.failed(p)
	if state := ended.Status.InitContainerStatuses[0].State.Terminated; state == nil || state.ExitCode != 5 {
		s.Errorf("init container: %+v, want exit code 5", state)
	}
	if ended.Status.ContainerStatuses[0].State.Waiting == nil {
		s.Error("the main container ran although its init container failed")
	}
}

// failed creates a pod that must fail, and returns it.
func (s *scope) failed(p *corev1.Pod) (*corev1.Pod, string) {
	s.Helper()
	s.create(p)
	ended := s.waitPod(p.Name, "ended", isEnded)
	if ended.Status.Phase != corev1.PodFailed {
		s.Fatalf("pod %s should have failed: %s", p.Name, summary(ended))
	}
	return ended, ended.Status.Message
}

func sidecar(s *scope) {
	helper := container("helper", "serve", "8080")
	helper.RestartPolicy = ptr(corev1.ContainerRestartPolicyAlways)
	helper.StartupProbe = &corev1.Probe{
		ProbeHandler: httpCheck("/healthz"), PeriodSeconds: 1, TimeoutSeconds: 20, FailureThreshold: 60,
	}
	p := pod("paired", "get", "http://127.0.0.1:8080/")
	p.Spec.InitContainers = []corev1.Container{helper}
	s.want("answer of the sidecar", s.output(p), "paired")
	log := s.logs("paired", corev1.PodLogOptions{Container: "helper"})
	s.want("log of the sidecar", log, "got SIGTERM")
}

func restartPolicy(s *scope) {
	p := pod("onfailure", "once", "/shared/tried")
	p.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	s.create(shared(p))
	ended := s.waitPod("onfailure", "ended", isEnded)
	if ended.Status.Phase != corev1.PodSucceeded || ended.Status.ContainerStatuses[0].RestartCount != 1 {
		s.Errorf("%s: want success after one restart", summary(ended))
	}
	ended, _ = s.failed(pod("never", "exit", "9"))
	if code := ended.Status.ContainerStatuses[0].State.Terminated.ExitCode; code != 9 {
		s.Errorf("exit code %d, want 9", code)
	}
}

func gracefulDeletion(s *scope) {
	p := pod("polite", "trap", "3s")
	p.Spec.TerminationGracePeriodSeconds = ptr(int64(120))
	p.Finalizers = []string{"example.org/look"}
	s.create(p)
	s.waitPod("polite", "running", isRunning)
	// Its log goes with its containers: read it as it is written.
	stream, err := s.kube.CoreV1().Pods(s.ns).GetLogs("polite", &corev1.PodLogOptions{Follow: true}).Stream(s.ctx)
	s.must("follow the log", err)
	s.must("delete", s.kube.CoreV1().Pods(s.ns).Delete(s.ctx, "polite", metav1.DeleteOptions{}))
	log, err := io.ReadAll(stream)
	s.must("follow the log", errors.Join(err, stream.Close()))
	s.want("log", string(log), "waiting", "got SIGTERM", "bye")
	ended := s.waitPod("polite", "ended", isEnded)
	if state := ended.Status.ContainerStatuses[0].State.Terminated; state == nil || state.ExitCode != 0 {
		s.Errorf("%s: want exit code 0 after SIGTERM", summary(ended))
	}
	s.runKubectl("", "patch", "pod", "polite", "--type=json", "-p", `[{"op":"remove","path":"/metadata/finalizers"}]`)
}

func deafPod(s *scope) {
	p := pod("deaf", "deaf")
	p.Spec.TerminationGracePeriodSeconds = ptr(int64(2))
	p.Finalizers = []string{"example.org/look"}
	s.create(p)
	s.waitPod("deaf", "running", isRunning)
	s.must("delete", s.kube.CoreV1().Pods(s.ns).Delete(s.ctx, "deaf", metav1.DeleteOptions{}))
	ended := s.waitPod("deaf", "ended", isEnded)
	if state := ended.Status.ContainerStatuses[0].State.Terminated; state == nil || state.ExitCode != 137 {
		s.Errorf("%s: want exit code 137, SIGKILL", summary(ended))
	}
	s.runKubectl("", "patch", "pod", "deaf", "--type=json", "-p", `[{"op":"remove","path":"/metadata/finalizers"}]`)
}

func lifecycleHooks(s *scope) {
	p := pod("hooked", "trap", "0s")
	p.Spec.TerminationGracePeriodSeconds = ptr(int64(60))
	p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{
		PostStart: hook("append", "/host/diary", "started"),
		PreStop:   hook("append", "/host/diary", "stopping"),
	}
	source := corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{
		Path: "/var/lib/test-" + s.ns, Type: ptr(corev1.HostPathDirectoryOrCreate),
	}}
	mount(p, "host", "/host", source)
	s.create(p)
	s.waitPod("hooked", "running", isRunning)
	s.remove("hooked")
	p = pod("reader", "cat", "/host/diary")
	mount(p, "host", "/host", source)
	if log := s.output(p); log != "started\nstopping\n" {
		s.Errorf("diary of the hooks: %q", log)
	}
}

func hook(args ...string) *corev1.LifecycleHandler {
	return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: append([]string{probePath}, args...)}}
}

func sharedNamespaces(s *scope) {
	p := pod("crowd", "cat", "/etc/hosts", "/etc/hostname", "/proc/1/cmdline")
	p.Spec.ShareProcessNamespace = ptr(true)
	p.Spec.Hostname = "mushroom"
	p.Spec.HostAliases = []corev1.HostAlias{{IP: "192.0.2.7", Hostnames: []string{"spring"}}}
	s.want("what the pod sees", s.output(p), "192.0.2.7", "spring", "mushroom", "pause")
}

func brokenContainers(s *scope) {
	absent := pod("absent")
	absent.Spec.Containers[0].Image = "mycelium.os/not-there:1"
	s.create(absent)
	broken := pod("broken")
	broken.Spec.Containers[0].Command = []string{"/not-there"}
	s.create(broken)
	waiting := func(reason string) func(*corev1.Pod) bool {
		return func(p *corev1.Pod) bool { return strings.Contains(summary(p), reason) }
	}
	s.waitPod("absent", "ErrImageNeverPull", waiting("ErrImageNeverPull"))
	ended := s.waitPod("broken", "failed", isEnded)
	s.want("state", summary(ended), "StartError")
}

func activeDeadline(s *scope) {
	p := pod("slow", "sleep")
	p.Spec.ActiveDeadlineSeconds = ptr(int64(5))
	ended, _ := s.failed(p)
	if ended.Status.Reason != "DeadlineExceeded" {
		s.Errorf("%s: want DeadlineExceeded", summary(ended))
	}
}
