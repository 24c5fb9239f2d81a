package system

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/digital-mycelium/os/ci/lab"
	"github.com/digital-mycelium/os/pkg/api"
)

// recordOf keeps what m says when a part of a story failed.
func recordOf(t *testing.T, m *lab.Machine) {
	if t.Failed() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		m.Record(ctx, t)
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
