package conformance

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func probeCases() []testCase {
	return []testCase{
		{"liveness over HTTP restarts", livenessHTTP},
		{"readiness by command gates the service", readinessExec},
		{"TCP and startup probes", tcpAndStartup},
		{"failing startup probe kills", startupFails},
	}
}

func livenessHTTP(s *scope) {
	p := server("fragile")
	p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	p.Spec.Containers[0].LivenessProbe = &corev1.Probe{
		ProbeHandler: httpCheck("/healthz"), PeriodSeconds: 2, TimeoutSeconds: 20, FailureThreshold: 2,
	}
	s.ready(p)
	s.mustExec("fragile", "get", "http://127.0.0.1:8080/sick")
	s.waitPod("fragile", "restarted and Ready", func(p *corev1.Pod) bool {
		return isReady(p) && p.Status.ContainerStatuses[0].RestartCount >= 1
	})
	s.waitEvent("fragile", "Unhealthy", "Liveness probe failed")
}

func readinessExec(s *scope) {
	p := pod("shy", "serve", "8080")
	p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{
			Command: []string{probePath, "exists", "/shared/open"},
		}},
		PeriodSeconds: 2, TimeoutSeconds: 20, FailureThreshold: 1,
	}
	s.create(shared(p))
	s.service("shy", "shy", corev1.ServiceSpec{})
	s.waitPod("shy", "running", isRunning)
	s.waitEvent("shy", "Unhealthy", "Readiness probe failed")
	if n := s.endpoints("shy"); n != 0 {
		s.Errorf("%d endpoints of a pod that is not Ready", n)
	}
	s.mustExec("shy", "write", "/shared/open", "yes")
	s.waitPod("shy", "Ready", isReady)
	s.waitEndpoints("shy", 1)
}

func tcpAndStartup(s *scope) {
	tcp := corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8080)}}
	p := pod("slow", "serve", "8080", "6s")
	main := &p.Spec.Containers[0]
	main.StartupProbe = &corev1.Probe{ProbeHandler: tcp, PeriodSeconds: 2, TimeoutSeconds: 20, FailureThreshold: 60}
	// Without the startup probe this one would kill the container before it listens.
	main.LivenessProbe = &corev1.Probe{ProbeHandler: tcp, PeriodSeconds: 1, TimeoutSeconds: 20, FailureThreshold: 2}
	ready := s.ready(p)
	if n := ready.Status.ContainerStatuses[0].RestartCount; n != 0 {
		s.Errorf("%d restarts, want none", n)
	}
}

func startupFails(s *scope) {
	p := pod("stuck", "trap", "0s")
	p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	p.Spec.Containers[0].StartupProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{probePath, "exists", "/never"}}},
		PeriodSeconds: 1, TimeoutSeconds: 20, FailureThreshold: 2,
	}
	s.create(p)
	s.waitPod("stuck", "restarted", func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].RestartCount >= 1
	})
	s.waitEvent("stuck", "Killing", "failed startup probe")
}
