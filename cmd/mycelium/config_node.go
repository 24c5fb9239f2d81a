package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/plaintext"
	"github.com/digital-mycelium/os/pkg/config"
)

// configView is what "config get" reports of a node.
type configView struct {
	// Document is YAML, with its secrets replaced.
	Document string `json:"document"`
	// Source is where it comes from, in words.
	Source string `json:"source"`
}

func newConfigGetCommand() *cobra.Command {
	cmd := questionCommand("get", "Show the configuration that nodes run with",
		func(ctx context.Context, c nodeClient) (configView, error) {
			document, source, err := c.Configuration(ctx)
			return configView{string(document), source}, err
		},
		func(w io.Writer, answers []answer[configView], named bool) error {
			for i, a := range answers {
				if a.err != nil {
					continue
				}
				if named && i > 0 {
					fmt.Fprintln(w, "---")
				}
				if _, err := fmt.Fprintf(w, "# %s: %s\n%s\n", plaintext.Line(a.Node), plaintext.Line(a.Result.Source), strings.TrimRight(a.Result.Document, "\n")); err != nil {
					return err
				}
			}
			return nil
		})
	cmd.Long = `Show the configuration that nodes run with, and where it comes from. Secrets show
as (secret). A node to which that is applied again keeps those that it has.`
	return cmd
}

func newConfigApplyCommand() *cobra.Command {
	var flags nodeFlags
	var waiting waitFlags
	var dryRun, restart bool
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Give nodes a configuration",
		Long: `Give nodes a configuration, and show what changes and what waits for a reboot.

It is checked here first, as "mycelium config validate" does. A secret that stands
there as (secret), as "mycelium config get" shows it, stays what it is on each node.`,
		Example: "  mycelium config apply node.yaml -n node-1 --dry-run\n  mycelium config apply node.yaml -n node-1 --reboot --wait",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			document, c, err := checkedUpdate(cmd, args[0])
			if err != nil {
				return err
			}
			fl, nodes, err := flags.acting(cmd)
			if err != nil {
				return err
			}
			if c.Hostname != "" && len(nodes) > 1 {
				return fmt.Errorf("%s names the node %s: %d nodes cannot all be called so: leave out hostname, or apply it to one", args[0], c.Hostname, len(nodes))
			}
			return act(cmd, fl, nodes, func(ctx context.Context, n nodeRef, c nodeClient, say sayFunc) error {
				changes, err := c.ApplyConfiguration(ctx, document, dryRun)
				if err != nil {
					return err
				}
				tellChanges(say, changes, dryRun)
				switch {
				case dryRun || !config.NeedsReboot(changes):
					return nil
				case restart:
					return reboot(ctx, fl, n, c, say, waiting)
				}
				say("reboot it to make that take effect: mycelium node reboot -n %s", n.Name)
				return nil
			})
		},
	}
	flags.register(cmd)
	waiting.register(cmd, "nodes that reboot run again")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would change, and change nothing")
	cmd.Flags().BoolVar(&restart, "reboot", false, "reboot nodes where something waits for it")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "reboot")
	return cmd
}

// checkedUpdate reads a configuration for nodes that have one, and that has no
// mistake that shows here.
func checkedUpdate(cmd *cobra.Command, name string) ([]byte, *config.Config, error) {
	document, err := readDocument(name, cmd.InOrStdin())
	if err != nil {
		return nil, nil, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := config.ParseUpdate(document, nil)
	return document, c, tellMistakes(cmd.ErrOrStderr(), name, err)
}

func tellChanges(say sayFunc, changes []config.Change, dryRun bool) {
	if len(changes) == 0 {
		say("nothing changes")
		return
	}
	verb := "changes"
	if dryRun {
		verb = "would change"
	}
	for _, c := range changes {
		when := "at once"
		if c.Reboot {
			when = "with the next boot"
		}
		say("%s %s %s", c.Field, verb, when)
	}
}
