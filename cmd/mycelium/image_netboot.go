package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/image"
)

// netbootDir is the directory of what firmware starts first, beside those of the boards.
const netbootDir = "netboot"

func newImageNetbootCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "netboot",
		Short: "Gather the loaders that machines get from \"mycelium netboot serve\"",
		Long: `Gather what machines that boot over the network get first from "mycelium netboot
serve", out of the Debian packages that this source pins: iPXE, and the Raspberry
Pi 3's bootcode.bin. The directory can be carried to another computer together with
the images. Everything else comes out of the images' OS files.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			root, err := image.RepoRoot(".")
			if err != nil {
				return errors.Join(err, errors.New("it needs this project's source; take the directory from a computer that has it"))
			}
			if out == "" {
				out = filepath.Join(root, "out", netbootDir)
			}
			versions, err := image.Netboot(cmd.Context(), root, out)
			if err != nil {
				return fmt.Errorf("gather the loaders of network boot: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", out, strings.Join(versions, ", "))
			return err
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "directory for the files (default out/"+netbootDir+")")
	return cmd
}
