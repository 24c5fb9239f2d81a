package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/plaintext"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/networks"
)

// nodeView is a node's row in "node list".
type nodeView struct {
	Name    string `json:"name"`
	Key     string `json:"key,omitempty"`
	Role    string `json:"role,omitempty"`
	State   string `json:"state"`
	Ready   bool   `json:"ready"`
	Version string `json:"version,omitempty"`
	Address string `json:"address,omitempty"`
	// Load is that of the last minute.
	Load        float64  `json:"load"`
	MemoryUsed  uint64   `json:"memoryUsed"`
	MemoryTotal uint64   `json:"memoryTotal"`
	Problems    []string `json:"problems"`
}

const unreachable = "unreachable"

func newNodeListCommand() *cobra.Command {
	var flags nodeFlags
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the nodes and how they are",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fl, nodes, err := flags.all(cmd)
			if err != nil {
				return err
			}
			answers := ask(cmd, fl, nodes, func(ctx context.Context, c nodeClient) (*api.Status, error) { return c.Status(ctx) })
			if err := flags.remember(cmd, nodes, answers); err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "Note: %v\n", err)
			}
			views := make([]nodeView, len(nodes))
			for i := range nodes {
				views[i] = viewNode(nodes[i], answers[i])
			}
			if err := format.write(cmd.OutOrStdout(), views, func(w io.Writer) error { return writeNodes(w, views) }); err != nil {
				return err
			}
			if names := unreachables(views); len(names) > 0 { // the table says why
				return &failedNodesError{names: names, total: len(nodes)}
			}
			return nil
		},
	}
	flags.register(cmd)
	format.register(cmd)
	return cmd
}

func viewNode(n nodeRef, a answer[*api.Status]) nodeView {
	v := nodeView{Name: n.Name, Role: n.Role, State: unreachable, Address: strings.Join(n.Addresses, " "), Problems: []string{}}
	if n.known() {
		v.Key = n.Key.String()
	}
	if a.err != nil {
		v.Problems = append(v.Problems, a.err.Error())
		return v
	}
	s := *a.Result
	v.Name, v.Role, v.State, v.Ready, v.Version = cmp.Or(s.Name, n.Name), cmp.Or(s.Membership.Role, n.Role), s.Phase, s.Kubernetes.NodeReady, s.Version
	if m := s.Membership.State; m != "" && m != api.Member {
		v.State = m
	}
	v.Key, v.Load = cmp.Or(s.Membership.Key, v.Key), s.Load.One
	v.MemoryUsed, v.MemoryTotal = used(s.Memory), s.Memory.Total
	v.Problems = append(v.Problems, s.Problems...)
	return v
}

func unreachables(views []nodeView) (names []string) {
	for _, v := range views {
		if v.State == unreachable {
			names = append(names, v.Name)
		}
	}
	return names
}

// remember keeps where nodes answered that this computer did not know, and the
// names that they have now.
func (f *nodeFlags) remember(cmd *cobra.Command, nodes []nodeRef, answers []answer[*api.Status]) error {
	n, err := f.openStale(cmd)
	if err != nil {
		return err
	}
	defer n.Close()
	for i, a := range answers {
		if a.err != nil {
			continue
		}
		s := *a.Result
		key, err := identity.ParsePublicKey(s.Membership.Key)
		if err != nil || nodes[i].known() && key != nodes[i].Key || networks.CheckName(s.Name) != nil {
			continue // nothing that one could call it by
		}
		if err := n.PutNode(networks.Node{Name: s.Name, Key: key, Addresses: nodes[i].Addresses}); err != nil {
			return err
		}
	}
	return nil
}

func used(m api.Memory) uint64 { return m.Total - min(m.Available, m.Total) }

func writeNodes(w io.Writer, views []nodeView) error {
	rows := [][]string{{"NAME", "ROLE", "STATE", "READY", "VERSION", "ADDRESS", "LOAD", "MEMORY", "PROBLEMS"}}
	for _, v := range views {
		row := []string{v.Name, cmp.Or(v.Role, "-"), v.State, yesNo(v.Ready), cmp.Or(v.Version, "-"), cmp.Or(v.Address, "-"), "-", "-", "none"}
		if v.State != unreachable {
			row[6] = fmt.Sprintf("%.2f", v.Load)
			row[7] = fmt.Sprintf("%d/%d MiB", v.MemoryUsed>>20, v.MemoryTotal>>20)
		}
		if len(v.Problems) > 0 {
			row[8] = fmt.Sprint(len(v.Problems))
		}
		rows = append(rows, row)
	}
	if err := writeTable(w, rows); err != nil {
		return err
	}
	for _, v := range views {
		for _, p := range v.Problems {
			if _, err := fmt.Fprintf(w, "%s: %s\n", plaintext.Line(v.Name), plaintext.Line(p)); err != nil {
				return err
			}
		}
	}
	return nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func newNodeStatusCommand() *cobra.Command {
	return questionCommand("status", "Show all that nodes know of themselves",
		func(ctx context.Context, c nodeClient) (*api.Status, error) { return c.Status(ctx) },
		func(w io.Writer, answers []answer[*api.Status], _ bool) error {
			for i, a := range slices.DeleteFunc(slices.Clone(answers), func(a answer[*api.Status]) bool { return a.err != nil }) {
				if i > 0 {
					fmt.Fprintln(w)
				}
				if err := writeTable(w, statusRows(*a.Result, time.Now())); err != nil {
					return err
				}
			}
			return nil
		})
}

// statusRows are a node's status in words, label and text.
func statusRows(s *api.Status, now time.Time) [][]string {
	rows := [][]string{
		{"node", s.Name},
		{"system", fmt.Sprintf("%s on %s (%s), kernel %s", s.Version, s.Board, s.Arch, s.Kernel)},
		{"up since", fmt.Sprintf("%s, %s", day(s.Booted), s.Time.Now.Sub(s.Booted).Truncate(time.Second))},
		{"secure boot", cmp.Or(s.SecureBoot, "not known")},
		{"state", s.Phase},
		{"kubernetes", kubernetesText(s.Kubernetes)},
	}
	m := s.Membership
	if m.Network != "" {
		rows = append(rows, []string{"network", m.Network}, []string{"member", memberText(m)}, []string{"key", m.Key})
	}
	for _, p := range m.Peers {
		seen := "never reached"
		if !p.LastHandshake.IsZero() {
			seen = fmt.Sprintf("reached %s ago at %s", max(0, now.Sub(p.LastHandshake)).Truncate(time.Second), p.Endpoint)
		}
		rows = append(rows, []string{"peer", fmt.Sprintf("%s, %s, %s, %s", p.Name, p.Role, p.Address, seen)})
	}
	for _, i := range s.Interfaces {
		link := "up"
		if !i.Up {
			link = "down"
		}
		rows = append(rows, []string{"interface", strings.TrimSpace(fmt.Sprintf("%s %s %s %s", i.Name, i.MAC, link, strings.Join(i.Addresses, " ")))})
		if i.Wireless != nil {
			rows = append(rows, []string{"Wi-Fi", wirelessText(i.Name, *i.Wireless)})
		}
	}
	rows = append(rows,
		[]string{"load", fmt.Sprintf("%.2f %.2f %.2f on %d processors", s.Load.One, s.Load.Five, s.Load.Fifteen, s.Load.Processors)},
		[]string{"memory", fmt.Sprintf("%d of %d MiB used", used(s.Memory)>>20, s.Memory.Total>>20)})
	for _, v := range s.Volumes {
		rows = append(rows, []string{"volume", volumeText(v)})
	}
	for _, v := range s.Services {
		rows = append(rows, []string{"service", strings.Join(serviceRow(v), " ")})
	}
	rows = append(rows, []string{"time", fmt.Sprintf("%s by %s", s.Time.Now.UTC().Format(time.RFC3339), s.Time.Source)})
	if s.Configuration != "" {
		rows = append(rows, []string{"configuration", s.Configuration})
	}
	for _, p := range s.Problems {
		rows = append(rows, []string{"problem", p})
	}
	return rows
}

func kubernetesText(k api.Kubernetes) string {
	switch {
	case k.NodeReady:
		return fmt.Sprintf("%s, node Ready, %d of %d pods running", k.Version, k.PodsRunning, k.PodsTotal)
	case k.APIUp:
		return strings.TrimSuffix(k.Version+", node not Ready: "+k.Reason, ": ")
	}
	return "not up"
}

func memberText(m api.Membership) string {
	text := fmt.Sprintf("%s as %s", m.State, m.Role)
	if m.Address != "" {
		text += ", mesh address " + m.Address
	}
	if m.Issuer {
		text += ", admits newcomers"
	}
	if !m.Expires.IsZero() {
		text += ", certificate until " + day(m.Expires)
	}
	return text
}

func volumeText(v api.Volume) string {
	if v.Size == 0 {
		return v.Label + " " + v.State
	}
	return fmt.Sprintf("%s %s on %s, %d of %d MiB free", v.Label, v.State, v.Device, v.Free>>20, v.Size>>20)
}

// wirelessText says which network a radio is in, or why in none.
func wirelessText(name string, w api.Wireless) string {
	switch {
	case w.SSID == "":
		return strings.TrimSpace(name + " not connected: " + w.Reason)
	case w.Signal == 0:
		return fmt.Sprintf("%s in %q", name, w.SSID)
	}
	return fmt.Sprintf("%s in %q, signal %d dBm", name, w.SSID, w.Signal)
}
