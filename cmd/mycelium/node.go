package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// nodeFlags choose nodes of a network.
type nodeFlags struct {
	contextFlags
	nodes []string
}

func newNodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "node",
		Aliases: []string{"nodes"},
		Short:   "See and operate the nodes of a network",
		Long: `See and operate the nodes of a network.

-n names one or several nodes, by name, key or address: -n node-1,192.168.1.20.
Without it, commands that only look ask all nodes, those that act want exactly
one. Several nodes are asked at once; the exit status tells if one failed.`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	cmd.AddCommand(
		newNodeListCommand(), newNodeStatusCommand(), newNodeServicesCommand(), newNodeProcessesCommand(), newNodeDisksCommand(),
		newNodeTimeCommand(), newNodeMetricsCommand(), newNodeLogsCommand(), newNodeEventsCommand(),
		newNodeRestartCommand(), newNodeRebootCommand(), newNodeShutdownCommand(), newNodeResetCommand(),
		newNodeEnrolCommand(), newNodeRemoveCommand(),
	)
	return cmd
}

// register adds --network and --nodes to a command.
func (f *nodeFlags) register(cmd *cobra.Command) {
	f.contextFlags.register(cmd)
	cmd.Flags().StringSliceVarP(&f.nodes, "nodes", "n", nil, "the nodes, by name, key or address (a,b)")
	if err := cmd.RegisterFlagCompletionFunc("nodes", f.complete); err != nil {
		panic(err) // the flag does not exist: a mistake in this program
	}
}

// complete gives the shell the names of the nodes, without asking any: behind a
// comma too.
func (f *nodeFlags) complete(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	fl, err := f.openFleet(cmd)
	if err != nil {
		return nil, directive
	}
	before := typed[:strings.LastIndexByte(typed, ',')+1]
	var names []string
	for _, n := range fl.book {
		names = append(names, before+n.Name)
	}
	return names, directive
}

// all returns the fleet and the chosen nodes, by default all that are known.
func (f *nodeFlags) all(cmd *cobra.Command) (*fleet, []nodeRef, error) {
	fl, err := f.openFleet(cmd)
	if err != nil {
		return nil, nil, err
	}
	nodes, err := f.choose(cmd.Context(), fl)
	if err == nil && len(nodes) == 0 {
		err = fmt.Errorf("no node of %q is known: let one in with \"mycelium node enrol ADDRESS\", or name one with -n ADDRESS", fl.name)
	}
	return fl, nodes, err
}

// acting is all for commands that act: what is not named must be the only one.
func (f *nodeFlags) acting(cmd *cobra.Command) (*fleet, []nodeRef, error) {
	fl, nodes, err := f.all(cmd)
	if err != nil {
		return nil, nil, err
	}
	if len(f.nodes) == 0 && len(nodes) > 1 {
		return nil, nil, fmt.Errorf("%q has %d nodes: name one or several with -n %s", fl.name, len(nodes), strings.Join(refNames(nodes), ","))
	}
	return fl, nodes, nil
}

func (f *nodeFlags) choose(ctx context.Context, fl *fleet) ([]nodeRef, error) {
	if len(f.nodes) == 0 {
		return fl.known(ctx), nil
	}
	var out []nodeRef
	for _, word := range f.nodes {
		n, err := fl.find(ctx, word)
		if err != nil {
			return nil, err
		}
		if !containsRef(out, n) {
			out = append(out, n)
		}
	}
	return out, nil
}

// confirm asks for names to be typed, unless yes.
func confirm(cmd *cobra.Command, yes bool, warning string, names []string) error {
	if yes {
		return nil
	}
	want := strings.Join(names, ",")
	fmt.Fprintf(cmd.ErrOrStderr(), "%s\nType %s to go on: ", warning, want)
	line, err := readLine(cmd)
	if err != nil {
		return err
	}
	if line != want {
		return errors.New("nothing is done: the name was not typed (--yes does not ask)")
	}
	return nil
}
