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
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// upOptions are the flags of "qemu up".
type upOptions struct {
	nodes     int
	servers   int
	network   contextFlags
	invite    string
	image     string
	arch      string
	wait      string
	timeout   time.Duration
	memory    int
	cpus      int
	disk      string
	diskCache string
	accel     string
	firmware  string
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
Kubernetes API answers) or "none".

The nodes become members of a network that is founded for them and thrown away
with them, or of one of yours (--network), and form one cluster: the first node
founds it, the others join by its invite. With --wait none they are only started;
the next "up" without it makes them members.`,
		Example: `  mycelium qemu up --image out/qemu-amd64/disk.img
  mycelium qemu up --name trio --nodes 3 --memory 1024 --image out/qemu-amd64/disk.img -p 8080:80
  mycelium qemu up --name lab --nodes 3 --servers 3 --network home --image out/qemu-amd64/disk.img`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runUp(cmd, flags, o) },
	}
	f := cmd.Flags()
	f.IntVar(&o.nodes, "nodes", 1, "number of nodes")
	f.IntVar(&o.servers, "servers", 1, "how many of them are servers; the others are agents")
	f.StringVar(&o.network.network, "network", "", "one of your networks for the nodes to be members of (default: a new one, removed with them)")
	f.StringVar(&o.invite, "invite", "", "file with an invite by which all nodes join --network (- is standard input)")
	f.StringVar(&o.image, "image", "", "disk image (disk.img) or OS file (os.efi)")
	f.StringVar(&o.arch, "arch", "", "the image's architecture, amd64 or arm64 (default: what the image, or the manifest.json beside it, says)")
	f.StringVar(&o.wait, "wait", string(qemu.WaitReady), "what to wait for: ready, api or none")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long to wait")
	f.IntVar(&o.memory, "memory", 2048, "memory of a node in MiB")
	f.IntVar(&o.cpus, "cpus", 2, "processors of a node")
	f.StringVar(&o.disk, "disk", "16G", "disk of a node (K, M, G, T: powers of 1024)")
	f.StringVar(&o.diskCache, "disk-cache", string(qemu.Writeback), "QEMU's cache mode: writeback, writethrough, none, directsync or unsafe")
	f.StringVar(&o.accel, "accel", "auto", "auto, kvm or tcg")
	f.StringVar(&o.firmware, "firmware", string(qemu.UEFI), "what the machines start with: uefi, uefi-secure (Secure Boot without an owner, amd64), or bios (images of board pc)")
	f.StringVar(&o.config, "config", "", "NodeConfig that all nodes have in common")
	f.StringArrayVarP(&o.publish, "publish", "p", nil, "forward HOSTPORT:GUESTPORT (or GUESTPORT alone: a free host port) to the nodes; a given host port is the first node's")
	f.StringVar(&o.rtc, "clock", "", "the machines' clock at their start, RFC 3339 (default: now)")
	if err := cmd.RegisterFlagCompletionFunc("network", completeNetworks); err != nil {
		panic(err) // a misspelt name above
	}
	complete(cmd, "wait", string(qemu.WaitReady), string(qemu.WaitAPI), string(qemu.WaitNone))
	complete(cmd, "arch", qemu.AMD64, qemu.ARM64)
	complete(cmd, "accel", "auto", "kvm", "tcg")
	complete(cmd, "firmware", string(qemu.UEFI), string(qemu.UEFISecure), string(qemu.BIOS))
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
	if condition == qemu.WaitNone {
		if err := network.Start(ctx, qemu.StartOptions{PowerOnly: true}); err != nil {
			return err
		}
		fmt.Fprintf(out, "%d node(s) started; see them with: mycelium qemu status%s\n", len(network.Nodes()), flags.hint())
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	progress := newProgress(out, network)
	err = network.Start(limited, qemu.StartOptions{See: progress.see})
	if err == nil {
		err = network.Wait(limited, condition, progress.see)
	}
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
	spec, err := o.spec(cmd, flags.name)
	if err != nil {
		return nil, err
	}
	return qemu.Create(cmd.Context(), dir, spec)
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
	spec := network.Spec()
	same := map[string]string{ // what asks for what is there
		"nodes": strconv.Itoa(spec.Nodes), "servers": strconv.Itoa(spec.Servers), "network": spec.Identity.Network,
	}
	for _, name := range []string{"nodes", "servers", "network", "invite", "arch", "memory", "cpus", "disk", "disk-cache", "accel", "firmware", "config", "publish", "clock"} {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() != same[name] {
			given = append(given, "--"+name)
		}
	}
	if len(given) > 0 {
		return fmt.Errorf("the network %s is there already and keeps what it was made with: leave out %s, or end it first with \"mycelium qemu down\"",
			network.Spec().Name, strings.Join(given, ", "))
	}
	return nil
}

func (o *upOptions) spec(cmd *cobra.Command, name string) (qemu.NetworkSpec, error) {
	spec := qemu.NetworkSpec{Name: name, Nodes: o.nodes, Servers: o.servers}
	disk, err := parseSize(o.disk)
	if err != nil {
		return spec, fmt.Errorf("--disk: %w", err)
	}
	forwards, err := parseForwards(o.publish)
	if err != nil {
		return spec, err
	}
	spec.Node = qemu.NodeSpec{
		Image: o.image, Arch: o.arch, MemoryMiB: o.memory, CPUs: o.cpus, DiskBytes: disk,
		DiskCache: qemu.DiskCache(o.diskCache), Firmware: qemu.Firmware(o.firmware), Forwards: forwards,
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
	spec.Config = config.Default()
	if o.config != "" {
		document, err := os.ReadFile(o.config)
		if err != nil {
			return spec, fmt.Errorf("read the configuration: %w", err)
		}
		if spec.Config, err = config.Parse(document); err != nil {
			return spec, fmt.Errorf("%s: %w", o.config, err)
		}
	}
	if err := o.membership(cmd, &spec); err != nil {
		return spec, err
	}
	if o.arch == "" {
		spec.Node.Arch, err = imageArch(o.image)
	}
	return spec, err
}

// membership says which network the nodes become members of, and how.
func (o *upOptions) membership(cmd *cobra.Command, spec *qemu.NetworkSpec) error {
	if o.network.network != "" {
		store, err := openStore()
		if err != nil {
			return err
		}
		if _, err := store.Find(o.network.network); err != nil {
			return err
		}
		spec.Identity = qemu.Identity{Dir: store.Dir, Network: o.network.network}
	}
	if o.invite != "" {
		token, err := readToken(cmd, o.invite)
		if err != nil {
			return err
		}
		spec.Config.Membership.Invite = config.Secret(token.Reveal())
	}
	if spec.Config.Membership.Invite != "" && o.network.network == "" {
		return errors.New("an invite is to one of your networks: name it with --network, so that the machines can be called there")
	}
	return nil
}

// readToken reads what "mycelium invite" printed.
func readToken(cmd *cobra.Command, path string) (identity.Token, error) {
	in := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return identity.Token{}, fmt.Errorf("read the invite: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, 4096))
	if err != nil {
		return identity.Token{}, fmt.Errorf("read the invite: %w", err)
	}
	token, err := identity.ParseToken(strings.TrimSpace(string(data)))
	if err != nil {
		return identity.Token{}, fmt.Errorf("read the invite %s: %w", path, err)
	}
	return token, nil
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
	a, reason, err := qemu.DetectAcceleration(ctx, spec.Arch, spec.Host, "")
	if err != nil {
		return err
	}
	if a == qemu.TCG {
		fmt.Fprintf(w, "Using emulation, which is slow: %s\n", reason)
	}
	return nil
}

// announceReady fetches the cluster's kubeconfig and says how to go on.
func announceReady(ctx context.Context, w io.Writer, network *qemu.Network, flags *networkFlags) error {
	var names []string
	for _, node := range network.Nodes() {
		names = append(names, node.Name())
	}
	first, are := network.Nodes()[0], "is"
	if len(names) > 1 {
		are = "are"
	}
	if _, err := first.Kubeconfig(ctx); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s %s Ready: export KUBECONFIG=%s\n", strings.Join(names, ", "), are, first.KubeconfigPath())
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
