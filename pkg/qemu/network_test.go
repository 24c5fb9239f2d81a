package qemu

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/config"
)

// tinyNetwork is a network of machines for the boot sector.
func tinyNetwork(t *testing.T, nodes int) *Network {
	t.Helper()
	machine := tiny(t)
	machine.Forwards = nil
	base := config.Default()
	base.Time.Servers = []string{"192.0.2.1"}
	n, err := Create(t.Context(), filepath.Join(t.TempDir(), "net"), NetworkSpec{Name: "test", Nodes: nodes, Node: machine, Config: base})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, node := range n.Nodes() {
			if err := node.Kill(t.Context()); err != nil && t.Context().Err() == nil {
				t.Error(err)
			}
		}
	})
	return n
}

func TestNetworkConfigurations(t *testing.T) {
	n := tinyNetwork(t, 3)
	seen := map[string]bool{}
	for i, node := range n.Nodes() {
		s := node.Spec()
		c, err := config.Parse(s.Config)
		if err != nil {
			t.Fatal(err)
		}
		lan := c.Network.Interfaces[len(c.Network.Interfaces)-1]
		if want := lanAddress(i+1).String() + "/24"; c.Hostname != NodeName(i+1) || lan.MAC != s.LANMAC || lan.Addresses[0] != want {
			t.Errorf("node %d: host name %s, LAN %+v", i+1, c.Hostname, lan)
		}
		if len(c.Time.Servers) != 1 || c.Membership.Invite != "" {
			t.Errorf("node %d: time %v, membership %v", i+1, c.Time, c.Membership)
		}
		for _, mac := range []string{s.LANMAC, s.WANMAC} {
			if seen[mac] {
				t.Errorf("two interfaces have the address %s", mac)
			}
			seen[mac] = true
		}
		if s.Segment != n.Nodes()[0].Spec().Segment {
			t.Error("the nodes are on different segments")
		}
	}
}

func TestNetworkLife(t *testing.T) {
	ctx := testContext(t)
	n := tinyNetwork(t, 3)
	if err := n.Start(ctx, StartOptions{PowerOnly: true}); err != nil {
		t.Fatal(err)
	}
	for _, node := range n.Nodes() {
		mustBoot(t, ctx, node, "1")
	}
	again, err := OpenNetwork(n.Dir()) // as another command would
	if err != nil {
		t.Fatal(err)
	}
	if forced, err := again.Down(ctx, DownOptions{Keep: true}); err != nil || len(forced) > 0 {
		t.Fatalf("down: forced %v, %v", forced, err)
	}
	for _, node := range n.Nodes() {
		mustRun(t, node, false)
	}
	if err := again.Start(ctx, StartOptions{PowerOnly: true}); err != nil { // with the disks that were kept
		t.Fatal(err)
	}
	for _, node := range again.Nodes() {
		mustBoot(t, ctx, node, "2")
	}
	pid := again.Nodes()[0].PID()
	if err := again.Nodes()[1].Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(ctx, StartOptions{PowerOnly: true}); err != nil { // starts the stopped one alone
		t.Fatal(err)
	}
	mustBoot(t, ctx, n.Nodes()[1], "3")
	if n.Nodes()[0].PID() != pid {
		t.Fatal("a running node was started again")
	}
	if _, err := n.Down(ctx, DownOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(n.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("down left the network's directory: %v", err)
	}
	if _, err := OpenNetwork(n.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("open a network that is gone: %v", err)
	}
}

func TestNetworkWaitSaysWhy(t *testing.T) {
	ctx := testContext(t)
	n := tinyNetwork(t, 1)
	if err := n.Start(ctx, StartOptions{PowerOnly: true}); err != nil {
		t.Fatal(err)
	}
	node := n.Nodes()[0]
	mustBoot(t, ctx, node, "1")
	if err := node.PowerDown(ctx); err != nil {
		t.Fatal(err)
	}
	var seen []Observation
	err := n.Wait(ctx, WaitReady, func(o Observation) { seen = append(seen, o) })
	var why *WaitError
	if !errors.As(err, &why) || why.Last.Stage() != "off" || !strings.Contains(err.Error(), "test guest ready") {
		t.Fatalf("error %v", err)
	}
	if len(seen) == 0 {
		t.Fatal("nothing was observed")
	}
	if err := n.Wait(ctx, WaitNone, nil); err != nil {
		t.Fatal(err)
	}
}

func TestNetworkLock(t *testing.T) {
	n := tinyNetwork(t, 1)
	unlock, err := n.lock()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context(), StartOptions{}); err == nil || !strings.Contains(err.Error(), "another command") {
		t.Fatalf("error %v", err)
	}
	unlock()
	if unlock, err = n.lock(); err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestCreateRefusals(t *testing.T) {
	image := sectorImage(t)
	taken := tinyNetwork(t, 1).Dir()
	tests := []struct {
		name, dir string
		spec      NetworkSpec
		want      string
	}{
		{"name", "", NetworkSpec{Name: "A B", Node: NodeSpec{Image: image}}, "lower-case"},
		{"many", "", NetworkSpec{Name: "n", Nodes: 255, Node: NodeSpec{Image: image}}, "1 to 254"},
		{"servers", "", NetworkSpec{Name: "n", Nodes: 2, Servers: 3, Node: NodeSpec{Image: image}}, "3 servers of 2 nodes"},
		{"identity", "", NetworkSpec{Name: "n", Identity: Identity{Dir: t.TempDir(), Network: "home"}, Node: NodeSpec{Image: image}}, "no such network"},
		{"image", "", NetworkSpec{Name: "n", Node: NodeSpec{Image: "/no/such"}}, "no such file"},
		{"taken", taken, NetworkSpec{Name: "n", Node: NodeSpec{Image: image}}, "already"},
		{"memory", "", NetworkSpec{Name: "n", Node: NodeSpec{Image: image, MemoryMiB: 1}}, "too little"},
	}
	for _, tt := range tests {
		dir := tt.dir
		if dir == "" {
			dir = filepath.Join(t.TempDir(), "net")
		}
		if _, err := Create(t.Context(), dir, tt.spec); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
		if _, err := os.Stat(dir); tt.dir == "" && err == nil {
			t.Errorf("%s: it left %s", tt.name, dir)
		}
	}
	if _, err := OpenNetwork(taken); err != nil {
		t.Errorf("a refused Create harmed the network that was there: %v", err)
	}
}

func TestNodeForwards(t *testing.T) {
	chosen := []Forward{{Guest: 80, Host: 8080, Fixed: true}}
	first, second := nodeForwards(1, chosen), nodeForwards(2, chosen)
	if first[0] != chosen[0] || second[0] != (Forward{Guest: 80}) {
		t.Fatalf("first %v, second %v", first, second)
	}
	for _, port := range []int{api.Port, DemoPort} {
		found := 0
		for _, f := range first {
			if f.Guest == port {
				found++
			}
		}
		if found != 1 {
			t.Errorf("guest port %d is forwarded %d times", port, found)
		}
	}
}

func TestDrawSegment(t *testing.T) {
	for range 1000 {
		s, err := drawSegment()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(s.Group, "239.19") || s.Port < 20000 || s.Port >= 30000 {
			t.Fatalf("segment %+v", s)
		}
	}
}

func TestChangeIsForTheNextStart(t *testing.T) {
	n, err := newNode(NodeSpec{Name: "n", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	clock := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := n.Change(func(s *NodeSpec) { s.RTC = clock }); err != nil || !n.Spec().RTC.Equal(clock) {
		t.Fatalf("clock %v, %v", n.Spec().RTC, err)
	}
	if err := n.Change(func(s *NodeSpec) { s.CPUs = -1 }); err == nil || n.Spec().CPUs == -1 {
		t.Fatal("a wrong change was taken")
	}
}
