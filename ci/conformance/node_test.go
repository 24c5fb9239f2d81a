package conformance

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// nodeCases change the node itself, so they run alone and last.
func nodeCases() []testCase {
	return []testCase{
		{"cordon and taint", cordonAndTaint},
		{"drain", drain},
	}
}

// nodeName is the name of the only node.
func (s *scope) nodeName() string {
	s.Helper()
	nodes, err := s.kube.CoreV1().Nodes().List(s.ctx, metav1.ListOptions{})
	s.must("list nodes", err)
	return nodes.Items[0].Name
}

func cordonAndTaint(s *scope) {
	node := s.nodeName()
	s.runKubectl("", "cordon", node)
	defer s.runKubectl("", "uncordon", node)
	s.create(pod("waiting", "exit", "0"))
	s.waitEvent("waiting", "FailedScheduling", "unschedulable")
	s.runKubectl("", "uncordon", node)
	s.waitPod("waiting", "ended", isEnded)

	tolerant := pod("tolerant", "sleep")
	tolerant.Spec.Tolerations = []corev1.Toleration{{Key: "example.org/frost", Operator: corev1.TolerationOpExists}}
	s.create(tolerant)
	s.create(pod("tender", "sleep"))
	s.waitPod("tolerant", "running", isRunning)
	s.waitPod("tender", "running", isRunning)
	s.runKubectl("", "taint", "node", node, "example.org/frost=now:NoExecute")
	defer s.runKubectl("", "taint", "node", node, "example.org/frost-")
	s.gone("the tender pod", func(ctx context.Context) error {
		_, err := s.kube.CoreV1().Pods(s.ns).Get(ctx, "tender", metav1.GetOptions{})
		return err
	})
	s.waitPod("tolerant", "still running", func(p *corev1.Pod) bool { return isRunning(p) && p.DeletionTimestamp == nil })
}

func drain(s *scope) {
	node := s.nodeName()
	s.apply(fmt.Sprintf(deployment, 1, "one"))
	s.runKubectl("", "rollout", "status", "deployment/web", "--timeout=300s")
	defer s.runKubectl("", "uncordon", node)
	s.want("drain", s.runKubectl("", "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force",
		"--pod-selector=app=web", "--timeout=300s"), "drained")
	s.wait("the deployment's new pod to be pending", func(ctx context.Context) (bool, string, error) {
		out, err := s.tryKubectl("", "get", "pods", "-l", "app=web")
		return strings.Contains(out, "Pending"), out, err
	})
	s.runKubectl("", "uncordon", node)
	s.runKubectl("", "rollout", "status", "deployment/web", "--timeout=300s")
}
