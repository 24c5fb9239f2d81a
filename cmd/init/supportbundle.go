package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/bundle"
	"github.com/digital-mycelium/os/cmd/init/internal/kube"
	"github.com/digital-mycelium/os/cmd/init/internal/redact"
)

// supportBundle writes what somebody needs who is to find out what is wrong with
// the node: a tar.zst of texts without secrets (docs/API.md says what is in it).
func (m *machine) supportBundle(ctx context.Context, w io.Writer) error {
	name := m.hostname
	if name == "" {
		name = "node"
	}
	return bundle.Write(ctx, w, "support-"+name, m.bundleSections(), redact.New(m.secrets()))
}

// patience of the sections that ask somebody else.
const sectionPatience = 20 * time.Second

// bundleSections returns the files of a support bundle.
func (m *machine) bundleSections() []bundle.Section {
	list := []bundle.Section{
		{Name: "versions.txt", Collect: m.describeVersions},
		{Name: "status.json", Collect: func(context.Context) (string, error) {
			s, _ := m.board.Get()
			s.Time.Now = time.Now()
			return asJSON(s)
		}},
		{Name: "time.json", Collect: func(context.Context) (string, error) { return asJSON(m.timeStatus()) }},
		{Name: "events.txt", Collect: m.describeEvents},
		{Name: "processes.txt", Collect: m.describeProcesses},
		{Name: "metrics.txt", Collect: func(context.Context) (string, error) { return m.metrics(), nil }},
		{Name: "configuration.yaml", Collect: func(context.Context) (string, error) {
			b, err := m.config().DisplayDocument()
			return string(b), err
		}},
		{Name: "network/state.txt", Collect: func(context.Context) (string, error) { return networkState() }},
		{Name: "network/nftables.txt", Collect: m.outputOf("/bin/nft", "list", "ruleset")},
		fileSection("network/resolv.conf", "/run/resolv.conf"),
		fileSection("proc/mountinfo", "/proc/self/mountinfo"),
		{Name: "kubernetes/nodes.txt", Collect: askKubernetes((*kube.Client).AllNodes)},
		{Name: "kubernetes/pods.txt", Collect: askKubernetes((*kube.Client).AllPods)},
	}
	for _, name := range []string{"cmdline", "meminfo", "loadavg", "modules", "interrupts", "partitions", "diskstats"} {
		list = append(list, fileSection("proc/"+name, "/proc/"+name))
	}
	for _, name := range m.logs.Names() {
		list = append(list, bundle.Section{Name: "logs/" + name + ".log", Collect: func(context.Context) (string, error) {
			lines, _, _ := m.logs.Get(name).Tail(-1)
			return string(lines), nil
		}})
	}
	return list
}

func asJSON(v any) (string, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return string(b) + "\n", err
}

// fileSection is a file of /proc or of ours.
func fileSection(name, path string) bundle.Section {
	return bundle.Section{Name: name, Collect: func(context.Context) (string, error) {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, bundle.MaxText+1))
		return string(b), err
	}}
}

func (m *machine) describeVersions(context.Context) (string, error) {
	s, _ := m.board.Get()
	text := fmt.Sprintf("OS %s\nboard %s\nkernel %s\narchitecture %s\nKubernetes %s\nbuilt %s\nGo %s\n\n",
		s.Version, s.Board, s.Kernel, s.Arch, s.Kubernetes.Version, m.buildTime.UTC().Format(time.RFC3339), runtime.Version())
	if info, ok := debug.ReadBuildInfo(); ok {
		text += info.String()
	}
	return text, nil
}

func (m *machine) describeEvents(context.Context) (string, error) {
	var b strings.Builder
	events, _, _ := m.console.events.Tail(-1)
	for _, e := range events {
		fmt.Fprintf(&b, "%d %s %s %s %s\n", e.Number, e.Time.UTC().Format(time.RFC3339Nano), e.Kind, e.Subject, e.Text)
	}
	return b.String(), nil
}

func (m *machine) describeProcesses(context.Context) (string, error) {
	list, err := m.processes()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 8, 1, ' ', 0)
	fmt.Fprintln(t, "PID\tPARENT\tSTATE\tTHREADS\tRESIDENT KiB\tCPU s\tSTARTED\tNAME\tCGROUP")
	for _, p := range list {
		fmt.Fprintf(t, "%d\t%d\t%s\t%d\t%d\t%.2f\t%s\t%q\t%s\n", p.PID, p.Parent, p.State, p.Threads, p.Resident>>10, p.CPU, p.Started.UTC().Format(time.RFC3339), p.Name, p.Cgroup)
	}
	err = t.Flush()
	return b.String(), err
}

// outputOf collects what a program prints.
func (m *machine) outputOf(path string, args ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, sectionPatience)
		defer cancel()
		var out limitedBuffer
		cmd := exec.CommandContext(ctx, path, args...)
		cmd.Stdout, cmd.Stderr = &out, &out
		err := m.procs.start(cmd)
		if err == nil {
			err = m.procs.wait(cmd)
		}
		return out.String(), err
	}
}

// limitedBuffer keeps the beginning of what is written to it, up to a byte more
// than fits into a bundle.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	_, _ = b.Buffer.Write(p[:min(len(p), max(0, bundle.MaxText+1-b.Len()))])
	return len(p), nil
}

// askKubernetes collects what the node's own Kubernetes says.
func askKubernetes(ask func(*kube.Client, context.Context) (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		b, err := os.ReadFile(k3sKubeconfig)
		if errors.Is(err, fs.ErrNotExist) {
			return "", errors.New("this node has no access to Kubernetes (yet)")
		}
		if err != nil {
			return "", err
		}
		credentials, err := kube.ParseKubeconfig(b)
		if err != nil {
			return "", err
		}
		client := kube.NewClient(credentials)
		defer client.Close()
		ctx, cancel := context.WithTimeout(ctx, sectionPatience)
		defer cancel()
		return ask(client, ctx)
	}
}
