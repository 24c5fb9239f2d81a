// Package gate decides whether a new operating system may be kept: what worked
// before it must work again.
//
// Before an update the node writes down its Facts. While the new system is on trial
// it compares what it sees with them: Missing says what is not there yet.
package gate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/digital-mycelium/os/cmd/init/internal/kube"
)

// Facts are what a node can say of itself.
type Facts struct {
	// BootID tells boots apart.
	BootID string `json:"bootID"`
	// FailedPhases are the boot phases that failed.
	FailedPhases []string `json:"failedPhases,omitempty"`
	// Addressed says that a network interface has an address; Timed that the clock
	// rests on more than the earliest time that it can be.
	Addressed bool `json:"addressed"`
	Timed     bool `json:"timed"`
	// Member says that the node belongs to a network and its machine API answers.
	Member bool `json:"member"`
	// Server says that the release server answers, Peers that another member does.
	Server bool `json:"server"`
	Peers  bool `json:"peers"`
	// API says that Kubernetes answers, Ready that its node of this boot is Ready.
	API   bool `json:"api"`
	Ready bool `json:"ready"`
	// Workloads are those on the node; nil when nobody could say.
	Workloads map[string]kube.Workload `json:"workloads,omitempty"`
}

// Missing returns in words what of before is not there now, and which of the
// owner's checks have failed; nothing when the new system may be kept. A node that
// was not well before needs only be as well as that. It is as good when others are
// reached as when the release server is.
func Missing(before, now Facts, failedChecks []string) []string {
	var missing []string
	want := func(was, is bool, text string) {
		if was && !is {
			missing = append(missing, text)
		}
	}
	for _, phase := range now.FailedPhases {
		want(!slices.Contains(before.FailedPhases, phase), false, "the boot phase "+phase+" has failed, which it did not before")
	}
	want(before.Addressed, now.Addressed, "no network interface has an address")
	want(before.Timed, now.Timed, "the clock is not known to be right")
	want(before.Member, now.Member, "the machine API does not answer members")
	want(before.Server || before.Peers, now.Server || now.Peers, "neither the release server nor another member of the network is reached")
	want(before.API, now.API, "the Kubernetes API does not answer")
	want(before.Ready, now.Ready, "the node is not Ready")
	if now.Workloads == nil {
		want(len(before.Workloads) > 0, false, "it is not known which workloads run")
	} else {
		for _, name := range slices.Sorted(maps.Keys(before.Workloads)) {
			if text := compare(before.Workloads[name], now.Workloads[name], before.BootID != now.BootID); text != "" {
				missing = append(missing, name+": "+text)
			}
		}
	}
	for _, check := range failedChecks {
		missing = append(missing, "the check "+check)
	}
	return missing
}

// compare says what a workload lacks. Pods that have gone to another node, or that
// their owner does not want any more, are not missed. In another boot a pod with a
// container of before is none that runs: Kubernetes has not looked yet.
func compare(before, now kube.Workload, rebooted bool) string {
	ready := now.Ready
	if rebooted && slices.ContainsFunc(now.Containers, func(id string) bool { return slices.Contains(before.Containers, id) }) {
		ready = 0
	}
	if want := min(before.Ready, now.Pods); ready < want {
		return fmt.Sprintf("%d of %d pods are Ready, %d were before", ready, now.Pods, before.Ready)
	}
	return ""
}
