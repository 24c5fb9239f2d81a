package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/digital-mycelium/os/pkg/qemu"
	"github.com/digital-mycelium/os/rootfs/pause"
)

// options are the command line's.
type options struct {
	image, osFile, demo, demoImage, out string

	runs, cpus, memory int
	timeout            time.Duration
	only               string
	buildOnly          bool
}

func parseOptions(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.image, "image", "out/qemu-amd64/disk.img", "the OS's disk `image`; os.efi stands beside it")
	f.StringVar(&o.demo, "demo", "out/hello.tar", "image `archive` of the demo workload")
	f.StringVar(&o.demoImage, "demo-name", "mycelium.os/hello:1", "`name` of the image in it")
	f.StringVar(&o.out, "out", "out/bench", "`directory` for the results")
	f.IntVar(&o.runs, "runs", 3, "boots of each side, in turns")
	f.IntVar(&o.cpus, "cpus", 2, "the machine's processors")
	f.IntVar(&o.memory, "memory", 2048, "the machine's memory in `MiB`")
	f.DurationVar(&o.timeout, "timeout", 15*time.Minute, "how long one boot may take")
	f.StringVar(&o.only, "only", "", "measure one `side` alone: mycelium or debian")
	f.BoolVar(&o.buildOnly, "build-only", false, "build the Debian side and stop")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	o.osFile = filepath.Join(filepath.Dir(o.image), "os.efi")
	return o, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parseOptions(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = execute(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// execute builds what is missing, measures, and writes the results.
func execute(ctx context.Context, o options) error {
	sides, err := prepareSides(ctx, o)
	if err != nil || o.buildOnly {
		return err
	}
	r, err := newReport(ctx, o)
	if err != nil {
		return err
	}
	b := bench{
		sides: sides, runs: o.runs, timeout: o.timeout, out: o.out, demoImage: o.demoImage,
		spec: qemu.NodeSpec{CPUs: o.cpus, MemoryMiB: o.memory},
	}
	samples, err := b.measure(ctx)
	if len(samples) > 0 { // an interrupted run is worth its samples
		r.fill(samples, ourSide{}.Name(), debianSide{}.Name())
		err = errors.Join(err, writeReport(o.out, r))
	}
	return err
}

// prepareSides builds the baseline and checks that the image is there.
func prepareSides(ctx context.Context, o options) ([]side, error) {
	var sides []side
	if o.only != (debianSide{}).Name() && !o.buildOnly {
		for _, path := range []string{o.image, o.osFile, o.demo} {
			if _, err := os.Stat(path); err != nil {
				return nil, fmt.Errorf("%w (build it with: make image demo-image)", err)
			}
		}
		sides = append(sides, ourSide{image: o.image, osFile: o.osFile, demo: o.demo})
	}
	if o.only == (ourSide{}).Name() {
		return sides, nil
	}
	disk, err := prepareDebian(ctx, o)
	if err != nil {
		return nil, err
	}
	return append(sides, debianSide{disk: disk}), nil
}

// prepareDebian builds the baseline's disk, from the cache where it can.
func prepareDebian(ctx context.Context, o options) (string, error) {
	repository, err := repositoryRoot(ctx)
	if err != nil {
		return "", err
	}
	slog.Info("Debian's root from packages (minutes when it is not cached)")
	root, err := buildDebianRoot(ctx)
	if err != nil {
		return "", err
	}
	slog.Info("upstream's K3s from its modules (up to half an hour when it is not cached)")
	k3s, err := buildUpstream(ctx, repository)
	if err != nil {
		return "", err
	}
	slog.Info("Debian's disk")
	archive, err := pause.Archive(ctx, runtime.GOARCH)
	if err != nil {
		return "", err
	}
	if err := writeFiles(o.out, map[string]string{"pause.tar": string(archive)}); err != nil {
		return "", err
	}
	return buildDebianDisk(ctx, debianInputs{
		Root: root, K3s: k3s, PauseImage: pause.Image,
		Images: []string{o.demo, filepath.Join(o.out, "pause.tar")},
	})
}

// repositoryRoot returns the directory of the main module.
func repositoryRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if mod == "" || mod == os.DevNull {
		return "", errors.New("find the repository: run the benchmark from inside it")
	}
	return filepath.Dir(mod), nil
}

// newReport describes the run.
func newReport(ctx context.Context, o options) (*report, error) {
	h, err := describeHost(ctx)
	if err != nil {
		return nil, err
	}
	acceleration, reason, err := qemu.DetectAcceleration(ctx, qemu.AMD64, qemu.Host{}, "")
	if err != nil {
		return nil, err
	}
	if reason != "" {
		reason = " (" + reason + ")"
	}
	return &report{
		Measured: time.Now().UTC(), Host: h, Image: o.image,
		Machine: fmt.Sprintf("QEMU q35, OVMF, %d vCPU, %d MiB, virtio, %s%s", o.cpus, o.memory, acceleration, reason),
		OS:      ourSide{}.Title(), Baseline: debianSide{}.Title(),
	}, nil
}

// writeReport writes boot.json and boot.md and shows the table.
func writeReport(dir string, r *report) error {
	document, err := r.json()
	if err != nil {
		return err
	}
	table := r.markdown()
	if err := writeFiles(dir, map[string]string{"boot.json": string(document), "boot.md": table}); err != nil {
		return err
	}
	fmt.Print(table)
	return nil
}
