package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/qemu"
)

func newDownCommand(flags *networkFlags) *cobra.Command {
	var keep bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Shut the network down and remove it",
		Long: `Shut the network down and remove it: every node is shut down in order, one that
takes longer than --timeout is ended, and all the network's files are deleted.
With --keep-disks they stay, and "up" starts the same network again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			network, err := flags.open()
			if errors.Is(err, fs.ErrNotExist) {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "There is no network %q: nothing to do.\n", flags.name)
				return err
			}
			if err != nil {
				return err
			}
			forced, err := network.Down(cmd.Context(), qemu.DownOptions{Grace: timeout, Keep: keep})
			if err != nil {
				return err
			}
			if len(forced) > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "ended without shutting down in order within %v: %s\n", timeout, strings.Join(forced, ", "))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&keep, "keep-disks", false, "keep the network's files")
	cmd.Flags().DurationVar(&timeout, "timeout", 90*time.Second, "how long the nodes may take to shut down")
	return cmd
}

func newPowerCommand(flags *networkFlags) *cobra.Command {
	actions := map[string]string{
		"on": "start the machine", "off": "press the power button and wait",
		"cut": "pull the plug", "reset": "press the reset button",
	}
	cmd := &cobra.Command{
		Use:   "power NODE on|off|cut|reset",
		Short: "Switch one machine on, off, off the hard way, or reset it",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			node, err := flags.node(args[:1])
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			switch args[1] {
			case "on":
				return node.Start(ctx)
			case "off":
				return node.PowerDown(ctx)
			case "cut":
				return node.Kill(ctx)
			case "reset":
				return node.Reset(ctx)
			}
			return fmt.Errorf("unknown action %q: use on, off, cut or reset", args[1])
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return flags.completeNodes(cmd, args, word)
			}
			var out []string
			for action, what := range actions {
				out = append(out, action+"\t"+what)
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		},
	}
	return cmd
}

func newEnrolCommand(flags *networkFlags) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "enrol [NODE]",
		Short: "Make a machine a member again whose STATE was wiped",
		Long: `Make a machine a member again whose STATE was wiped. "up" enrols those that never
were members; one that is a member already is left alone.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: flags.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			network, err := flags.open()
			if err != nil {
				return err
			}
			node, err := flags.node(args)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			show := &changeLog{w: cmd.ErrOrStderr()}
			if err := network.Enrol(ctx, node, show.see); err != nil {
				return err
			}
			key, err := node.Key()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is a member, by the key %s\n", node.Name(), key)
			return err
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait for the machine")
	return cmd
}
