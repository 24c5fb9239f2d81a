package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// upOptions are the flags of "qemu up".
type upOptions struct {
	nodes     int
	image     string
	wait      string
	timeout   time.Duration
	memory    int
	cpus      int
	disk      string
	diskCache string
	accel     string
	config    string
	publish   []string
	rtc       string
}

func newUpCommand(flags *networkFlags) *cobra.Command {
	o := &upOptions{}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a network, or the stopped nodes of one that is there",
		Long: `Start a network, or the stopped nodes of one that is there.

A new network needs --image. One that is there keeps what it was made with: its
stopped nodes start with their disks. The exit status is 0 only when every node
is what --wait asks for: "ready" (a Ready Kubernetes node), "api" (its
Kubernetes API answers) or "none".`,
		Example: `  mycelium qemu up --image out/qemu-amd64/disk.img
  mycelium qemu up --name trio --nodes 3 --memory 1024 --image out/qemu-amd64/disk.img -p 8080:80`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runUp(cmd, flags, o) },
	}
	f := cmd.Flags()
	f.IntVar(&o.nodes, "nodes", 1, "number of nodes")
	f.StringVar(&o.image, "image", "", "disk image (disk.img) or OS file (os.efi)")
	f.StringVar(&o.wait, "wait", string(qemu.WaitReady), "what to wait for: ready, api or none")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long to wait")
	f.IntVar(&o.memory, "memory", 2048, "memory of a node in MiB")
	f.IntVar(&o.cpus, "cpus", 2, "processors of a node")
	f.StringVar(&o.disk, "disk", "16G", "disk of a node (K, M, G, T: powers of 1024)")
	f.StringVar(&o.diskCache, "disk-cache", string(qemu.Writeback), "QEMU's cache mode: writeback, writethrough, none, directsync or unsafe")
	f.StringVar(&o.accel, "accel", "auto", "auto, kvm or tcg")
	f.StringVar(&o.config, "config", "", "NodeConfig that all nodes have in common")
	f.StringArrayVarP(&o.publish, "publish", "p", nil, "forward HOSTPORT:GUESTPORT (or GUESTPORT alone: a free host port) to the nodes; a given host port is the first node's")
	f.StringVar(&o.rtc, "clock", "", "the machines' clock at their start, RFC 3339 (default: now)")
	complete(cmd, "wait", string(qemu.WaitReady), string(qemu.WaitAPI), string(qemu.WaitNone))
	complete(cmd, "accel", "auto", "kvm", "tcg")
	return cmd
}

func runUp(cmd *cobra.Command, flags *networkFlags, o *upOptions) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	condition, err := qemu.ParseCondition(o.wait)
	if err != nil {
		return err
	}
	network, err := createOrOpen(cmd, flags, o)
	if err != nil {
		return err
	}
	if err := announceAcceleration(ctx, out, network.Spec().Node); err != nil {
		return err
	}
	if err := network.Start(ctx); err != nil {
		return err
	}
	if condition == qemu.WaitNone {
		fmt.Fprintf(out, "%d node(s) started; see them with: mycelium qemu status%s\n", len(network.Nodes()), flags.hint())
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	progress := newProgress(out, network)
	err = network.Wait(limited, condition, progress.see)
	progress.close()
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("not every node is %s after %v:\n%w\nThe network still runs: look at it with \"mycelium qemu status%s\", end it with \"mycelium qemu down%s\"",
			condition, o.timeout, err, flags.hint(), flags.hint())
	}
	if err != nil || condition != qemu.WaitReady {
		return err
	}
	return announceReady(ctx, out, network, flags)
}

// createOrOpen takes up the network, or makes it when there is none.
func createOrOpen(cmd *cobra.Command, flags *networkFlags, o *upOptions) (*qemu.Network, error) {
	dir, err := flags.dir()
	if err != nil {
		return nil, err
	}
	network, err := qemu.OpenNetwork(dir)
	if err == nil {
		noteOlderImage(cmd.ErrOrStderr(), network, o.image)
		return network, refuseChanges(cmd, network)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if o.image == "" {
		return nil, errors.New("a new network needs --image FILE: make one with \"make image BOARD=qemu-amd64\"")
	}
	spec, err := o.spec(flags.name)
	if err != nil {
		return nil, err
	}
	return qemu.Create(dir, spec)
}

// noteOlderImage says so when the image was built after the network was made,
// because the nodes go on with what they have.
func noteOlderImage(w io.Writer, network *qemu.Network, image string) {
	if image == "" {
		return
	}
	built, err := os.Stat(image)
	if err != nil || !built.ModTime().After(network.Spec().Created) {
		return // whether the image is there matters to a new network alone
	}
	fmt.Fprintf(w, "The network %s is older than %s and keeps its own copy. For the new image, end it first: mycelium qemu down\n",
		network.Spec().Name, image)
}

// refuseChanges keeps flags that only a new network heeds from being ignored.
func refuseChanges(cmd *cobra.Command, network *qemu.Network) error {
	var given []string
	for _, name := range []string{"nodes", "memory", "cpus", "disk", "disk-cache", "accel", "config", "publish", "clock"} {
		if cmd.Flags().Changed(name) {
			given = append(given, "--"+name)
		}
	}
	nodes, err := cmd.Flags().GetInt("nodes")
	if err != nil {
		return err
	}
	if len(given) == 1 && given[0] == "--nodes" && nodes == len(network.Nodes()) {
		return nil
	}
	if len(given) > 0 {
		return fmt.Errorf("the network %s is there already and keeps what it was made with: leave out %s, or end it first with \"mycelium qemu down\"",
			network.Spec().Name, strings.Join(given, ", "))
	}
	return nil
}

func (o *upOptions) spec(name string) (qemu.NetworkSpec, error) {
	spec := qemu.NetworkSpec{Name: name, Nodes: o.nodes}
	disk, err := parseSize(o.disk)
	if err != nil {
		return spec, fmt.Errorf("--disk: %w", err)
	}
	forwards, err := parseForwards(o.publish)
	if err != nil {
		return spec, err
	}
	spec.Node = qemu.NodeSpec{
		Image: o.image, MemoryMiB: o.memory, CPUs: o.cpus, DiskBytes: disk,
		DiskCache: qemu.DiskCache(o.diskCache), Forwards: forwards,
	}
	switch o.accel {
	case "auto":
	case string(qemu.KVM), string(qemu.TCG):
		spec.Node.Acceleration = qemu.Acceleration(o.accel)
	default:
		return spec, fmt.Errorf("--accel %q: use auto, kvm or tcg", o.accel)
	}
	if o.rtc != "" {
		if spec.Node.RTC, err = time.Parse(time.RFC3339, o.rtc); err != nil {
			return spec, fmt.Errorf("--clock: %w", err)
		}
	}
	if o.config == "" {
		return spec, nil
	}
	document, err := os.ReadFile(o.config)
	if err != nil {
		return spec, fmt.Errorf("read the configuration: %w", err)
	}
	if spec.Config, err = config.Parse(document); err != nil {
		return spec, fmt.Errorf("%s: %w", o.config, err)
	}
	return spec, nil
}

// parseSize reads a size in bytes with an optional binary unit: "16G".
func parseSize(s string) (int64, error) {
	digits, shift := s, 0
	if i := strings.IndexByte("KMGT", lastByte(s)); i >= 0 {
		digits, shift = s[:len(s)-1], 10*(i+1)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("%q is not a size: write a number and K, M, G or T, as in 16G", s)
	}
	return n << shift, nil
}

func lastByte(s string) byte {
	if s == "" {
		return 0
	}
	return s[len(s)-1]
}

// parseForwards reads the values of --publish.
func parseForwards(values []string) ([]qemu.Forward, error) {
	var out []qemu.Forward
	for _, v := range values {
		host, guest, both := strings.Cut(v, ":")
		if !both {
			host, guest = "0", v
		}
		h, hostErr := strconv.Atoi(host)
		g, guestErr := strconv.Atoi(guest)
		if hostErr != nil || guestErr != nil || g < 1 || g > 65535 || h < 0 || h > 65535 {
			return nil, fmt.Errorf("--publish %q: write HOSTPORT:GUESTPORT, as in 8080:80", v)
		}
		out = append(out, qemu.Forward{Host: h, Guest: g, Fixed: h != 0})
	}
	return out, nil
}

// announceAcceleration says how the machines will run, because it decides how
// long everything takes.
func announceAcceleration(ctx context.Context, w io.Writer, spec qemu.NodeSpec) error {
	if spec.Acceleration != "" {
		return nil
	}
	a, reason, err := qemu.DetectAcceleration(ctx, spec.Host, "")
	if err != nil {
		return err
	}
	if a == qemu.TCG {
		fmt.Fprintf(w, "Using emulation, which is slow: %s\n", reason)
	}
	return nil
}

// announceReady fetches each node's kubeconfig and says how to go on.
func announceReady(ctx context.Context, w io.Writer, network *qemu.Network, flags *networkFlags) error {
	for _, node := range network.Nodes() {
		if _, err := node.Kubeconfig(ctx); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s is Ready: export KUBECONFIG=%s\n", node.Name(), node.KubeconfigPath())
	}
	fmt.Fprintf(w, "Try it with: mycelium qemu demo%s\n", flags.hint())
	return nil
}

// hint is what a suggested command needs to reach the same network.
func (f *networkFlags) hint() string {
	var b strings.Builder
	if f.name != "default" {
		b.WriteString(" --name " + f.name)
	}
	if f.stateDir != "" {
		b.WriteString(" --state-dir " + f.stateDir)
	}
	return b.String()
}
