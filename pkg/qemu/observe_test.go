package qemu

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
)

func TestObserver(t *testing.T) {
	n, g := pretend(t, throwaway(t))
	o := n.Observe()
	defer o.Close()
	look := func(wantStage string) Observation {
		t.Helper()
		seen, err := o.Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if seen.Stage() != wantStage {
			t.Fatalf("stage %q (API: %v), want %q", seen.Stage(), seen.Err, wantStage)
		}
		return seen
	}

	look("firmware")
	say(t, n, "mycelium: init 0.1.0 started\r\nmycelium: phase mounts ok 0.1s\r\n")
	if seen := look("mounts done"); seen.Err == nil {
		t.Error("that the API does not answer is not reported")
	}
	g.boot(n)
	if err := n.Enrol(t.Context(), EnrolOptions{Role: identity.Server, Found: true}, nil); err != nil {
		t.Fatal(err)
	}
	g.set(func(s *api.Status) {
		s.Services = []api.Service{{Name: "k3s", State: "backoff", LastError: "exit status 1"}}
	})
	if p := look("Kubernetes API starting").Problems(); len(p) != 1 || !strings.Contains(p[0], "k3s") {
		t.Errorf("problems %q", p)
	}
	g.set(func(s *api.Status) { s.Services, s.Kubernetes = nil, api.Kubernetes{APIUp: true, NodeReady: true} })
	if seen := look("Ready"); !WaitReady.Met(seen) || !WaitAPI.Met(seen) {
		t.Error("a Ready node does not meet the conditions")
	}
	g.stop()
	say(t, n, "mycelium: init 0.1.0 started\r\n") // it rebooted: the old status is of no worth
	if seen := look("init"); WaitReady.Met(seen) {
		t.Error("the status of the boot before counts")
	}
}

func TestUntilTellsWhatWasSeen(t *testing.T) {
	n, g := pretend(t, throwaway(t))
	g.set(func(s *api.Status) { s.Problems = []string{"no network: plug in the cable"} })
	g.boot(n)
	say(t, n, "mycelium: problem: no network\r\n")
	if err := n.Enrol(t.Context(), EnrolOptions{Role: identity.Agent}, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := n.Until(ctx, WaitReady, func(o Observation) {
		if o.Status != nil {
			cancel()
		}
	})
	for _, want := range []string{"node-1 did not become ready", "plug in the cable", "Kubernetes API starting", "mycelium: problem: no network"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not hold %q", err, want)
		}
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v is not the context's", err)
	}
}

func TestNodeKubeconfig(t *testing.T) {
	n, g := pretend(t, throwaway(t))
	g.boot(n)
	if err := n.Enrol(t.Context(), EnrolOptions{Role: identity.Server, Found: true}, nil); err != nil {
		t.Fatal(err)
	}
	data, err := n.Kubeconfig(t.Context())
	if err != nil || !strings.Contains(string(data), "https://"+mustAddress(t, n)+"/kubernetes") || !strings.Contains(string(data), "client-key-data") {
		t.Fatalf("%s, %v", data, err)
	}
	kept, err := os.ReadFile(n.KubeconfigPath())
	if err != nil || string(kept) != string(data) {
		t.Fatalf("kept %s, %v", kept, err)
	}
}

func TestParseCondition(t *testing.T) {
	for _, s := range []string{"ready", "api", "none"} {
		if c, err := ParseCondition(s); err != nil || string(c) != s {
			t.Errorf("%q: %v, %v", s, c, err)
		}
	}
	if _, err := ParseCondition("never"); err == nil {
		t.Error("no error")
	}
}
