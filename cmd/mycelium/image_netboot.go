package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/image"
)

// netbootDir is the directory of iPXE's files, beside those of the boards.
const netbootDir = "netboot"

func newImageNetbootCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "netboot",
		Short: "Gather the loaders that machines get from \"mycelium netboot serve\"",
		Long: `Gather iPXE, which machines that boot over the network get first from
"mycelium netboot serve", out of the Debian package that this source pins. The
directory can be carried to another computer together with the images.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			root, err := image.RepoRoot(".")
			if err != nil {
				return errors.Join(err, errors.New("it needs this project's source; take the directory from a computer that has it"))
			}
			if out == "" {
				out = filepath.Join(root, "out", netbootDir)
			}
			version, err := image.Netboot(cmd.Context(), root, out)
			if err != nil {
				return fmt.Errorf("gather the loaders of network boot: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: iPXE %s\n", out, version)
			return err
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "directory for the files (default out/"+netbootDir+")")
	return cmd
}
