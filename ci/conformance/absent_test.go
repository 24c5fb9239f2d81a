package conformance

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// absentCases pin down what the core leaves to spores: whoever wants it is told
// so, or waits, and nothing breaks.
func absentCases() []testCase {
	return []testCase{
		{"absent: metrics server", noMetrics},
		{"absent: load balancer", noLoadBalancer},
		{"absent: storage class", noStorageClass},
		{"absent: Helm charts and bundled extras", noExtras},
		{"absent: network policy is not enforced", noNetworkPolicy},
	}
}

func noMetrics(s *scope) {
	_, err := s.tryKubectl("", "top", "node")
	s.refused("kubectl top", err, "Metrics API not available")
}

func noLoadBalancer(s *scope) {
	// It has a ClusterIP and a node port, and waits for someone to give it an address.
	service := s.service("web", "web", corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer})
	if service.Spec.ClusterIP == "" || service.Spec.Ports[0].NodePort == 0 {
		s.Errorf("no cluster IP or node port: %+v", service.Spec)
	}
	s.want("table", s.runKubectl("", "get", "service", "web"), "LoadBalancer", "<pending>")
	now, err := s.kube.CoreV1().Services(s.ns).Get(s.ctx, "web", metav1.GetOptions{})
	s.must("get service", err)
	if len(now.Status.LoadBalancer.Ingress) != 0 {
		s.Errorf("somebody balances load: %+v", now.Status.LoadBalancer)
	}
}

const claim = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
`

func noStorageClass(s *scope) {
	s.apply(claim)
	s.waitEvent("claim", "FailedBinding", "no persistent volumes available for this claim and no storage class is set")
}

func noExtras(s *scope) {
	s.wait("the list of kinds", func(context.Context) (bool, string, error) {
		out, err := s.tryKubectl("", "api-resources")
		return strings.Contains(out, "deployments"), out, err
	})
	out := s.runKubectl("", "api-resources")
	for _, kind := range []string{"helmcharts", "ingressroutes"} {
		if strings.Contains(out, kind) {
			s.Errorf("the API serves %s", kind)
		}
	}
	_, err := s.tryKubectl("apiVersion: helm.cattle.io/v1\nkind: HelmChart\nmetadata: {name: x}\n", "apply", "--validate=false", "-f", "-")
	s.refused("a Helm chart", err, `no matches for kind "HelmChart"`)
}

const closed = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {}, policyTypes: [Ingress]}
`

// noNetworkPolicy states a gap: the API takes a policy, as Kubernetes does with
// any network that has no enforcer, and traffic flows on.
func noNetworkPolicy(s *scope) {
	s.apply(closed)
	web := s.ready(server("web"))
	s.waitAnswer("http://"+web.Status.PodIP+":8080", "web")
}
