package gate

import (
	"strings"
	"testing"

	"github.com/digital-mycelium/os/cmd/init/internal/kube"
)

// well are the facts of a node that wants for nothing.
func well(boot string) Facts {
	return Facts{
		BootID: boot, Addressed: true, Timed: true, Member: true, Server: true, Peers: true, API: true, Ready: true,
		Workloads: map[string]kube.Workload{"default/ReplicaSet/hello": {Ready: 2, Pods: 2, Containers: []string{boot + "-a", boot + "-b"}}},
	}
}

func TestMissing(t *testing.T) {
	const hello = "default/ReplicaSet/hello"
	for name, tt := range map[string]struct {
		before, now func(*Facts)
		checks      []string
		want        string // all of it, joined by ", "
	}{
		"all is well":                    {},
		"a new failed phase":             {now: func(f *Facts) { f.FailedPhases = []string{"config"} }, want: "the boot phase config has failed, which it did not before"},
		"a phase that failed before":     {before: func(f *Facts) { f.FailedPhases = []string{"config"} }, now: func(f *Facts) { f.FailedPhases = []string{"config"} }},
		"no address":                     {now: func(f *Facts) { f.Addressed = false }, want: "no network interface has an address"},
		"no address before either":       {before: func(f *Facts) { f.Addressed = false }, now: func(f *Facts) { f.Addressed = false }},
		"no clock":                       {now: func(f *Facts) { f.Timed = false }, want: "the clock is not known to be right"},
		"no member":                      {now: func(f *Facts) { f.Member = false }, want: "the machine API does not answer members"},
		"no server but peers":            {now: func(f *Facts) { f.Server = false }},
		"peers went, the server answers": {before: func(f *Facts) { f.Server = false }, now: func(f *Facts) { f.Peers = false }},
		"neither":                        {now: func(f *Facts) { f.Server, f.Peers = false, false }, want: "neither the release server nor another member of the network is reached"},
		"neither, as before":             {before: func(f *Facts) { f.Server, f.Peers = false, false }, now: func(f *Facts) { f.Server, f.Peers = false, false }},
		"no Kubernetes": {
			now:  func(f *Facts) { f.API, f.Ready, f.Workloads = false, false, nil },
			want: "the Kubernetes API does not answer, the node is not Ready, it is not known which workloads run",
		},
		"no Kubernetes before": {
			before: func(f *Facts) { f.API, f.Ready, f.Workloads = false, false, nil },
			now:    func(f *Facts) { f.API, f.Ready, f.Workloads = false, false, nil },
		},
		"a pod is not Ready": {
			now:  func(f *Facts) { f.Workloads[hello] = kube.Workload{Ready: 1, Pods: 2, Containers: []string{"2-a"}} },
			want: hello + ": 1 of 2 pods are Ready, 2 were before",
		},
		"one pod was not Ready before": {
			before: func(f *Facts) { f.Workloads[hello] = kube.Workload{Ready: 1, Pods: 2, Containers: []string{"1-a"}} },
			now:    func(f *Facts) { f.Workloads[hello] = kube.Workload{Ready: 1, Pods: 2, Containers: []string{"2-a"}} },
		},
		"a pod has moved away":    {now: func(f *Facts) { f.Workloads[hello] = kube.Workload{Ready: 1, Pods: 1, Containers: []string{"2-a"}} }},
		"all pods have":           {now: func(f *Facts) { delete(f.Workloads, hello) }},
		"what Kubernetes recalls": {now: func(f *Facts) { f.Workloads[hello] = well("1").Workloads[hello] }, want: hello + ": 0 of 2 pods are Ready, 2 were before"},
		"a new workload":          {now: func(f *Facts) { f.Workloads["default/ReplicaSet/new"] = kube.Workload{Pods: 1} }},
		"the owner's checks":      {checks: []string{"shop: connection refused"}, want: "the check shop: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			before, now := well("1"), well("2")
			if tt.before != nil {
				tt.before(&before)
			}
			if tt.now != nil {
				tt.now(&now)
			}
			if got := strings.Join(Missing(before, now, tt.checks), ", "); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	// Nothing is known of before, because its facts were lost: what cannot be asked for is not.
	if got := Missing(Facts{}, Facts{BootID: "2"}, nil); got != nil {
		t.Errorf("%q", got)
	}
	same := well("1")
	if got := Missing(same, same, nil); got != nil {
		t.Errorf("the same boot: %q", got)
	}
}
