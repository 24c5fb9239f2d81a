package main

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/image"
	"github.com/digital-mycelium/os/image/oci"
	"github.com/digital-mycelium/os/rootfs/linetable"
)

func newImageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Build OS files, disk images and container images",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(newImageBuildCommand(), newImageNetbootCommand(), newImageSecureBootKeysCommand(), newImageSizesCommand(), newImageOCICommand(), newImageLinesCommand())
	return cmd
}

func newImageSizesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sizes OS-FILE",
		Short: "Show each component's share of an OS file",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return image.WriteSizes(cmd.OutOrStdout(), args[0])
		},
	}
}

func newImageLinesCommand() *cobra.Command {
	var program string
	cmd := &cobra.Command{
		Use:   "lines",
		Short: "Add source lines to a traceback from a node, standard input to standard output",
		Long: `Programs on a node carry no line tables: a traceback shows functions and offsets.
The unstripped program of the same version knows the lines; the build cache has
it (k3s-*/k3s, rt-*/rt), or a build of the same commit makes it again.`,
		Example: "  mycelium image lines --program ~/.cache/mycelium-os/k3s-*/k3s < traceback",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := os.ReadFile(program)
			if err != nil {
				return fmt.Errorf("read the program: %w", err)
			}
			return linetable.Resolve(cmd.OutOrStdout(), cmd.InOrStdin(), data)
		},
	}
	cmd.Flags().StringVar(&program, "program", "", "the unstripped program")
	if err := cmd.MarkFlagRequired("program"); err != nil {
		panic(err) // a misspelt name above
	}
	return cmd
}

func newImageOCICommand() *cobra.Command {
	var binary, out string
	m := oci.Image{User: "65532:65532", Created: time.Unix(0, 0)}
	cmd := &cobra.Command{
		Use:   "oci",
		Short: "Pack one static program into a container image archive, without a registry",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			program, err := os.ReadFile(binary)
			if err != nil {
				return fmt.Errorf("read the program: %w", err)
			}
			m.Program, m.Path = program, path.Join("/", filepath.Base(binary))
			if m.Arch, err = oci.StaticArch(program); err != nil {
				return fmt.Errorf("%s: %w", binary, err)
			}
			var archive bytes.Buffer
			if err := oci.Write(&archive, m); err != nil {
				return fmt.Errorf("pack %s: %w", binary, err)
			}
			if err := os.WriteFile(out, archive.Bytes(), 0o644); err != nil {
				return fmt.Errorf("write the image: %w", err)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&binary, "binary", "", "the program: a static executable")
	f.StringVar(&m.Name, "name", "", "name and tag of the image, e.g. mycelium.os/hello:1")
	f.StringVarP(&out, "output", "o", "", "file to write")
	f.StringVar(&m.User, "user", m.User, "user and group that run it")
	for _, name := range []string{"binary", "name", "output"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a misspelt name above
		}
	}
	return cmd
}
