package conformance

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"

	"github.com/digital-mycelium/os/ci/lab"
)

func streamCases() []testCase {
	return []testCase{
		{"logs, previous and follow", logsOf},
		{"exec", execIn},
		{"kubectl exec, logs and attach", kubectlStreams},
		{"port-forward", portForward},
		{"ephemeral debug container", debugContainer},
	}
}

func logsOf(s *scope) {
	log := s.output(pod("talker", "lines", "6"))
	s.want("both streams", log, "line 1\n", "line 6\n")
	tail := s.logs("talker", corev1.PodLogOptions{TailLines: ptr(int64(1)), Timestamps: true})
	s.want("tail with time", tail, "Z line ")
	if n := strings.Count(tail, "\n"); n != 1 {
		s.Errorf("tail of 1 has %d lines", n)
	}

	p := pod("loser", "exit", "4")
	p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	s.create(p)
	s.waitPod("loser", "restarted", func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].RestartCount >= 1
	})
	// It dies again and again: the kubelet may have removed the log that it looks for.
	s.wait("the previous log", func(context.Context) (bool, string, error) {
		log := s.logs("loser", corev1.PodLogOptions{Previous: true})
		return strings.Contains(log, "exit 4"), log, nil
	})

	s.create(pod("clock", "tick", "1s"))
	s.waitPod("clock", "running", isRunning)
	stream, err := s.kube.CoreV1().Pods(s.ns).GetLogs("clock", &corev1.PodLogOptions{Follow: true}).Stream(s.ctx)
	s.must("follow", err)
	defer stream.Close()
	scanner, seen := bufio.NewScanner(stream), 0
	for seen < 4 && scanner.Scan() {
		seen++
		s.want("followed line", scanner.Text(), fmt.Sprintf("tick %d", seen))
	}
	if seen < 4 {
		s.Errorf("the followed log ended after %d lines: %v", seen, scanner.Err())
	}
}

func execIn(s *scope) {
	s.create(pod("host", "sleep"))
	s.waitPod("host", "running", isRunning)
	s.want("output", s.mustExec("host", "id"), "uid=0")
	_, err := s.exec("host", "main", "exists", "/nothing")
	s.refused("a failing command", err, "exit code 1", "no such file")
	_, err = s.exec("host", "nobody", "id")
	s.refused("an unknown container", err, "nobody")
}

func kubectlStreams(s *scope) {
	p := pod("host", "tick", "1s")
	s.create(p)
	s.waitPod("host", "running", isRunning)
	s.want("exec", s.runKubectl("", "exec", "host", "--", probePath, "id"), "uid=0")
	s.want("logs", s.runKubectl("", "logs", "host", "--limit-bytes=6"), "tick 1")
	_, err := s.tryKubectl("", "exec", "host", "--", probePath, "exit", "42")
	s.refused("a failing command", err, "exit code 42")
	// Attach shows what the container prints from now on; it ends with the container.
	ctx, cancel := context.WithTimeout(s.ctx, 20*time.Second)
	defer cancel()
	attached := *s
	attached.ctx = ctx
	done := make(chan string, 1)
	go func() { out, _ := attached.tryKubectl("", "attach", "host"); done <- out }()
	select {
	case out := <-done:
		s.want("attach", out, "tick")
	case <-s.ctx.Done():
		s.Error("attach never ended")
	}
}

func portForward(s *scope) {
	s.ready(server("web"))
	url := s.kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(s.ns).Name("web").SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(s.config)
	s.must("dialer", err)
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	stop, ready := make(chan struct{}), make(chan struct{})
	defer close(stop)
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
	s.must("port-forward", err)
	failed := make(chan error, 1)
	go func() { failed <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-failed:
		s.Fatalf("port-forward ended: %v", err)
	case <-s.ctx.Done():
		s.Fatal("port-forward never got ready")
	}
	ports, err := forwarder.GetPorts()
	s.must("forwarded port", err)
	body, err := lab.HTTPGet(s.ctx, fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
	s.must("request through the forwarded port", err)
	s.want("answer", body, `"hostname":"web"`)
}

func debugContainer(s *scope) {
	p := s.ready(server("patient"))
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon(container("doctor", "get", "http://127.0.0.1:8080/")),
		TargetContainerName:      "main",
	}}
	_, err := s.kube.CoreV1().Pods(s.ns).UpdateEphemeralContainers(s.ctx, p.Name, p, metav1.UpdateOptions{})
	s.must("add an ephemeral container", err)
	s.waitPod("patient", "its debug container ended", func(p *corev1.Pod) bool {
		return len(p.Status.EphemeralContainerStatuses) > 0 && p.Status.EphemeralContainerStatuses[0].State.Terminated != nil
	})
	s.want("log of the debug container", s.logs("patient", corev1.PodLogOptions{Container: "doctor"}), `"hostname":"patient"`)
}
