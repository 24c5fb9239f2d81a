package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/api"
)

// rollingFarm is two servers and an agent in one cluster, all with two slots.
func rollingFarm(t *testing.T) (*farm, *cluster) {
	t.Helper()
	f := newFarm(t, 3)
	f.nodes[2].change(func(s *api.Status) { s.Membership.Role, s.Kubernetes.APIUp = "agent", false })
	f.updatable()
	return f, f.withKubernetes()
}

// sorted sorts the first n of a list: they happen at once.
func sorted(list []string, n int) []string {
	slices.Sort(list[:min(n, len(list))])
	return list
}

func wantEvents(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("in this order:\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// update is what happens to one node that is drained.
func updateOf(n string) []string {
	return []string{"cordon " + n, "try " + n, "good " + n, "uncordon " + n}
}

func wantLog(t *testing.T, log string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(log, w) {
			t.Errorf("%q is missing in\n%s", w, log)
		}
	}
	if strings.Contains(log, "\x1b") {
		t.Errorf("a node steers the terminal: %q", log)
	}
}

func TestApply(t *testing.T) {
	f, k := rollingFarm(t)
	f.nodes[1].slots.offline = true // its answers are lost while it reboots
	_, log := f.run("update apply --version 0.3.0 --dry-run")
	wantLog(t, log, "To 0.3.0, in this order: node-1 (0.2.0, server), node-2 (0.2.0, server), node-3 (0.2.0).", "There are two servers")
	if did := f.events.take(); len(did) > 0 || len(k.done()) > 0 {
		t.Errorf("--dry-run did %q", did)
	}
	_, log = f.run("update apply --version 0.3.0")
	wantLog(t, log, "node-1  fetches the version", "is drained", "node-1  is on trial, still waits for the node to be Ready", "comes later", "All 3 nodes run 0.3.0.")
	want := slices.Concat([]string{"stage node-1", "stage node-2", "stage node-3"}, updateOf("node-1"), updateOf("node-2"), updateOf("node-3"))
	wantEvents(t, sorted(f.events.take(), 3), want...)
	if len(k.held) > 0 || k.closed["node-1"] || k.closed["node-2"] || k.closed["node-3"] {
		t.Errorf("no pods come to %v, %v", k.held, k.closed)
	}
	_, log = f.run("update apply --version 0.3.0")
	wantEvents(t, f.events.take())
	wantLog(t, log, "All 3 nodes run 0.3.0.")
}

// Down goes the other way round, and only to those that are named.
func TestApplyDown(t *testing.T) {
	f, _ := rollingFarm(t)
	f.run("update apply --version 0.1.0 -n node-1,node-3 --no-drain")
	wantEvents(t, sorted(f.events.take(), 2), "stage node-1", "stage node-3", "try node-3", "good node-3", "try node-1", "good node-1")
}

// A rollback ends it, and nobody goes on until a person decides.
func TestApplyHaltsAtARollback(t *testing.T) {
	f, k := rollingFarm(t)
	f.nodes[1].slots.fate = "bad"
	_, log, err := f.try("", "update apply --version 0.3.0")
	if err == nil {
		t.Fatal("it went well")
	}
	wantLog(t, log+err.Error(), "node-2 has rolled back: the camera is gone", "mycelium node logs", "--force")
	want := slices.Concat([]string{"stage node-1", "stage node-2", "stage node-3"}, updateOf("node-1"), []string{"cordon node-2", "try node-2", "bad node-2", "uncordon node-2"})
	wantEvents(t, sorted(f.events.take(), 3), want...)
	if len(k.held) > 0 {
		t.Errorf("no pods come to %v", k.held)
	}
	f.refused("", "update apply --version 0.3.0", "0.3.0 has failed on node-2 before: the camera is gone", "mycelium update forgive -n node-2 --version 0.3.0")
	wantEvents(t, f.events.take())
	f.nodes[1].slots.fate = ""
	f.run("update apply --version 0.3.0 --force")
	wantEvents(t, f.events.take(), slices.Concat([]string{"stage! node-2"}, updateOf("node-2"), updateOf("node-3"))...)
}

// interrupt runs a rollout to 0.3.0 until it has said something.
func (f *farm) interrupt(at string) string {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	defer cancel()
	out := &watchedBuffer{enough: func(s string) bool { return strings.Contains(s, at) }, then: cancel}
	root := newRootCommand()
	root.SetArgs(strings.Fields("update apply --version 0.3.0"))
	root.SetOut(out)
	root.SetErr(out)
	if err := root.ExecuteContext(withPollPause(ctx, testPause)); !errors.Is(err, context.Canceled) {
		f.t.Fatalf("it ended with %v:\n%s", err, out)
	}
	return out.String()
}

// What is broken off goes on where it was.
func TestApplyGoesOnAfterInterrupts(t *testing.T) {
	f, k := rollingFarm(t)
	log := f.interrupt("node-1  is on trial")
	wantLog(t, log, "Stopped.", "the same command goes on from there")
	if k.held["node-1"] != "0.3.0" || !k.closed["node-1"] {
		t.Errorf("nobody marks that node-1 is in hand: %v", k.held)
	}
	f.interrupt("node-2  is drained")
	f.run("update apply --version 0.3.0")
	var tries []string
	for _, e := range f.events.take() {
		if strings.HasPrefix(e, "try") || strings.HasPrefix(e, "stage") {
			tries = append(tries, e)
		}
	}
	wantEvents(t, sorted(tries, 3), "stage node-1", "stage node-2", "stage node-3", "try node-1", "try node-2", "try node-3")
	if len(k.held) > 0 || k.closed["node-1"] || k.closed["node-2"] {
		t.Errorf("no pods come to %v, %v", k.held, k.closed)
	}
}

func TestApplyLeavesOthersCordons(t *testing.T) {
	f, k := rollingFarm(t)
	k.closed["node-3"] = true
	f.run("update apply --version 0.3.0")
	if !k.closed["node-3"] {
		t.Error("what a person has cordoned takes pods again")
	}
}

func TestApplyHaltsAtADrain(t *testing.T) {
	f, k := rollingFarm(t)
	k.bare = true
	f.refused("", "update apply --version 0.3.0", "node-1 was not drained", "pods would be lost", "default/mine", "The same command goes on")
	wantEvents(t, sorted(f.events.take(), 3), "stage node-1", "stage node-2", "stage node-3", "cordon node-1", "uncordon node-1")
	k.bare = false
	f.run("update apply --version 0.3.0")
}

func TestApplyHaltsAtAFetch(t *testing.T) {
	f, _ := rollingFarm(t)
	f.nodes[1].slots.stageErrors = []error{fmt.Errorf("%w: the DATA volume", api.ErrFull)}
	f.refused("", "update apply --version 0.3.0", "node-2 did not fetch 0.3.0", "disk full")
	for _, e := range f.events.take() {
		if !strings.HasPrefix(e, "stage") {
			t.Errorf("the nodes did %q", e)
		}
	}
}

// A node that fetches something already is waited for.
func TestApplyWaitsForABusyNode(t *testing.T) {
	f, _ := rollingFarm(t)
	n := f.nodes[2]
	n.slots.stageErrors = []error{fmt.Errorf("%w: it fetches", api.ErrConflict)}
	n.change(func(s *api.Status) {
		s.Update.Activity = &api.UpdateActivity{Stage: api.UpdateFetching, Version: "0.3.0", Total: 100, Local: 50}
	})
	f.run("update apply --version 0.3.0 -n node-3")
	if did := f.events.take(); !slices.Equal(did[:2], []string{"stage node-3", "stage node-3"}) {
		t.Errorf("the nodes did %q", did)
	}
	n.slots.stageErrors = []error{fmt.Errorf("%w: no slots", api.ErrConflict)}
	n.change(func(s *api.Status) { s.Update.Activity = nil })
	f.refused("", "update apply --version 0.4.0 -n node-3", "no slots")
}

// A trial that somebody has put off is begun once more, and no third time.
func TestApplyOfATrialPutOff(t *testing.T) {
	f, _ := rollingFarm(t)
	f.nodes[2].slots.fate = "put off"
	f.refused("", "update apply --version 0.3.0 -n node-3", "put off 2 times")
	wantEvents(t, f.events.take(), "stage node-3", "cordon node-3", "try node-3", "staged node-3", "try node-3", "staged node-3", "uncordon node-3")
}

// On a network of one node nothing is drained, and what that means is said.
func TestApplyToTheOnlyNode(t *testing.T) {
	f := newFarm(t, 1)
	f.refused("", "update apply --version 0.3.0", "node-1 cannot replace its OS", "--nodes")
	f.updatable()
	f.nodes[0].slots.offers = []api.AvailableUpdate{{Version: "0.3.0"}, {Version: "0.2.5"}}
	_, log := f.run("update apply")
	wantLog(t, log, "It is the only node that pods run on", "All 1 nodes run 0.3.0.")
	wantEvents(t, f.events.take(), "stage node-1", "try node-1", "good node-1")
}

func TestApplyTheNewestForAll(t *testing.T) {
	f, _ := rollingFarm(t)
	for i, versions := range [][]string{{"0.4.0", "0.3.0"}, {"0.3.0", "0.2.9"}, {"0.4.0", "0.3.0", "0.2.9"}} {
		for _, v := range versions {
			f.nodes[i].slots.offers = append(f.nodes[i].slots.offers, api.AvailableUpdate{Version: v})
		}
	}
	_, log := f.run("update apply --dry-run")
	wantLog(t, log, "To 0.3.0, in this order")
	f.nodes[1].slots.offers = nil
	f.refused("", "update apply", "no version is offered to all", "mycelium update check")
	f.nodes[1].slots = nil
	f.refused("", "update apply", "ask what is offered", "--version")
}

func TestApplyRefusals(t *testing.T) {
	f, _ := rollingFarm(t)
	f.refused("", "update apply --version 0.3.0 --max-unavailable 0", "want at least 1")
	f.refused("", "update apply --version 0.3.0 -n node-9", `no node "node-9"`)
	f.nodes[1].stop()
	f.refused("", "update apply --version 0.3.0 --timeout 1ms", "node-2: does not answer", "look at its screen")
	for _, e := range f.events.take() {
		if !strings.HasPrefix(e, "stage") {
			t.Errorf("the nodes did %q", e)
		}
	}
	f.refused("", "update apply --version 0.3.0 -n node-1 --timeout 1ms", "node-1 cannot be updated: the server node-2")
	for _, n := range f.nodes {
		n.kube = nil
	}
	wantLog(t, f.interrupt("--no-drain does without"), "cluster", "does not answer yet: reach the cluster")
}
