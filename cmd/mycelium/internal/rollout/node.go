package rollout

import (
	"cmp"
	"fmt"
	"slices"

	"golang.org/x/mod/semver"

	"github.com/digital-mycelium/os/pkg/api"
)

// Phases of a slot, as the machine API names them.
const (
	staged = "staged"
	trial  = "trial"
	bad    = "bad"
)

// Node is a node as one look has found it.
type Node struct {
	Name string
	// Server says that it runs a Kubernetes server, Kubelet that pods run on it.
	Server, Kubelet bool
	// Chosen says that the rollout is to update it; the others count for the quorum.
	Chosen bool
	// Problem says why it did not answer; nothing below is known then.
	Problem string
	// Fixed machines cannot replace their OS.
	Fixed bool
	// BootID changes with every boot.
	BootID string
	// Running is the version that runs.
	Running string
	// OnTrial says that what runs has not shown yet that it works; Waiting is what
	// it still has to show.
	OnTrial bool
	Waiting []string
	// Slot is the phase of the other slot, if that holds the rollout's version.
	Slot string
	// Refused says why the rollout's version failed here; empty when it did not.
	Refused string
	// APIUp says that Kubernetes' API answers, Ready that the node is Ready there,
	// NotReady why it is not.
	APIUp, Ready bool
	NotReady     string
	// Activity is what the node does to update; nil when nothing.
	Activity *api.UpdateActivity
}

func (n Node) answers() bool { return n.Problem == "" }

// up says whether the node does its work: a server's is Kubernetes' API as well.
func (n Node) up() bool {
	return n.answers() && !n.OnTrial && (!n.Kubelet || n.Ready) && (!n.Server || n.APIUp)
}

// See returns what status says of a node for a rollout of version.
func See(name string, chosen bool, version string, s *api.Status) Node {
	n := Node{
		Name: name, Chosen: chosen, BootID: s.BootID, Running: s.Version,
		Server: s.Membership.Role == "server", Kubelet: s.Membership.Role == "server" || s.Membership.Role == "agent",
		APIUp: s.Kubernetes.APIUp, Ready: s.Kubernetes.NodeReady, NotReady: s.Kubernetes.Reason,
	}
	u := s.Update
	if u == nil {
		n.Fixed = true
		return n
	}
	n.Activity = u.Activity
	for _, slot := range u.Slots {
		switch {
		case slot.Running:
			n.Running, n.OnTrial = cmp.Or(slot.Version, s.Version), slot.Phase == trial
		case slot.Version == version:
			n.Slot = slot.Phase
			if slot.Phase == bad {
				n.Refused = cmp.Or(slot.Reason, "no reason is known")
			}
		}
	}
	if u.Trial != nil {
		n.OnTrial, n.Waiting = true, u.Trial.Waiting
	}
	for _, v := range u.Refused {
		if v.Version == version {
			n.Refused = cmp.Or(v.Reason, n.Refused, "no reason is known")
		}
	}
	return n
}

// stage is where a node is on its way to the version.
type stage string

const (
	away    stage = "away"    // does not answer
	missing stage = "missing" // has nothing of the version that could be tried
	refused stage = "refused" // the version has failed there
	ready   stage = "staged"  // can be tried
	trying  stage = "trial"
	there   stage = "there" // runs the version, which is good
)

func (n Node) stage(version string) stage {
	switch {
	case !n.answers():
		return away
	case n.Running == version && !n.OnTrial:
		return there
	case n.OnTrial || n.Slot == trial:
		return trying
	case n.Slot == staged:
		return ready
	case n.Refused != "":
		return refused
	}
	return missing
}

// newer says whether a is a higher version than b; what is no version is lower
// than every one.
func newer(a, b string) bool { return semver.Compare("v"+a, "v"+b) > 0 }

// order returns the names of the chosen nodes in the order in which they are
// updated, tier by tier: a tier begins when the one before it is done.
//
// Kubernetes' version skew policy: a kubelet must not be newer than the API
// servers. So servers come first on the way up, and last on the way down.
func order(version string, nodes []Node) [][]string {
	var servers, others []string
	down := false
	for _, n := range nodes {
		if !n.Chosen {
			continue
		}
		down = down || newer(n.Running, version)
		if n.Server {
			servers = append(servers, n.Name)
		} else {
			others = append(others, n.Name)
		}
	}
	slices.Sort(servers)
	slices.Sort(others)
	tiers := [][]string{servers, others}
	if down {
		slices.Reverse(tiers)
	}
	return tiers
}

// Impact says, before anything happens, what a rollout interrupts although all
// goes well; empty when nothing does.
func Impact(nodes []Node, drain bool) []string {
	var out []string
	servers, workers, chosenServers, kubelets := 0, 0, 0, 0
	for _, n := range nodes {
		if n.Server {
			servers++
			if n.Chosen {
				chosenServers++
			}
		}
		if n.Kubelet {
			workers++
			if n.Chosen {
				kubelets++
			}
		}
	}
	switch {
	case workers == 1 && kubelets == 1:
		out = append(out, "It is the only node that pods run on: all of them and Kubernetes' API are interrupted while it reboots, and once more if it rolls back. Nothing is drained.")
	case kubelets > 0 && !drain:
		out = append(out, "Nothing is drained: the pods of each node are interrupted while it reboots.")
	}
	if workers > 1 && chosenServers > 0 && servers < 3 {
		text := "There is one server: Kubernetes' API does not answer while it reboots. Pods on other nodes go on."
		if servers == 2 {
			text = "There are two servers, which need each other: Kubernetes' API does not answer while one of them reboots. Pods on other nodes go on; three servers do without one."
		}
		out = append(out, text)
	}
	return out
}

// check refuses nodes that the rollout cannot do anything about.
func check(nodes []Node) error {
	seen := map[string]bool{}
	for _, n := range nodes {
		if seen[n.Name] {
			return fmt.Errorf("two nodes are called %s: rename one (hostname in its configuration)", n.Name)
		}
		seen[n.Name] = true
		if n.Chosen && n.Fixed {
			return fmt.Errorf("%s cannot replace its OS: leave it out with --nodes", n.Name)
		}
	}
	return nil
}
