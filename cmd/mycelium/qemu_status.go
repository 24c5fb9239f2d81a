package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/qemu"
)

// networkStatus is what "qemu status" reports.
type networkStatus struct {
	Name  string       `json:"name"`
	Dir   string       `json:"dir"`
	Nodes []nodeStatus `json:"nodes"`
}

// nodeStatus is a node's row.
type nodeStatus struct {
	Name    string `json:"name"`
	Running bool   `json:"running"`
	PID     int    `json:"pid,omitempty"`
	// Stage says in a few words how far the node is.
	Stage    string   `json:"stage"`
	Ready    bool     `json:"ready"`
	Problems []string `json:"problems"`
	// Elapsed is seconds since the machine was started.
	Elapsed      float64           `json:"elapsedSeconds"`
	Acceleration qemu.Acceleration `json:"acceleration"`
	Ports        []qemu.Forward    `json:"ports"`
	Kubeconfig   string            `json:"kubeconfig"`
	Console      string            `json:"console"`
	Disk         string            `json:"disk"`
	// APIError is why the machine API did not answer.
	APIError string `json:"apiError,omitempty"`
	// Status is the node's own report, absent when it did not answer.
	Status *api.Status `json:"status,omitempty"`
}

func newStatusCommand(flags *networkFlags) *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the network's nodes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			network, err := flags.open()
			if err != nil {
				return err
			}
			status, err := lookAt(cmd.Context(), network)
			if err != nil {
				return err
			}
			return format.write(cmd.OutOrStdout(), status, func(w io.Writer) error { return writeStatus(w, status) })
		},
	}
	format.register(cmd)
	return cmd
}

// lookAt asks all nodes at once.
func lookAt(ctx context.Context, network *qemu.Network) (networkStatus, error) {
	nodes := network.Nodes()
	out := networkStatus{Name: network.Spec().Name, Dir: network.Dir(), Nodes: make([]nodeStatus, len(nodes))}
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, node := range nodes {
		wg.Go(func() { out.Nodes[i], errs[i] = lookAtNode(ctx, node) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func lookAtNode(ctx context.Context, node *qemu.Node) (nodeStatus, error) {
	o, err := node.Observe()
	if err != nil {
		return nodeStatus{}, err
	}
	defer o.Close()
	seen, err := o.Look(ctx)
	if err != nil {
		return nodeStatus{}, err
	}
	spec := node.Spec()
	s := nodeStatus{
		Name: node.Name(), Running: seen.Running, PID: node.PID(), Stage: seen.Stage(), Ready: seen.Ready(),
		Problems: append([]string{}, seen.Problems()...), Acceleration: spec.Acceleration, Ports: spec.Forwards,
		Kubeconfig: node.KubeconfigPath(), Console: node.ConsolePath(), Disk: node.DiskPath(), Status: seen.Status,
	}
	if seen.Running {
		s.Elapsed = seen.Elapsed.Round(time.Millisecond).Seconds()
	}
	if seen.Err != nil {
		s.APIError = seen.Err.Error()
	}
	return s, nil
}

func writeStatus(w io.Writer, s networkStatus) error {
	rows := [][]string{{"NODE", "STAGE", "READY", "UP", "MEMORY", "PODS", "KUBERNETES", "MACHINE API", "PORTS"}}
	for _, n := range s.Nodes {
		rows = append(rows, statusRow(n))
	}
	if err := writeTable(w, rows); err != nil {
		return err
	}
	for _, n := range s.Nodes {
		for _, p := range n.Problems {
			if _, err := fmt.Fprintf(w, "%s: %s\n", n.Name, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func statusRow(n nodeStatus) []string {
	up, memory, pods, ready := "-", "-", "-", "no"
	if n.Running {
		up = (time.Duration(n.Elapsed) * time.Second).String()
	}
	if n.Ready {
		ready = "yes"
	}
	if s := n.Status; s != nil {
		memory = fmt.Sprintf("%d/%d MiB", (s.Memory.Total-s.Memory.Available)>>20, s.Memory.Total>>20)
		pods = fmt.Sprintf("%d/%d", s.Kubernetes.PodsRunning, s.Kubernetes.PodsTotal)
	}
	kubernetes, machine := "-", "-"
	var others []string
	for _, f := range n.Ports {
		switch f.Guest {
		case qemu.KubernetesPort:
			kubernetes = fmt.Sprintf("127.0.0.1:%d", f.Host)
		case api.Port:
			machine = fmt.Sprintf("127.0.0.1:%d", f.Host)
		default:
			others = append(others, fmt.Sprintf("%d->%d", f.Host, f.Guest))
		}
	}
	return []string{n.Name, n.Stage, ready, up, memory, pods, kubernetes, machine, strings.Join(others, " ")}
}

func newListCommand(flags *networkFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List this user's networks",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			root, err := flags.root()
			if err != nil {
				return err
			}
			names, err := qemu.ListNetworks(root)
			if err != nil {
				return err
			}
			for _, name := range names {
				fmt.Fprintln(cmd.OutOrStdout(), name)
			}
			return nil
		},
	}
}
