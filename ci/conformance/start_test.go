package conformance

import (
	"flag"
	"os"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// Ports of the guest that the host reaches: a node port and a host port.
const (
	guestNodePort = 30088
	guestHostPort = 18088
)

// parallel is how many cases run at once, unless -parallel says otherwise:
// most of a case's time is waiting for the emulated node.
const parallel = "4"

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", parallel); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// start boots the node and gives it the tests' workload.
func start(t *testing.T) *cluster {
	t.Helper()
	suite, err := lab.NewSuite()
	if err != nil {
		t.Fatal(err)
	}
	if err := suite.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { suite.Finish(t) })
	kubectl, err := suite.Kubectl()
	if err != nil {
		t.Fatal(err)
	}
	machine := suite.Machine(t, lab.MachineSpec{
		Name: "conformance",
		Node: qemu.NodeSpec{
			MemoryMiB: 3072,
			Forwards:  []qemu.Forward{{Guest: guestNodePort}, {Guest: guestHostPort}},
		},
	})
	status := machine.MustBoot(t)
	suite.Times.Note(t, "node Ready %.1f s after the kernel started, API after %.1f s", status.Kubernetes.ReadyAt, status.Kubernetes.APIUpAt)
	// The image store takes its time: cases begin when a pod of the image runs.
	if err := machine.Deploy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := machine.WaitDeployed(t.Context()); err != nil {
		t.Fatal(err)
	}
	way, err := machine.Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client, err := way.Kube.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + lab.WorkloadName})
	if err != nil || len(client.Items) == 0 {
		t.Fatalf("no pod of the workload: %v", err)
	}
	// The streams of exec and port-forward live longer than one request.
	streams := *way.Config
	streams.Timeout = 0
	return &cluster{
		suite: suite, machine: machine, config: &streams, kube: way.Kube,
		kubeconfig: way.Kubeconfig, kubectl: kubectl, client: client.Items[0].Name,
	}
}
