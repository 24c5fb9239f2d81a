package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/api"
)

func newInstallCommand() *cobra.Command {
	var flags nodeFlags
	var disk, after string
	var wipe, keep, yes bool
	cmd := &cobra.Command{
		Use:   "install NODE",
		Short: "Install a node that runs from memory on one of its disks",
		Long: `Install a node that runs from memory on one of its disks.

The node was started from a stick that was made with "mycelium flash
--installer", or from the network. Without --disk its disks are listed.

A disk that holds an installation keeps its data and its identity; with --wipe
everything on the disk is given up. The installed system gets the configuration
that the node runs with, not its identity: it is another node, which is enrolled
or comes by an invite.`,
		Example: "  mycelium install node-1\n  mycelium install node-1 --disk nvme0n1 --wipe",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.nodes = args
			fl, nodes, err := flags.acting(cmd)
			if err != nil {
				return err
			}
			if disk == "" {
				return listTargets(cmd, fl, nodes)
			}
			if wipe {
				if err := confirm(cmd, yes, "This gives up whatever is on the disk "+disk+". It cannot be undone.", refNames(nodes)); err != nil {
					return err
				}
			}
			o := api.InstallOptions{Disk: disk, Wipe: wipe, After: api.InstallAfter(after)}
			return act(cmd, fl, nodes, func(ctx context.Context, _ nodeRef, c nodeClient, say sayFunc) error {
				return installNode(ctx, c, o, say)
			})
		},
	}
	flags.contextFlags.register(cmd)
	f := cmd.Flags()
	f.StringVar(&disk, "disk", "", "the disk: a name such as sda, auto, serial:..., model:..., size:smallest, size:largest")
	f.BoolVar(&wipe, "wipe", false, "give up whatever is on the disk")
	f.BoolVar(&keep, "keep-data", false, "keep the data of an earlier installation; refuse a disk with anything else (the default)")
	f.BoolVar(&yes, "yes", false, "do not ask before wiping")
	f.StringVar(&after, "after", string(api.InstallReboot), "what comes after: reboot, poweroff or stay")
	cmd.MarkFlagsMutuallyExclusive("wipe", "keep-data")
	cmd.ValidArgsFunction = flags.complete
	return cmd
}

// installNode installs one node and says how far it is.
func installNode(ctx context.Context, c nodeClient, o api.InstallOptions, say sayFunc) error {
	err := c.Install(ctx, o, func(p api.InstallProgress) { say("%3d %% %s", p.Percent, p.Message) })
	if errors.Is(err, api.ErrNotFound) {
		return fmt.Errorf("%w (without --disk its disks are listed)", err)
	}
	if err != nil {
		return err
	}
	say("%s", map[api.InstallAfter]string{
		api.InstallReboot:   "reboots: remove what it was started from; the installed system is another node, enrol it",
		api.InstallPowerOff: "powers off: remove what it was started from",
		api.InstallStay:     "goes on from memory",
	}[o.After])
	return nil
}

// listTargets shows the disks that there are to choose from.
func listTargets(cmd *cobra.Command, fl *fleet, nodes []nodeRef) error {
	return act(cmd, fl, nodes, func(ctx context.Context, _ nodeRef, c nodeClient, say sayFunc) error {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		for _, d := range s.Disks {
			var notes []string
			for _, note := range []struct {
				is   bool
				text string
			}{{d.Boot, "the system was started from it"}, {d.Removable, "removable"}, {d.ReadOnly, "read-only"}} {
				if note.is {
					notes = append(notes, note.text)
				}
			}
			text := strings.TrimSpace(d.Name + " " + d.Model)
			say("%s, %s%s", text, size(d.Size), strings.Join(append([]string{""}, notes...), ", "))
		}
		return errors.New("name the disk to install on with --disk")
	})
}
