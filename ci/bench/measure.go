package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/digital-mycelium/os/pkg/qemu"
)

// settle is how long after Ready a machine is left alone before its memory and
// disk are read.
const settle = 60 * time.Second

// sample is one boot. Durations are seconds.
type sample struct {
	Side  string    `json:"side"`
	Run   int       `json:"run"`
	Began time.Time `json:"began"`
	// Kernel is from QEMU's start to the kernel's first line: firmware and loader.
	Kernel float64 `json:"kernel"`
	// Init, API, Ready and Pod are from the kernel's first line.
	Init  float64 `json:"init"`
	API   float64 `json:"api"`
	Ready float64 `json:"ready"`
	Pod   float64 `json:"pod"`
	// Total is from QEMU's start to Ready.
	Total float64 `json:"total"`
	// Memory, disk: bytes.
	MemoryTotal uint64 `json:"memoryTotal"`
	MemoryUsed  uint64 `json:"memoryUsed"`
	DiskUsed    uint64 `json:"diskUsed"`
	// KernelLine and InitLine are the lines that Kernel and Init rest on.
	KernelLine string `json:"kernelLine"`
	InitLine   string `json:"initLine"`
	// Milestones split the times above.
	Milestones []reached `json:"milestones"`
	// HostLoad is /proc/loadavg when the boot began: above 1 others ran too.
	HostLoad string `json:"hostLoad"`
}

// bench is one comparison.
type bench struct {
	sides   []side
	spec    qemu.NodeSpec
	runs    int
	timeout time.Duration
	// out takes the results and one directory of logs per boot.
	out string
	// demoImage is the demo workload's image by name.
	demoImage string
}

// measure boots every side runs times, in turns.
func (b bench) measure(ctx context.Context) ([]sample, error) {
	var samples []sample
	for i := 1; i <= b.runs; i++ {
		for _, s := range b.sides {
			one, err := b.boot(ctx, s, i)
			if err != nil {
				return samples, fmt.Errorf("%s, run %d: %w", s.Title(), i, err)
			}
			slog.Info("measured", "side", s.Name(), "run", i, "init", one.Init, "api", one.API,
				"ready", one.Ready, "pod", one.Pod, "memoryMiB", one.MemoryUsed>>20, "diskMiB", one.DiskUsed>>20)
			samples = append(samples, one)
		}
	}
	return samples, nil
}

// boot measures one boot of one side.
func (b bench) boot(ctx context.Context, s side, run int) (one sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	dir, err := filepath.Abs(filepath.Join(b.out, "boots", fmt.Sprintf("%s-%d", s.Name(), run)))
	if err != nil {
		return one, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return one, err
	}
	spec := b.spec
	spec.Name, spec.Dir = "bench-"+s.Name(), dir
	if spec, err = s.Spec(spec); err != nil {
		return one, err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return one, err
	}
	m, err := startMachine(ctx, spec)
	if err != nil {
		return one, err
	}
	defer func() { err = errors.Join(err, m.stop(context.WithoutCancel(ctx))) }()
	one = sample{Side: s.Name(), Run: run, Began: m.Started.UTC(), HostLoad: string(load[:len(load)-1])}
	return one, b.watch(ctx, s, m, dir, &one)
}

// watch takes the times of a boot under way, then its memory and disk.
func (b bench) watch(ctx context.Context, s side, m *machine, dir string, one *sample) error {
	kubeconfig, err := s.Access(ctx, m)
	if err != nil {
		return err
	}
	cluster, err := newCluster(kubeconfig)
	if err != nil {
		return err
	}
	up, err := cluster.waitAPI(ctx)
	if err != nil {
		return err
	}
	if err := cluster.apply(ctx, b.demoImage); err != nil {
		return err
	}
	type result struct {
		at  time.Time
		err error
	}
	pod := make(chan result, 1)
	go func() {
		at, err := cluster.waitPod(ctx)
		pod <- result{at, err}
	}()
	ready, err := cluster.waitReady(ctx)
	if err != nil {
		return err
	}
	running := <-pod
	if running.err != nil {
		return running.err
	}
	marks, err := m.marks()
	if err != nil {
		return err
	}
	one.KernelLine, one.InitLine = marks.KernelLine, marks.InitLine
	one.Kernel = seconds(m.Started, marks.Kernel)
	one.Total = seconds(m.Started, ready)
	one.Init, one.API = seconds(marks.Kernel, marks.Init), seconds(marks.Kernel, up)
	one.Ready, one.Pod = seconds(marks.Kernel, ready), seconds(marks.Kernel, running.at)
	one.Milestones = findMilestones(m.Console.snapshot(), marks.Kernel, s.Milestones())
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(ready.Add(settle))):
	}
	return b.use(ctx, s, m, cluster, dir, one)
}

// use reads memory and disk and keeps what else the machine says of itself.
func (b bench) use(ctx context.Context, s side, m *machine, c *cluster, dir string, one *sample) error {
	u, err := s.Usage(ctx, m)
	if err != nil {
		return fmt.Errorf("read memory and disk: %w", err)
	}
	one.MemoryTotal, one.MemoryUsed, one.DiskUsed = u.MemoryTotal, u.MemoryTotal-u.MemoryAvailable, u.Disk
	for _, path := range []string{"stats/summary", "metrics/cadvisor"} {
		text, err := c.nodePath(ctx, path)
		if err != nil {
			text = err.Error()
		}
		u.Details["kubelet-"+filepath.Base(path)] = text
	}
	if metrics, err := c.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx); err == nil {
		u.Details["metrics"] = string(metrics)
	}
	u.Details["console"] = consoleText(m.Started, m.Console.snapshot())
	text, err := json.MarshalIndent(one, "", "  ")
	if err != nil {
		return err
	}
	u.Details["sample.json"] = string(text)
	return writeFiles(dir, u.Details)
}

// consoleText is a console with the seconds since began before each line.
func consoleText(began time.Time, lines []consoleLine) string {
	var out []byte
	for _, l := range lines {
		out = fmt.Appendf(out, "%8.2f %s\n", seconds(began, l.At), l.Text)
	}
	return string(out)
}

func seconds(from, to time.Time) float64 { return to.Sub(from).Round(10 * time.Millisecond).Seconds() }
