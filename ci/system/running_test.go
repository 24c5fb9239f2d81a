package system

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// crashesAndHangs: what a running node survives, and its LAN.
func crashesAndHangs(t *testing.T, suite *lab.Suite) {
	machines := suite.Machines(t, lab.MachineSpec{Name: "running", Nodes: 3, Node: qemu.NodeSpec{MemoryMiB: 1536}})
	m := machines[0]
	m.MustBoot(t)
	must(t, "deploy", m.Deploy(t.Context()))
	must(t, "workload", m.WaitWorkload(t.Context()))
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"LAN", func(t *testing.T) { lan(t, m, machines[1:]) }},
		{"containerd crashes", func(t *testing.T) { crash(t, m, "containerd") }},
		{"k3s crashes", func(t *testing.T) { crash(t, m, "k3s") }},
		{"hang", func(t *testing.T) { hang(t, m) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer suite.Times.Start(t)()
			defer recordOf(t, m)
			test.run(t)
		})
	}
}

// recordOf keeps what m says when a part of a story failed.
func recordOf(t *testing.T, m *lab.Machine) {
	if t.Failed() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		m.Record(ctx, t)
	}
}

// lan: a pod on m reaches the other machines over the segment that they share.
func lan(t *testing.T, m *lab.Machine, others []*lab.Machine) {
	ids := map[string]bool{}
	for i, other := range others {
		must(t, "start", other.Start(t.Context()))
		status, err := other.WaitStatus(within(t, 4*time.Minute), "running", func(s *api.Status) (bool, string) {
			return s.Phase == lab.PhaseRunning, s.Phase
		})
		must(t, "boot", err)
		ids[status.MachineID] = true
		address := fmt.Sprintf("10.77.0.%d", i+2)
		if !slices.ContainsFunc(status.Interfaces, func(n api.Interface) bool {
			return slices.ContainsFunc(n.Addresses, func(a string) bool { return strings.HasPrefix(a, address+"/") })
		}) {
			t.Errorf("%s has no interface with %s: %+v", other.Name(), address, status.Interfaces)
		}
		// Its machine API refuses a stranger by its certificate: it was reached.
		name := "reach-" + other.Name()
		must(t, "pod", m.RunPrivileged(t.Context(), name, "get", fmt.Sprintf("https://%s:%d/", address, api.Port)))
		_, err = m.WaitPodLog(t.Context(), name, "certificate")
		must(t, "reach "+other.Name(), err)
		must(t, "power cut", other.Kill(t.Context()))
	}
	if len(ids) != len(others) {
		t.Errorf("machine ids %v: want one for each machine", ids)
	}
}

// crash: the service k3s, whose child containerd is, comes back when either is
// killed, and so does the workload.
func crash(t *testing.T, m *lab.Machine, program string) {
	before, err := m.Status(t.Context())
	must(t, "status", err)
	must(t, "pod", m.RunPrivileged(t.Context(), "kill-"+program, "kill", program))
	after, err := m.WaitStatus(within(t, 6*time.Minute), "k3s restarted and the node Ready", func(s *api.Status) (bool, string) {
		now := service(s, "k3s")
		return now.Restarts > service(before, "k3s").Restarts && now.State == "running" &&
			s.Kubernetes.APIUp && s.Kubernetes.NodeReady, fmt.Sprintf("%+v, %+v", now, s.Kubernetes)
	})
	must(t, "restart", err)
	if after.BootID != before.BootID {
		t.Error("the machine rebooted because a service crashed")
	}
	must(t, "workload", m.WaitWorkload(t.Context()))
}

func service(s *api.Status, name string) api.Service {
	for _, service := range s.Services {
		if service.Name == name {
			return service
		}
	}
	return api.Service{}
}

// hang: a machine whose PID 1 stands still is started again by its watchdog,
// and has its workload back.
func hang(t *testing.T, m *lab.Machine) {
	before, err := m.Status(t.Context())
	must(t, "status", err)
	must(t, "pod", m.RunPrivileged(t.Context(), "freeze", "freeze"))
	after := waitOtherBoot(t, m, before)
	checkSameMachine(t, before, after)
	must(t, "workload", m.WaitWorkload(t.Context()))
}
