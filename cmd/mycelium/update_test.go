package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// variedFarm is three nodes that are in different states of updating.
func variedFarm(t *testing.T) *farm {
	t.Helper()
	f := newFarm(t, 4)
	f.updatable()
	f.nodes[0].change(func(s *api.Status) {
		u := s.Update
		u.Slots[1] = api.Slot{Name: "b", Phase: "bad", Version: "0.2.9", Reason: "Kubernetes' node was not Ready"}
		u.Refused = []api.UpdateVerdict{{Version: "0.2.9", Phase: "bad", Reason: "Kubernetes' node was not Ready", Time: theTime}}
		u.Verdicts = []api.UpdateVerdict{{Version: "0.2.0", Phase: "good"}, {Version: "0.2.9", Phase: "bad", Reason: "Kubernetes' node was not\x1b[2J Ready", Time: theTime}}
		u.Available, u.Hold, u.HoldReason = "0.3.0", true, "the fair is on"
		u.Activity = &api.UpdateActivity{Stage: api.UpdateFetching, Version: "0.3.0", Total: 34 << 20, Local: 20 << 20, Peers: 4 << 20, Server: 1 << 20}
	})
	f.nodes[1].change(func(s *api.Status) {
		u := s.Update
		u.Slots[0].Phase = "trial"
		u.Slots[1] = api.Slot{Name: "b", Phase: "good", Version: "0.1.0", Default: true}
		u.Trial = &api.UpdateTrial{Version: "0.2.0", Waiting: []string{"the node to be Ready", "the pod web"}, Deadline: theTime}
		u.CheckError, u.Failure = "connection refused", "0.2.5: the disk is full"
	})
	f.nodes[2].change(func(s *api.Status) { s.Update.Server = "" })
	f.nodes[3].slots = nil
	f.nodes[3].change(func(s *api.Status) { s.Update = nil })
	f.nodes[0].slots.offers = []api.AvailableUpdate{
		{Version: "0.3.0", Size: 34 << 20, Channels: []string{"stable", "beta"}, Notes: "K3s 1.36", Published: theTime, Due: true},
		{Version: "0.3.1-rc.1", Size: 35 << 20, Published: theTime},
	}
	return f
}

func TestUpdateTables(t *testing.T) {
	f := variedFarm(t)
	out, log := f.run("update status")
	if log != "" {
		t.Errorf("it says %q", log)
	}
	golden(t, "update-status", f.shown(out))
	out, _ = f.run("update status -n node-2")
	golden(t, "update-status-one", f.shown(out))
	out, _ = f.run("update check -n node-1")
	golden(t, "update-check", f.shown(out))
	out, log, err := f.try("", "update check")
	if err == nil || !strings.Contains(log, "node-4: ") || !strings.Contains(log, "cannot replace its OS") || !strings.Contains(out, "node-1  0.3.0") {
		t.Errorf("%v\n%s\n%s", err, out, log)
	}
}

func TestUpdateJSON(t *testing.T) {
	f := variedFarm(t)
	out, _ := f.run("update status -o json")
	var answers []answer[updateView]
	if err := json.Unmarshal([]byte(out), &answers); err != nil {
		t.Fatal(err)
	}
	if len(answers) != 4 || answers[0].Node != "node-1" || answers[0].Result.Update.Activity.Peers != 4<<20 || answers[1].Result.Update.Trial == nil || answers[3].Result.Update != nil {
		t.Errorf("%s", out)
	}
	if out, _ := f.run("update status -n node-1 -o yaml"); !strings.Contains(out, "holdReason: the fair is on") {
		t.Errorf("%s", out)
	}
}

func TestUpdateActions(t *testing.T) {
	f := newFarm(t, 2)
	f.updatable()
	for _, tc := range []struct{ line, did, said string }{
		{"rollback -n node-1 --reason slow", "rollback slow", "goes back from 0.2.0"},
		{"rollback -n node-1 --wait", "rollback ", "runs again"},
		{"hold -n node-1 --reason fair", "hold true fair", "does not update by itself"},
		{"hold -n node-1 --off", "hold false ", "updates by itself again"},
		{"forgive -n node-1", "forgive ", "takes every version again"},
		{"forgive -n node-1 --version 0.3.0", "forgive 0.3.0", "takes 0.3.0 again"},
	} {
		_, log := f.run("update " + tc.line)
		if did := f.nodes[0].done(); len(did) == 0 || did[0] != tc.did || !strings.Contains(log, tc.said) {
			t.Errorf("update %s: the node did %q, the command said %q", tc.line, did, log)
		}
	}
	for _, what := range []string{"rollback", "hold", "forgive"} {
		f.refused("", "update "+what, "has 2 nodes", "-n node-1,node-2")
	}
	f.refused("", "update hold --off --reason x", "no meaning")
	f.run("update hold -n node-1,node-2")
	f.nodes[1].slots = nil
	f.refused("", "update hold -n node-2", "cannot replace its OS")
	if did := f.nodes[1].done(); !slices.Equal(did, []string{"hold true "}) {
		t.Errorf("node-2 did %q", did)
	}
}

func TestNodeLines(t *testing.T) {
	var log, screen bytes.Buffer
	lines := newNodeLines(&log, []string{"a", "node-2"})
	live := newNodeLines(&screen, []string{"a", "node-2"})
	live.width = func() int { return 40 }
	for _, l := range []*nodeLines{lines, live} {
		l.set("a", "fetches", bar(1, 4))
		l.set("a", "fetches", bar(2, 4))
		l.set("node-2", "waits\x1b[2J for "+strings.Repeat("something ", 9), "")
		l.say("a", "pod %s is gone", "x/y")
		l.set("a", "", "")
		if _, err := l.Write([]byte("Halted: why\nWhat now.\n")); err != nil {
			t.Fatal(err)
		}
	}
	want := "a       fetches\nnode-2  waits for " + strings.TrimSpace(strings.Repeat("something ", 9)) + " \na       pod x/y is gone\nHalted: why\nWhat now.\n"
	if log.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &log, want)
	}
	text := screen.String()
	if strings.Count(text, "\x1b[2A") != 5 || strings.Contains(text, "\x1b[2J") {
		t.Errorf("the lines are not drawn over themselves: %q", text)
	}
	for line := range strings.SplitSeq(qemu.Plain([]byte(text)), "\n") {
		if n := len([]rune(line)); n > 39 {
			t.Errorf("a line of %d characters would wrap: %q", n, line)
		}
	}
	if !strings.Contains(text, "fetches  ██████████░░░░░░░░░░ …") {
		t.Errorf("no bar in %q", text)
	}
}

func TestBar(t *testing.T) {
	for _, tc := range []struct {
		done, total uint64
		want        string
	}{{0, 0, ""}, {0, 5, "░░░░░░░░░░░░░░░░░░░░   0%"}, {5, 5, "████████████████████ 100%"}, {9, 5, "████████████████████ 100%"}} {
		if got := bar(tc.done, tc.total); got != tc.want {
			t.Errorf("%d of %d: %q", tc.done, tc.total, got)
		}
	}
	for want, a := range map[string]*api.UpdateActivity{
		"": nil, "checking": {Stage: "checking"},
		"fetching 1.0.0 ██████████░░░░░░░░░░  50% of 100 B, saved 30 B by what runs and 10 B by peers": {Stage: "fetching", Version: "1.0.0", Total: 100, Local: 30, Peers: 10, Server: 10},
	} {
		words, more := activityText(a)
		if got := strings.TrimSpace(words + " " + more); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
