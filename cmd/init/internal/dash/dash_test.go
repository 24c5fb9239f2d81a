package dash

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/digital-mycelium/os/pkg/api"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func ready() api.Status {
	return api.Status{
		Name: "mycelium-a1b2c3", Version: "0.1.0", Board: "qemu-amd64", Arch: "amd64", Phase: "running",
		Time:       api.TimeInfo{Now: time.Date(2026, 11, 21, 12, 34, 56, 0, time.UTC), Source: "ntp"},
		Interfaces: []api.Interface{{Name: "eth0", Up: true, Addresses: []string{"10.0.2.15/24", "fec0::1/64", "fe80::1/64"}}, {Name: "eth1"}},
		Services:   []api.Service{{Name: "k3s", State: "running", Restarts: 2}},
		Kubernetes: api.Kubernetes{Version: "v1.35.1+k3s1", APIUp: true, NodeReady: true, PodsRunning: 3, PodsTotal: 4},
		Memory:     api.Memory{Total: 2 << 30, Available: 1 << 30},
		Volumes:    []api.Volume{{Label: "STATE", State: "mounted", Size: 60 << 20, Free: 50 << 20}, {Label: "DATA", State: "corrupt"}},
	}
}

func TestRenderGolden(t *testing.T) {
	booting := api.Status{
		Name: "mycelium", Version: "0.1.0", Board: "qemu-amd64", Arch: "amd64", Phase: "disks",
		Time: api.TimeInfo{Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Source: "floor"},
	}
	trouble := ready()
	trouble.Kubernetes.NodeReady = false
	trouble.Kubernetes.Reason = "container runtime is down"
	trouble.Problems = []string{
		"DATA is damaged and could not be repaired: Kubernetes stays off. Attach the disk to another machine to save what is on it, then erase the partition.",
		"no network: eth1 has no link",
	}
	log := []string{"first", "a line with \x1b[2Jcontrol\tcharacters\r", strings.Repeat("long ", 40), "last"}
	tests := []struct {
		name          string
		view          View
		width, height int
	}{
		{"booting", View{Status: booting, Uptime: 3 * time.Second}, 80, 20},
		{"ready", View{Status: ready(), Uptime: 75*time.Minute + 3*time.Second, Log: log}, 80, 25},
		{"trouble", View{Status: trouble, Uptime: time.Hour, Log: log}, 60, 20},
		{"tiny", View{Status: trouble, Uptime: time.Hour, Log: log}, 1, 1},
	}
	for _, tt := range tests {
		lines := Render(tt.view, tt.width, tt.height)
		got := strings.Join(lines, "\n") + "\n"
		path := filepath.Join("testdata", tt.name+".golden")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, got, want)
		}
		for _, l := range lines {
			if utf8.RuneCountInString(l) > max(tt.width, 20) || strings.ContainsAny(l, "\x1b\r\n\t") {
				t.Errorf("%s: bad line %q", tt.name, l)
			}
		}
		if len(lines) != max(tt.height, 5) {
			t.Errorf("%s: %d lines", tt.name, len(lines))
		}
	}
}

func TestDiff(t *testing.T) {
	change := func(f func(*api.Status)) api.Status { s := ready(); f(&s); return s }
	tests := []struct {
		name string
		a, b api.Status
		want []string
	}{
		{"nothing", ready(), ready(), nil},
		{"only memory", ready(), change(func(s *api.Status) { s.Memory.Available = 1 }), nil},
		{"from nothing", api.Status{}, ready(), []string{
			"mycelium: address eth0 10.0.2.15/24 fec0::1/64 fe80::1/64", "mycelium: service k3s running",
			"mycelium: kubernetes up 12.500s", "mycelium: ready 12.500s",
		}},
		{"address lost", ready(), change(func(s *api.Status) { s.Interfaces = []api.Interface{{Name: "eth0"}} }), []string{"mycelium: address eth0 none"}},
		{
			"service ended", ready(), change(func(s *api.Status) {
				s.Services = []api.Service{{Name: "k3s", State: "backoff", LastError: "exit status 1"}}
			}),
			[]string{"mycelium: service k3s backoff: exit status 1"},
		},
		{"not ready", ready(), change(func(s *api.Status) { s.Kubernetes.NodeReady, s.Kubernetes.Reason = false, "down" }), []string{"mycelium: notready 12.500s: down"}},
		{
			"problems", change(func(s *api.Status) { s.Problems = []string{"old", "both"} }), change(func(s *api.Status) { s.Problems = []string{"both", "new"} }),
			[]string{"mycelium: solved: old", "mycelium: problem: new"},
		},
	}
	for _, tt := range tests {
		var got []string
		for _, e := range Diff(tt.a, tt.b, 12.5) {
			got = append(got, e.String())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
