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

	"github.com/digital-mycelium/os/pkg/api"
)

// questionCommand is a command that asks nodes something and shows the answers;
// table gets those of all nodes and whether to name the nodes.
func questionCommand[T any](use, short string, question func(context.Context, nodeClient) (T, error),
	table func(w io.Writer, answers []answer[T], named bool) error,
) *cobra.Command {
	var flags nodeFlags
	var format outputFormat
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fl, nodes, err := flags.all(cmd)
			if err != nil {
				return err
			}
			answers := ask(cmd, fl, nodes, question)
			if err := format.write(cmd.OutOrStdout(), answers, func(w io.Writer) error { return table(w, answers, len(nodes) > 1) }); err != nil {
				return err
			}
			return failed(cmd, answers)
		},
	}
	flags.register(cmd)
	format.register(cmd)
	return cmd
}

// tableOf writes the rows of all nodes as one table, nothing when all failed.
func tableOf[T any](head []string, rows func(T) [][]string) func(io.Writer, []answer[T], bool) error {
	return func(w io.Writer, answers []answer[T], named bool) error {
		out := [][]string{head}
		if named {
			out[0] = append([]string{"NODE"}, head...)
		}
		some := false
		for _, a := range answers {
			if a.err != nil {
				continue
			}
			some = true
			for _, row := range rows(*a.Result) {
				if named {
					row = append([]string{a.Node}, row...)
				}
				out = append(out, row)
			}
		}
		if !some {
			return nil
		}
		return writeTable(w, out)
	}
}

func newNodeServicesCommand() *cobra.Command {
	return questionCommand("services", "Show the services that nodes run",
		func(ctx context.Context, c nodeClient) ([]api.Service, error) {
			s, err := c.Status(ctx)
			if err != nil {
				return nil, err
			}
			return s.Services, nil
		},
		tableOf([]string{"SERVICE", "STATE", "PID", "RESTARTS", "SINCE", "LAST ERROR"}, func(list []api.Service) (rows [][]string) {
			for _, s := range list {
				since := "-"
				if !s.Since.IsZero() {
					since = day(s.Since)
				}
				rows = append(rows, []string{s.Name, s.State, fmt.Sprint(s.PID), fmt.Sprint(s.Restarts), since, cmp.Or(s.LastError, "-")})
			}
			return rows
		}))
}

// serviceRow is a service in the words of "node status".
func serviceRow(s api.Service) []string {
	row := []string{s.Name, s.State}
	if s.Restarts > 0 {
		row = append(row, fmt.Sprintf("(%d restarts)", s.Restarts))
	}
	if s.LastError != "" {
		row = append(row, s.LastError)
	}
	return row
}

func newNodeProcessesCommand() *cobra.Command {
	return questionCommand("processes", "Show the processes of nodes, those with the most memory first",
		func(ctx context.Context, c nodeClient) ([]api.Process, error) { return c.Processes(ctx) },
		tableOf([]string{"PID", "PARENT", "STATE", "THREADS", "MEMORY", "CPU TIME", "STARTED", "NAME", "GROUP"}, func(list []api.Process) (rows [][]string) {
			slices.SortFunc(list, func(a, b api.Process) int {
				return cmp.Or(cmp.Compare(b.Resident, a.Resident), cmp.Compare(a.PID, b.PID))
			})
			for _, p := range list {
				rows = append(rows, []string{
					fmt.Sprint(p.PID), fmt.Sprint(p.Parent), p.State, fmt.Sprint(p.Threads), fmt.Sprintf("%.1f MiB", float64(p.Resident)/(1<<20)),
					(time.Duration(p.CPU*1000) * time.Millisecond).String(), day(p.Started), p.Name, cmp.Or(p.Cgroup, "-"),
				})
			}
			return rows
		}))
}

// diskView is what "node disks" reports of a node.
type diskView struct {
	Disks   []api.Disk   `json:"disks"`
	Volumes []api.Volume `json:"volumes"`
}

func newNodeDisksCommand() *cobra.Command {
	return questionCommand("disks", "Show the disks of nodes and what is on them",
		func(ctx context.Context, c nodeClient) (diskView, error) {
			s, err := c.Status(ctx)
			if err != nil {
				return diskView{}, err
			}
			return diskView{s.Disks, s.Volumes}, nil
		},
		tableOf([]string{"DISK", "SIZE", "FREE", "STATE", "WHAT"}, diskRows))
}

func diskRows(v diskView) (rows [][]string) {
	for _, d := range v.Disks {
		var is []string
		for _, f := range []struct {
			yes  bool
			text string
		}{{d.Boot, "boot disk"}, {d.Removable, "removable"}, {d.ReadOnly, "read-only"}} {
			if f.yes {
				is = append(is, f.text)
			}
		}
		rows = append(rows, []string{d.Name, size(d.Size), "-", cmp.Or(strings.Join(is, ", "), "-"), cmp.Or(d.Model, "-")})
	}
	for _, vol := range v.Volumes {
		what := "volume " + vol.Label
		if vol.Reserved > 0 {
			what += ", " + size(vol.Reserved) + " held back"
		}
		rows = append(rows, []string{cmp.Or(vol.Device, "-"), size(vol.Size), size(vol.Free), vol.State, what})
	}
	return rows
}

// size writes bytes in binary units, as parseSize reads them.
func size(n uint64) string {
	const units = "KMGT"
	value, unit := float64(n), -1
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	if unit < 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
}

func newNodeTimeCommand() *cobra.Command {
	return questionCommand("time", "Show how nodes keep their time",
		func(ctx context.Context, c nodeClient) (api.TimeStatus, error) { return c.Time(ctx) },
		tableOf([]string{"TIME", "SOURCE", "SERVER", "OFFSET", "SYNCED", "ASKED"}, func(t api.TimeStatus) [][]string {
			offset, synced := "-", "never"
			if !t.Synced.IsZero() {
				offset, synced = fmt.Sprintf("%+.3fs", t.Offset), day(t.Synced)
			}
			return [][]string{{t.Now.UTC().Format(time.RFC3339), t.Source, cmp.Or(t.Server, "-"), offset, synced, cmp.Or(strings.Join(t.Servers, " "), "-")}}
		}))
}

func newNodeMetricsCommand() *cobra.Command {
	cmd := questionCommand("metrics", "Print the metrics of a node (OpenMetrics)",
		func(ctx context.Context, c nodeClient) (string, error) { return c.Metrics(ctx) },
		func(w io.Writer, answers []answer[string], named bool) error {
			for _, a := range answers {
				if a.err != nil {
					continue
				}
				if named {
					if _, err := fmt.Fprintf(w, "# node %s\n", a.Node); err != nil {
						return err
					}
				}
				if _, err := io.WriteString(w, *a.Result); err != nil {
					return err
				}
			}
			return nil
		})
	cmd.Long = `Print the metrics of a node (OpenMetrics).

Those of several nodes follow each other, each behind a line "# node NAME".`
	return cmd
}
