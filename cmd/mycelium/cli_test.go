package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// execute runs the command line and returns its output.
func execute(t *testing.T, ctx context.Context, args ...string) (string, error) {
	t.Helper()
	root := newRootCommand()
	var out bytes.Buffer
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.ExecuteContext(ctx)
	return out.String(), err
}

func TestVersion(t *testing.T) {
	out, err := execute(t, t.Context(), "version", "-o", "json")
	var v versionInfo
	if err != nil || json.Unmarshal([]byte(out), &v) != nil || v.Version == "" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := execute(t, t.Context(), "version", "-o", "yaml"); err != nil || !strings.Contains(out, "version: ") {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := execute(t, t.Context(), "version", "-o", "xml"); err == nil || !strings.Contains(err.Error(), "json") {
		t.Errorf("error %v does not name the formats", err)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	d := newDesk(t)
	d.run("network create home --recipient " + d.recipient)
	token, _ := d.run("invite")
	invited := d.write("invited.yaml", "apiVersion: mycelium.os/v1alpha1\nkind: NodeConfig\nmembership:\n  invite: "+token)
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	for want, args := range map[string]string{
		"mycelium qemu up":        "qemu status",
		"make image":              "qemu up",
		"ready, api or none":      "qemu up --wait forever",
		"as in 16G":               "qemu up --image x --disk lots",
		"as in 8080:80":           "qemu up --image x -p eighty",
		"use auto, kvm or tcg":    "qemu up --image x --accel hvf",
		"no such network":         "qemu up --image x --network elsewhere",
		"name it with --network":  "qemu up --image x --config " + invited,
		"read the invite":         "qemu up --image x --invite /no/such/invite",
		"lower-case letters":      "qemu status --name ../x",
		"unknown command":         "qemu dwon",
		"no such file":            "qemu up --image /no/such/image",
		"read the configuration":  "qemu up --image x --config /no/such/config",
		"cannot parse \"12:00\"":  "qemu up --image x --clock 12:00",
		"accepts between 0 and 1": "qemu logs",
	} {
		words := strings.Fields(args)
		if want == "accepts between 0 and 1" {
			want, words = "accepts at most 1", []string{"qemu", "logs", "a", "b"}
		}
		if _, err := execute(t, t.Context(), words...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("mycelium %s: error %v, want one with %q", words, err, want)
		}
	}
}

// bootSector is a guest that talks on the serial port and heeds the power button.
func bootSector(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../pkg/qemu/testdata/sector.bin")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, append(data, make([]byte, 1<<20)...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUpAndDown(t *testing.T) {
	state := t.TempDir()
	t.Setenv("XDG_STATE_HOME", state)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	t.Cleanup(func() {
		if n, err := qemu.OpenNetwork(filepath.Join(state, "mycelium/qemu/pair")); err == nil {
			for _, node := range n.Nodes() {
				_ = node.Kill(context.Background()) // what a failed test left
			}
		}
	})
	if out, err := execute(t, ctx, "qemu", "up", "--name", "pair", "--nodes", "2", "--image", bootSector(t), "--memory", "128", "--disk", "64M", "--accel", "tcg", "--wait", "none"); err != nil {
		t.Fatal(out, err)
	}
	if out, err := execute(t, ctx, "qemu", "up", "--name", "pair", "--memory", "64"); err == nil || !strings.Contains(err.Error(), "--memory") {
		t.Fatal("a network that is there took --memory", out, err)
	}
	_, err := execute(t, ctx, "qemu", "up", "--name", "pair", "--nodes", "2", "--timeout", "1ms")
	if err == nil || !strings.Contains(err.Error(), "node-1 did not become a member") || !strings.Contains(err.Error(), "mycelium qemu down --name pair") {
		t.Fatalf("error %v does not say why and what to do", err)
	}
	out, err := execute(t, ctx, "qemu", "status", "--name", "pair", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var s networkStatus
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Nodes) != 2 || !s.Nodes[1].Running || s.Nodes[1].PID == 0 || s.Nodes[0].Stage != "firmware" || s.Nodes[0].Ready {
		t.Fatalf("status %+v", s)
	}
	if out, err := execute(t, ctx, "qemu", "status", "--name", "pair"); err != nil || !strings.Contains(out, "node-2") {
		t.Fatal(out, err)
	}
	if out, err := execute(t, ctx, "qemu", "list"); err != nil || out != "pair\n" {
		t.Fatal(out, err)
	}
	for _, step := range []string{"power node-2 cut", "power node-2 on", "logs node-2", "down --timeout 1ms", "down"} {
		if out, err := execute(t, ctx, append(strings.Fields("qemu --name pair"), strings.Fields(step)...)...); err != nil {
			t.Fatal(step, out, err)
		}
	}
	for _, n := range s.Nodes {
		if _, err := os.Stat(n.Disk); err == nil {
			t.Errorf("down left %s", n.Disk)
		}
	}
	if out, err := execute(t, ctx, "qemu", "list"); err != nil || out != "" {
		t.Fatal(out, err)
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{"1": 1, "2K": 2048, "3M": 3 << 20, "16G": 16 << 30, "1T": 1 << 40} {
		if got, err := parseSize(in); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "G", "-1G", "0", "1.5G", "1GB", "99999999999T"} {
		if got, err := parseSize(in); err == nil {
			t.Errorf("parseSize(%q) = %d", in, got)
		}
	}
}

func TestParseForwards(t *testing.T) {
	got, err := parseForwards([]string{"8080:80", "443"})
	want := []qemu.Forward{{Host: 8080, Guest: 80, Fixed: true}, {Guest: 443}}
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%v, %v", got, err)
	}
	for _, in := range []string{"", "a:b", "80:", ":80", "1:2:3", "70000:80", "80:0"} {
		if _, err := parseForwards([]string{in}); err == nil {
			t.Errorf("%q was accepted", in)
		}
	}
}

func observation(node string, change func(*qemu.Observation)) qemu.Observation {
	o := qemu.Observation{Node: node, Running: true, Elapsed: 1500 * time.Millisecond}
	change(&o)
	return o
}

func TestChangeLog(t *testing.T) {
	var out bytes.Buffer
	c := &changeLog{w: &out}
	started := qemu.Boot{Boots: 1, Version: "0.1.0", Done: []qemu.BootPhase{{Name: "mounts", Seconds: 0.01}}}
	failed := started
	failed.Failed, failed.Reason = "state", "e2fsck"
	again := started
	again.Boots = 2
	for _, o := range []qemu.Observation{
		observation("a", func(*qemu.Observation) {}),
		observation("a", func(*qemu.Observation) {}),
		observation("a", func(o *qemu.Observation) { o.Boot = started }),
		observation("a", func(o *qemu.Observation) { o.Boot = failed }),
		observation("a", func(o *qemu.Observation) { o.Boot = again }),
		observation("a", func(o *qemu.Observation) {
			o.Boot = again
			o.Status = &api.Status{Phase: "running", Kubernetes: api.Kubernetes{NodeReady: true}}
		}),
	} {
		c.see(o)
	}
	want := `   1.5s  a  firmware
   1.5s  a  init 0.1.0 started
   1.5s  a  phase mounts ok 0.010s
   1.5s  a  problem: boot phase state failed: e2fsck
   1.5s  a  started again
   1.5s  a  init 0.1.0 started
   1.5s  a  phase mounts ok 0.010s
   1.5s  a  Ready
`
	if out.String() != want {
		t.Errorf("got:\n%s", &out)
	}
}

func TestLiveView(t *testing.T) {
	var out bytes.Buffer
	v := &liveView{w: &out, names: []string{"a", "b"}, width: func() int { return 40 }}
	v.see(observation("a", func(*qemu.Observation) {}))
	v.see(observation("b", func(o *qemu.Observation) {
		o.Status = &api.Status{
			Phase: "running", Memory: api.Memory{Total: 2 << 30, Available: 1 << 30},
			Services: []api.Service{{Name: "k3s", State: "running"}},
		}
	}))
	text := out.String()
	if strings.Count(text, "\x1b[2A") != 1 || strings.Count(text, "\n") != 4 {
		t.Errorf("the view is not drawn over itself: %q", text)
	}
	for line := range strings.SplitSeq(qemu.Plain([]byte(text)), "\n") {
		if n := len([]rune(line)); n > 39 {
			t.Errorf("line of %d characters would wrap: %q", n, line)
		}
	}
	ready := nodeLine("b", observation("b", func(o *qemu.Observation) {
		o.Status = &api.Status{Phase: "running", Kubernetes: api.Kubernetes{NodeReady: true}}
	}))
	if !strings.HasPrefix(ready, "✓ b") || !strings.Contains(ready, "Ready") {
		t.Errorf("ready line %q", ready)
	}
}

func TestAttachEndsWithTheDetachKey(t *testing.T) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() {
		_ = ours.Close()
		_ = theirs.Close()
	})
	got := make(chan string, 1)
	go func() {
		buf := make([]byte, 16)
		n, err := io.ReadFull(theirs, buf[:3])
		if err != nil {
			t.Error(err)
		}
		got <- string(buf[:n])
	}()
	if err := attach(t.Context(), ours, strings.NewReader("abc\x1dnot this"), io.Discard); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "abc" {
		t.Errorf("the machine got %q", s)
	}
}

func TestManifestImage(t *testing.T) {
	pack := func(name, content string) io.Reader {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, f := range [][2]string{{"other", "x"}, {name, content}} {
			if err := w.WriteHeader(&tar.Header{Name: f[0], Size: int64(len(f[1])), Mode: 0o644}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, f[1]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	name, err := manifestImage(pack("manifest.json", `[{"RepoTags": ["mycelium.os/hello:1"]}]`))
	if err != nil || name != "mycelium.os/hello:1" {
		t.Errorf("%q, %v", name, err)
	}
	for want, r := range map[string]io.Reader{
		"no manifest":    pack("index.json", "{}"),
		"names no image": pack("manifest.json", "[]"),
		"manifest.json":  pack("manifest.json", "{"),
	} {
		if _, err := manifestImage(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func FuzzManifestImage(f *testing.F) {
	f.Add([]byte("not a tar"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if name, err := manifestImage(bytes.NewReader(data)); (name == "") == (err == nil) {
			t.Fatalf("name %q and error %v", name, err)
		}
	})
}
