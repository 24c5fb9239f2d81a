package main

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/api"
)

func newUpdateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "update",
		Aliases: []string{"updates"},
		Short:   "Bring nodes to another version of the OS, and back",
		Long: `Bring nodes to another version of the OS, and back.

A node has two slots. A new version is written to the one that does not run and is
started on trial; a node where it does not work comes back with the old one by
itself. "apply" does that for a whole network, node by node.`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	cmd.AddCommand(
		newUpdateStatusCommand(), newUpdateCheckCommand(), newUpdateApplyCommand(), newUpdateRollbackCommand(),
		newUpdateHoldCommand(), newUpdateForgiveCommand(), newUpdatePushCommand(), newUpdateKeyCommand(),
	)
	return cmd
}

func newUpdateCheckCommand() *cobra.Command {
	cmd := questionCommand("check", "Let nodes ask the release server now, and show what it offers them",
		func(ctx context.Context, c nodeClient) ([]api.AvailableUpdate, error) { return c.CheckUpdate(ctx) },
		tableOf([]string{"VERSION", "SIZE", "PUBLISHED", "CHANNELS", "DUE", "NOTES"}, func(list []api.AvailableUpdate) (rows [][]string) {
			for _, u := range list {
				published := "-"
				if !u.Published.IsZero() {
					published = day(u.Published)
				}
				rows = append(rows, []string{
					u.Version, size(u.Size), published, cmp.Or(strings.Join(u.Channels, " "), "-"), yesNo(u.Due), cmp.Or(u.Notes, "-"),
				})
			}
			return rows
		}))
	cmd.Long = `Let nodes ask the release server now, and show what it offers them.

A release that is not due yet has not reached the node by its waves: it does not
take it by itself, but "mycelium update apply" does.`
	return cmd
}

func newUpdateRollbackCommand() *cobra.Command {
	var flags nodeFlags
	var waiting waitFlags
	var reason string
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "Reboot nodes into the version that they ran before",
		Long: `Reboot nodes into the version in their other slot, which was good. The one that
runs is refused from then on: "mycelium update forgive" takes that back.`,
		Example: "  mycelium update rollback -n node-2 --reason \"the camera is gone\"",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fl, nodes, err := flags.acting(cmd)
			if err != nil {
				return err
			}
			return act(cmd, fl, nodes, func(ctx context.Context, n nodeRef, c nodeClient, say sayFunc) error {
				before, err := c.Status(ctx)
				if err != nil {
					return err
				}
				if err := c.RollBackUpdate(ctx, reason); err != nil {
					return err
				}
				say("goes back from %s", before.Version)
				if !waiting.wait {
					return nil
				}
				return waitForReturn(ctx, fl, n, before.BootID, say, waiting.timeout)
			})
		},
	}
	flags.register(cmd)
	waiting.register(cmd, "the nodes run again")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who read the node's status later")
	return cmd
}

func newUpdateHoldCommand() *cobra.Command {
	var flags nodeFlags
	var off bool
	var reason string
	cmd := &cobra.Command{
		Use:   "hold",
		Short: "Keep nodes from updating by themselves, or let them again",
		Long: `Keep nodes from updating by themselves, or let them again (--off). What a person
asks for (apply, push, rollback) they do all the same.`,
		Example: "  mycelium update hold -n node-1,node-2 --reason \"the fair is on\"\n  mycelium update hold -n node-1,node-2 --off",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if off && reason != "" {
				return errors.New("--reason says why to hold: it has no meaning with --off")
			}
			fl, nodes, err := flags.acting(cmd)
			if err != nil {
				return err
			}
			return act(cmd, fl, nodes, func(ctx context.Context, _ nodeRef, c nodeClient, say sayFunc) error {
				if err := c.HoldUpdate(ctx, !off, reason); err != nil {
					return err
				}
				say("%s", map[bool]string{false: "does not update by itself any more", true: "updates by itself again, if it is configured to"}[off])
				return nil
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&off, "off", false, "let them update by themselves again")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who read the node's status later")
	return cmd
}

func newUpdateForgiveCommand() *cobra.Command {
	var flags nodeFlags
	var version string
	cmd := &cobra.Command{
		Use:   "forgive",
		Short: "Let versions that have failed on nodes be installed again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fl, nodes, err := flags.acting(cmd)
			if err != nil {
				return err
			}
			return act(cmd, fl, nodes, func(ctx context.Context, _ nodeRef, c nodeClient, say sayFunc) error {
				if err := c.ForgiveUpdate(ctx, version); err != nil {
					return err
				}
				say("takes %s again", cmp.Or(version, "every version"))
				return nil
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&version, "version", "", "the version (default: all)")
	return cmd
}
