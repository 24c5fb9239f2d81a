package main

import (
	"github.com/spf13/cobra"
)

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "mycelium",
		Short:         "Build, start and operate networks of Digital Mycelium OS",
		SilenceUsage:  true,
		SilenceErrors: true, // main prints them
		Args:          cobra.NoArgs,
		RunE:          showHelp,
	}
	root.AddCommand(
		newNetworkCommand(), newInviteCommand(), newNodeCommand(), newInstallCommand(), newDashboardCommand(), newKubeconfigFileCommand(), newSupportCommand(),
		newConfigCommand(), newImageCommand(), newFlashCommand(), newNetbootCommand(), newReleaseCommand(), newUpdateCommand(), newQEMUCommand(), newVersionCommand(),
	)
	return root
}

// showHelp is what a command does that only holds others. With it and
// cobra.NoArgs, a mistyped name is an error.
func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }
