package conformance

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func resourceCases() []testCase {
	return []testCase{
		{"memory limit kills", memoryLimit},
		{"CPU limit throttles", cpuLimit},
		{"quality of service and cgroup values", qualityOfService},
		{"number of processes is bounded", pidLimit},
		{"resource quota and limit range", quota},
		{"unschedulable pod says why", unschedulable},
		{"in-place resize", inPlaceResize},
	}
}

func memoryLimit(s *scope) {
	p := pod("greedy", "alloc", "200")
	p.Spec.Containers[0].Resources.Limits = resources("memory", "48Mi")
	ended, _ := s.failed(p)
	state := ended.Status.ContainerStatuses[0].State.Terminated
	if state == nil || state.Reason != "OOMKilled" || state.ExitCode != 137 {
		s.Errorf("%s: want OOMKilled, 137", summary(ended))
	}
}

func cpuLimit(s *scope) {
	p := pod("busy", "burn", "2")
	p.Spec.Containers[0].Resources.Limits = resources("cpu", "300m", "memory", "64Mi")
	s.create(p)
	s.waitPod("busy", "running", isRunning)
	s.want("quota", s.mustExec("busy", "cat", "/sys/fs/cgroup/cpu.max"), "30000 100000")
	s.wait("throttling", func(context.Context) (bool, string, error) {
		out, err := s.exec("busy", "", "cat", "/sys/fs/cgroup/cpu.stat")
		return counter(out, "nr_throttled") > 10, out, err
	})
}

// counter reads a "name value" line of a cgroup file; -1 when there is none.
func counter(text, name string) int64 {
	m := regexp.MustCompile(`(?m)^` + name + ` (\d+)$`).FindStringSubmatch(text)
	if m == nil {
		return -1
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func qualityOfService(s *scope) {
	files := []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/cpu.weight"}
	classes := map[string]struct {
		requirements corev1.ResourceRequirements
		class        corev1.PodQOSClass
		memory       string
	}{
		"guaranteed": {
			corev1.ResourceRequirements{Limits: resources("cpu", "200m", "memory", "64Mi")},
			corev1.PodQOSGuaranteed, "67108864\n",
		},
		"burstable": {
			corev1.ResourceRequirements{Requests: resources("cpu", "50m", "memory", "16Mi")},
			corev1.PodQOSBurstable, "max\n",
		},
		"besteffort": {corev1.ResourceRequirements{}, corev1.PodQOSBestEffort, "max\n"},
	}
	for name, want := range classes {
		p := pod(name, append([]string{"cat"}, files...)...)
		p.Spec.Containers[0].Resources = want.requirements
		s.create(p)
	}
	for name, want := range classes {
		got := s.waitPod(name, "ended", isEnded)
		log := s.logs(name, corev1.PodLogOptions{})
		if got.Status.QOSClass != want.class || !strings.HasPrefix(log, want.memory) {
			s.Errorf("%s: class %s, memory.max and cpu.weight %q; want %s, %q", name, got.Status.QOSClass, log, want.class, want.memory)
		}
	}
}

// manyThreads is more than a pod may have processes and threads.
const manyThreads = 5000

func pidLimit(s *scope) {
	// Without a limit one pod could take all of the node's process numbers. It
	// counts for the pod, so that nothing within the container shows it.
	p := pod("rabbit", "threads", fmt.Sprint(manyThreads))
	p.Spec.Containers[0].Resources.Limits = resources("memory", "768Mi")
	_, log := s.finish(p)
	s.want("log of the pod", log[:min(len(log), 2000)], "failed to create new OS thread")
}

const quotas = `
apiVersion: v1
kind: ResourceQuota
metadata: {name: two}
spec: {hard: {pods: "1", configmaps: "3"}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: small}
spec:
  limits: [{type: Container, default: {memory: 32Mi}, defaultRequest: {memory: 16Mi}, max: {memory: 64Mi}}]
`

func quota(s *scope) {
	s.apply(quotas)
	s.wait("the quota's count", func(ctx context.Context) (bool, string, error) {
		q, err := s.kube.CoreV1().ResourceQuotas(s.ns).Get(ctx, "two", metav1.GetOptions{})
		return err == nil && !q.Status.Hard.Pods().IsZero(), "", err
	})
	big := pod("big", "sleep")
	big.Spec.Containers[0].Resources.Limits = resources("memory", "128Mi")
	_, err := s.kube.CoreV1().Pods(s.ns).Create(s.ctx, big, metav1.CreateOptions{})
	s.refused("a pod above the limit range", err, "maximum memory usage per Container is 64Mi")
	made := s.create(pod("first", "sleep"))
	if got := made.Spec.Containers[0].Resources.Limits.Memory().String(); got != "32Mi" {
		s.Errorf("default memory limit %q, want 32Mi", got)
	}
	_, err = s.kube.CoreV1().Pods(s.ns).Create(s.ctx, pod("second", "sleep"), metav1.CreateOptions{})
	s.refused("a pod above the quota", err, "exceeded quota: two")
}

func unschedulable(s *scope) {
	huge := pod("huge", "sleep")
	huge.Spec.Containers[0].Resources.Requests = resources("memory", "1Ti")
	s.create(huge)
	s.waitEvent("huge", "FailedScheduling", "Insufficient memory")
	choosy := pod("choosy", "sleep")
	choosy.Spec.NodeSelector = map[string]string{"soil": "clay"}
	s.create(choosy)
	s.waitEvent("choosy", "FailedScheduling", "node affinity/selector")
}

func inPlaceResize(s *scope) {
	p := pod("elastic", "sleep")
	p.Spec.Containers[0].Resources = corev1.ResourceRequirements{
		Requests: resources("cpu", "10m", "memory", "32Mi"), Limits: resources("cpu", "100m", "memory", "32Mi"),
	}
	s.create(p)
	s.waitPod("elastic", "running", isRunning)
	s.runKubectl("", "patch", "pod", "elastic", "--subresource=resize", "-p",
		`{"spec":{"containers":[{"name":"main","resources":{"limits":{"cpu":"200m","memory":"48Mi"}}}]}}`)
	s.wait("the new limits in the container", func(context.Context) (bool, string, error) {
		out, err := s.exec("elastic", "", "cat", "/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/memory.max")
		return strings.Contains(out, "20000 100000") && strings.Contains(out, "50331648"), out, err
	})
	now := s.waitPod("elastic", "still there", isRunning)
	if n := now.Status.ContainerStatuses[0].RestartCount; n != 0 {
		s.Errorf("%d restarts by resizing, want none", n)
	}
}
