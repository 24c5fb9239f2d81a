package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
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
	// Key is that of the node as a member, absent when it never was one.
	Key        string `json:"key,omitempty"`
	Kubeconfig string `json:"kubeconfig"`
	Console    string `json:"console"`
	Disk       string `json:"disk"`
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
	o := node.Observe()
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
	key, err := node.Key()
	if err != nil {
		return nodeStatus{}, err
	}
	if key != (identity.PublicKey{}) {
		s.Key = key.String()
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
	rows := [][]string{{"NODE", "ROLE", "STAGE", "READY", "UP", "MEMORY", "PODS", "MACHINE API", "PORTS"}}
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
	role, up, memory, pods, ready := "-", "-", "-", "-", "no"
	if n.Running {
		up = (time.Duration(n.Elapsed) * time.Second).String()
	}
	if n.Ready {
		ready = "yes"
	}
	if s := n.Status; s != nil {
		role = cmp.Or(s.Membership.Role, role)
		memory = fmt.Sprintf("%d/%d MiB", (s.Memory.Total-s.Memory.Available)>>20, s.Memory.Total>>20)
		pods = fmt.Sprintf("%d/%d", s.Kubernetes.PodsRunning, s.Kubernetes.PodsTotal)
	}
	machine := "-"
	var others []string
	for _, f := range n.Ports {
		switch f.Guest {
		case api.Port:
			machine = fmt.Sprintf("127.0.0.1:%d", f.Host)
		default:
			others = append(others, fmt.Sprintf("%d->%d", f.Host, f.Guest))
		}
	}
	return []string{n.Name, role, n.Stage, ready, up, memory, pods, machine, strings.Join(others, " ")}
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
