package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/digital-mycelium/os/ci/lab"
)

func networkCases() []testCase {
	return []testCase{
		{"every way to one server", everyWay},
		{"cluster IP balances, sticks and follows endpoints", clusterIP},
		{"host network", hostNetwork},
		{"service without endpoints refuses", noEndpoints},
		{"service in the environment", serviceEnvironment},
		{"egress is masqueraded", egress},
		{"API from inside a pod", apiFromPod},
	}
}

// service makes a Service that selects the pods labelled app=app, on port 80.
func (s *scope) service(name, app string, spec corev1.ServiceSpec) *corev1.Service {
	s.Helper()
	spec.Selector = map[string]string{"app": app}
	if spec.Ports == nil {
		spec.Ports = []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}}
	}
	service, err := s.kube.CoreV1().Services(s.ns).Create(s.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec,
	}, metav1.CreateOptions{})
	s.must("create service "+name, err)
	return service
}

// endpoints counts the ready endpoints of a service.
func (s *scope) endpoints(service string) int {
	s.Helper()
	slices, err := s.kube.DiscoveryV1().EndpointSlices(s.ns).List(s.ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + service,
	})
	s.must("list endpoints", err)
	n := 0
	for _, slice := range slices.Items {
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				n++
			}
		}
	}
	return n
}

func (s *scope) waitEndpoints(service string, want int) {
	s.Helper()
	s.wait(fmt.Sprintf("%d endpoints of service %s", want, service), func(context.Context) (bool, string, error) {
		n := s.endpoints(service)
		return n == want, fmt.Sprintf("%d endpoints", n), nil
	})
}

// fromClient runs the probe in the workload's pod, which every case may use to
// send requests from: a pod of its own for each case would cost minutes.
func (s *scope) fromClient(command ...string) (string, error) {
	return s.execIn("default", s.client, "", command...)
}

// hostnames are the servers that answered times requests to url, sent from a pod.
func (s *scope) hostnames(url string, times int) (map[string]int, error) {
	out, err := s.fromClient("get", url, fmt.Sprint(times))
	if err != nil {
		return nil, err
	}
	found := map[string]int{}
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		var answer struct{ Hostname string }
		if err := json.Unmarshal([]byte(line), &answer); err != nil {
			return nil, fmt.Errorf("answer %q: %w", line, err)
		}
		found[answer.Hostname]++
	}
	return found, nil
}

// waitAnswer waits until url, asked from a pod, is answered by server.
func (s *scope) waitAnswer(url, server string) {
	s.Helper()
	s.wait("an answer of "+server+" at "+url, func(context.Context) (bool, string, error) {
		found, err := s.hostnames(url, 1)
		return found[server] > 0, fmt.Sprint(found), err
	})
}

// two makes two servers, one and two, both labelled app=pair.
func (s *scope) two() {
	s.Helper()
	for _, name := range []string{"one", "two"} {
		p := server(name)
		p.Labels["app"] = "pair"
		s.create(p)
	}
	for _, name := range []string{"one", "two"} {
		s.waitPod(name, "Ready", isReady)
	}
}

func clusterIP(s *scope) {
	ports := []corev1.ServicePort{
		{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)},
		{Name: "udp", Port: 53, Protocol: corev1.ProtocolUDP, TargetPort: intstr.FromInt32(8080)},
	}
	balanced := s.service("balanced", "pair", corev1.ServiceSpec{Ports: ports})
	sticky := s.service("sticky", "pair", corev1.ServiceSpec{Ports: ports, SessionAffinity: corev1.ServiceAffinityClientIP})
	s.two()
	s.waitEndpoints("balanced", 2)
	s.waitEndpoints("sticky", 2)
	url := "http://" + balanced.Spec.ClusterIP
	s.wait("both servers to answer", func(context.Context) (bool, string, error) {
		found, err := s.hostnames(url, 12)
		return found["one"] > 0 && found["two"] > 0, fmt.Sprint(found), err
	})
	out, err := s.fromClient("udp", balanced.Spec.ClusterIP+":53", "spore")
	s.must("datagram", err)
	s.want("datagram", out, "spore")
	// The rules for the second endpoint may come after those for the first.
	s.wait("all requests of a client at one server", func(context.Context) (bool, string, error) {
		found, err := s.hostnames("http://"+sticky.Spec.ClusterIP, 12)
		return len(found) == 1, fmt.Sprint(found), err
	})
	s.remove("one")
	s.waitEndpoints("balanced", 1)
	s.wait("only the remaining server to answer", func(context.Context) (bool, string, error) {
		found, err := s.hostnames(url, 6)
		return found["two"] == 6, fmt.Sprint(found), err
	})
}

// nodeIP is the node's internal address.
func (s *scope) nodeIP() string {
	s.Helper()
	nodes, err := s.kube.CoreV1().Nodes().List(s.ctx, metav1.ListOptions{})
	s.must("list nodes", err)
	for _, a := range nodes.Items[0].Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			return a.Address
		}
	}
	s.Fatal("the node has no internal address")
	return ""
}

// everyWay: one server, reached at its pod's address, over a host port, a node
// port and a cluster IP, by others and by itself, and listed by a headless service.
func everyWay(s *scope) {
	nodePort := s.service("node", "web", corev1.ServiceSpec{
		Type:  corev1.ServiceTypeNodePort,
		Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080), NodePort: guestNodePort}},
	})
	s.service("headless", "web", corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone})
	p := server("web")
	p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080, HostPort: guestHostPort}}
	s.create(p)
	second := p.DeepCopy() // another claim to the port finds no node
	web := s.waitPod("web", "Ready", isReady)
	second.Name = "second"
	s.create(second)

	address := net.JoinHostPort(web.Status.PodIP, "8080")
	s.waitAnswer("http://"+address, "web")
	out, err := s.fromClient("udp", address, "spore")
	s.must("datagram", err)
	s.want("datagram", out, "spore")
	s.waitAnswer("http://"+nodePort.Spec.ClusterIP, "web")
	s.waitAnswer(fmt.Sprintf("http://%s:%d", s.nodeIP(), guestNodePort), "web")
	s.answersHost(guestNodePort, "web")
	s.waitAnswer(fmt.Sprintf("http://%s:%d", s.nodeIP(), guestHostPort), "web")
	s.answersHost(guestHostPort, "web")
	s.wait("the pod's own answer", func(context.Context) (bool, string, error) {
		out, err := s.exec("web", "", "get", "http://"+nodePort.Spec.ClusterIP)
		return strings.Contains(out, `"hostname":"web"`), out, err
	})
	list, err := s.kube.DiscoveryV1().EndpointSlices(s.ns).List(s.ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=headless",
	})
	s.must("list endpoints", err)
	if got := list.Items[0].Endpoints[0].Addresses[0]; got != web.Status.PodIP {
		s.Errorf("endpoint of the headless service %s, want the pod's address %s", got, web.Status.PodIP)
	}
	s.waitEvent("second", "FailedScheduling", "free ports")
}

// answersHost waits until a port of the guest, asked from the host, is answered by server.
func (s *scope) answersHost(guest int, server string) {
	s.Helper()
	port, ok := s.machine.HostPort(guest)
	if !ok {
		s.Fatalf("port %d of the guest is not forwarded", guest)
	}
	s.wait("an answer on the host", func(ctx context.Context) (bool, string, error) {
		body, err := lab.HTTPGet(ctx, fmt.Sprintf("http://127.0.0.1:%d/", port))
		return strings.Contains(body, fmt.Sprintf("%q", server)), body, err
	})
}

func hostNetwork(s *scope) {
	p := pod("web", "serve", "18099")
	p.Spec.HostNetwork = true
	s.create(p)
	running := s.waitPod("web", "running", isRunning)
	if running.Status.PodIP != running.Status.HostIP {
		s.Errorf("pod IP %s, host IP %s: want the same", running.Status.PodIP, running.Status.HostIP)
	}
	s.wait("an answer on the node's address", func(context.Context) (bool, string, error) {
		found, err := s.hostnames("http://"+net.JoinHostPort(running.Status.HostIP, "18099"), 1)
		return len(found) == 1, fmt.Sprint(found), err
	})
}

func noEndpoints(s *scope) {
	service := s.service("nobody", "nobody", corev1.ServiceSpec{})
	s.wait("a refusal", func(context.Context) (bool, string, error) {
		_, err := s.fromClient("get", "http://"+service.Spec.ClusterIP)
		return err != nil && strings.Contains(err.Error(), "refused"), fmt.Sprint(err), nil
	})
}

func serviceEnvironment(s *scope) {
	service := s.service("fruit-body", "nobody", corev1.ServiceSpec{})
	// kubelet may learn of the service after the pod.
	s.wait("the service in a new pod's environment", func(context.Context) (bool, string, error) {
		p := pod("reader", "env", "FRUIT_BODY_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
		log := s.output(p)
		s.remove("reader")
		s.want("environment", log, "KUBERNETES_SERVICE_PORT=443")
		return strings.Contains(log, "FRUIT_BODY_SERVICE_HOST="+service.Spec.ClusterIP), log, nil
	})
}

// slirpHost is the host's 127.0.0.1 as a guest on QEMU's user network sees it.
const slirpHost = "10.0.2.2"

func egress(s *scope) {
	var config net.ListenConfig
	listener, err := config.Listen(s.ctx, "tcp4", "127.0.0.1:0")
	s.must("listen", err)
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "beyond the node")
	}), ReadHeaderTimeout: caseTimeout}
	go func() { _ = web.Serve(listener) }()
	defer func() { s.must("close the server", web.Close()) }()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	s.must("port", err)
	out, err := s.fromClient("get", "http://"+net.JoinHostPort(slirpHost, port))
	s.must("request to the host", err)
	s.want("answer from beyond", out, "beyond the node")
}

func apiFromPod(s *scope) {
	// The certificate is not the point here: that there is one proves the way.
	s.wait("the API's certificate in a pod", func(context.Context) (bool, string, error) {
		out, err := s.fromClient("env", "KUBERNETES_SERVICE_HOST")
		if err != nil {
			return false, out, err
		}
		ip := strings.TrimPrefix(strings.TrimSpace(out), "KUBERNETES_SERVICE_HOST=")
		_, err = s.fromClient("get", "https://"+net.JoinHostPort(ip, "443")+"/version")
		return err != nil && strings.Contains(err.Error(), "certificate"), fmt.Sprint(err), nil
	})
}
