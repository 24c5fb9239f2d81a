package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/plaintext"
	"github.com/digital-mycelium/os/pkg/api"
)

func newNodeLogsCommand() *cobra.Command {
	var flags nodeFlags
	var opts api.LogOptions
	cmd := &cobra.Command{
		Use:   "logs [NAME]",
		Short: "Show a log of nodes: kernel, init or a service's",
		Long: `Show a log of nodes: kernel, init or a service's. Without NAME, list the logs.

The lines of several nodes come as they are written, each behind its node's name.`,
		Example: "  mycelium node logs k3s -f --tail 20\n  mycelium node logs kernel -n node-1,node-2",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			fl, nodes, err := flags.all(cmd)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return listLogs(cmd, fl, nodes)
			}
			return showLogs(cmd, fl, nodes, args[0], opts)
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVarP(&opts.Follow, "follow", "f", false, "go on with new lines")
	cmd.Flags().IntVar(&opts.Tail, "tail", 0, "begin with this many last lines (default all)")
	cmd.ValidArgsFunction = cobra.FixedCompletions([]string{"init", "k3s", "kernel"}, cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

func listLogs(cmd *cobra.Command, fl *fleet, nodes []nodeRef) error {
	answers := ask(cmd, fl, nodes, func(ctx context.Context, c nodeClient) ([]string, error) { return c.Logs(ctx) })
	table := tableOf([]string{"LOG"}, func(names []string) (rows [][]string) {
		for _, n := range names {
			rows = append(rows, []string{n})
		}
		return rows
	})
	if err := table(cmd.OutOrStdout(), answers, len(nodes) > 1); err != nil {
		return err
	}
	return failed(cmd, answers)
}

func showLogs(cmd *cobra.Command, fl *fleet, nodes []nodeRef, name string, opts api.LogOptions) error {
	out := newLines(cmd, nodes)
	return stream(cmd, fl, nodes, func(ctx context.Context, n nodeRef, c nodeClient) error {
		log, err := c.Log(ctx, name, opts)
		if errors.Is(err, api.ErrNotFound) {
			return fmt.Errorf("%w: \"mycelium node logs -n %s\" lists its logs", err, n.Name)
		}
		if err != nil {
			return err
		}
		defer log.Close()
		return eachLine(log, func(line string) { out.line(n.Name, line) })
	})
}

// newLines writes to standard output: what goes to a terminal cannot steer it,
// what goes elsewhere is as the nodes have it.
func newLines(cmd *cobra.Command, nodes []nodeRef) *prefixed {
	return &prefixed{w: cmd.OutOrStdout(), names: refNames(nodes), raw: !isTerminal(cmd.OutOrStdout()), bare: true}
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// stream calls f for all nodes at once, until all have ended or the person
// interrupts, which is no failure.
func stream(cmd *cobra.Command, fl *fleet, nodes []nodeRef, f func(context.Context, nodeRef, nodeClient) error) error {
	out := make([]answer[struct{}], len(nodes))
	done := make(chan struct{}, len(nodes))
	for i, n := range nodes {
		go func() {
			_, err := call(cmd.Context(), fl, n, func(ctx context.Context, c nodeClient) (struct{}, error) { return struct{}{}, f(ctx, n, c) })
			if cmd.Context().Err() != nil {
				err = nil
			}
			out[i] = answer[struct{}]{Node: n.Name, err: err}
			done <- struct{}{}
		}()
	}
	for range nodes {
		<-done
	}
	return failed(cmd, out)
}

// eachLine calls f with every line of r, without its end. A line of any length
// is one.
func eachLine(r io.Reader, f func(string)) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			f(strings.TrimSuffix(line, "\n"))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// nodeEvent is an event with its node's name.
type nodeEvent struct {
	Node string `json:"node"`
	api.Event
}

func newNodeEventsCommand() *cobra.Command {
	var flags nodeFlags
	var format outputFormat
	var opts api.EventOptions
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what has happened on nodes since they booted",
		Long: `Show what has happened on nodes since they booted.

With -o json each event is an object on a line of its own, with -o yaml a document.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fl, nodes, err := flags.all(cmd)
			if err != nil {
				return err
			}
			out := newLines(cmd, nodes)
			out.raw = format != tableFormat
			out.bare = out.bare || out.raw
			if !opts.Follow {
				return showEvents(cmd, fl, nodes, opts, func(e nodeEvent) error { return writeEvent(out, format, e) })
			}
			return stream(cmd, fl, nodes, func(ctx context.Context, n nodeRef, c nodeClient) error {
				return c.Events(ctx, opts, func(e api.Event) error { return writeEvent(out, format, nodeEvent{n.Name, e}) })
			})
		},
	}
	flags.register(cmd)
	format.register(cmd)
	cmd.Flags().BoolVarP(&opts.Follow, "follow", "f", false, "go on with new events")
	cmd.Flags().IntVar(&opts.Tail, "tail", 0, "begin with this many last events (default all)")
	return cmd
}

// showEvents shows the events that the nodes have, in the order of their times.
func showEvents(cmd *cobra.Command, fl *fleet, nodes []nodeRef, opts api.EventOptions, show func(nodeEvent) error) error {
	answers := ask(cmd, fl, nodes, func(ctx context.Context, c nodeClient) (list []api.Event, err error) {
		err = c.Events(ctx, opts, func(e api.Event) error {
			list = append(list, e)
			return nil
		})
		return list, err
	})
	var all []nodeEvent
	for _, a := range answers {
		if a.err == nil {
			for _, e := range *a.Result {
				all = append(all, nodeEvent{a.Node, e})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b nodeEvent) int { return a.Time.Compare(b.Time) })
	for _, e := range all {
		if err := show(e); err != nil {
			return err
		}
	}
	return failed(cmd, answers)
}

func writeEvent(out *prefixed, format outputFormat, e nodeEvent) error {
	switch format {
	case jsonFormat:
		return out.write(func(w io.Writer) error { return json.NewEncoder(w).Encode(e) })
	case yamlFormat:
		return out.write(func(w io.Writer) error {
			if _, err := io.WriteString(w, "---\n"); err != nil {
				return err
			}
			return writeYAML(w, e)
		})
	}
	out.line(e.Node, eventText(e.Event))
	return nil
}

func eventText(e api.Event) string {
	words := []string{e.Time.UTC().Format("2006-01-02T15:04:05Z"), e.Kind}
	for _, w := range []string{e.Subject, e.Text} {
		if w != "" {
			words = append(words, w)
		}
	}
	return plaintext.Line(strings.Join(words, " "))
}
