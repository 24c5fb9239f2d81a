package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image"
	"github.com/digital-mycelium/os/image/disk"
	"github.com/digital-mycelium/os/image/oci"
	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/rootfs/linetable"
)

func newImageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Build OS files, disk images and container images",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(newImageBuildCommand(), newImageNetbootCommand(), newImageSizesCommand(), newImageOCICommand(), newImageLinesCommand())
	return cmd
}

func newImageBuildCommand() *cobra.Command {
	var o image.Options
	var baked contextFlags
	var invite string
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build a board's OS file, disk image and bill of materials from this source",
		Long: `Build a board's OS file, disk image and bill of materials from this source.

With --network the disk image's configuration (mycelium.yaml, on its first
partition) names the network: a machine that boots from it lets itself be
enrolled there alone. With --invite it holds the token as well, and the machine
joins by itself: keep such an image as you would the token. The OS file is the
same either way.`,
		Example: "  mycelium image build --network home\n  mycelium invite --uses 3 > token && mycelium image build --network home --invite token",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Config, err = bakedConfig(cmd, &baked, invite); err != nil {
				return err
			}
			if o.RepoRoot, err = image.RepoRoot("."); err != nil {
				return err
			}
			if o.Out == "" {
				o.Out = filepath.Join(o.RepoRoot, "out", o.Board)
			}
			o.Log = cmd.ErrOrStderr()
			res, err := image.Build(cmd.Context(), o)
			if err != nil {
				return fmt.Errorf("build the image for %s: %w", o.Board, err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: version %s, OS file %.2f MiB\n", o.Out, res.Version, float64(res.Size)/(1<<20))
			return err
		},
	}
	cmd.Flags().StringVar(&o.Board, "board", "qemu-amd64", "board: "+strings.Join(board.Names(), ", "))
	cmd.Flags().StringVar(&o.Variant, "variant", "", "machine that the disk image is for, of a board that has several (default: the first of them)")
	cmd.Flags().StringVar(&o.Out, "out", "", "directory for the files (default out/BOARD)")
	cmd.Flags().StringVar(&o.Version, "version", "", "name of the release, such as 1.2.3 (default: of the commit's tag, or 0.0.0- with its time and hash)")
	cmd.Flags().StringVar(&baked.network, "network", "", "the network that the disk image's machines are for")
	cmd.Flags().StringVar(&invite, "invite", "", "file with a token of \"mycelium invite\" that lets them in (- is standard input)")
	if err := cmd.RegisterFlagCompletionFunc("network", completeNetworks); err != nil {
		panic(err) // the flag does not exist: a mistake in this program
	}
	return cmd
}

// bakedConfig is the configuration of a disk image for a network, nothing for an
// image that is for any. The current network does not count: what is built from
// the same source shall be the same.
func bakedConfig(cmd *cobra.Command, flags *contextFlags, invite string) ([]byte, error) {
	if flags.network == "" {
		if invite != "" {
			return nil, errors.New("--invite is of use together with --network NAME alone")
		}
		return nil, nil
	}
	n, err := flags.openStale(cmd)
	if err != nil {
		return nil, err
	}
	id := n.Verifier.Network()
	n.Close()
	var token identity.Token
	if invite != "" {
		if token, err = readInvite(cmd, invite, id); err != nil {
			return nil, err
		}
	}
	return membershipConfig(id, token)
}

// membershipConfig is the example configuration with a membership section.
func membershipConfig(id identity.NetworkID, token identity.Token) ([]byte, error) {
	b := bytes.NewBuffer(slices.Clone(disk.ExampleConfig))
	fmt.Fprintf(b, "\nmembership:\n  network: %s\n", id)
	if !token.IsZero() {
		fmt.Fprintf(b, "  invite: %s\n", token.Reveal())
	}
	if _, err := config.Parse(b.Bytes()); err != nil {
		return nil, fmt.Errorf("make the image's configuration: %w", err)
	}
	return b.Bytes(), nil
}

// readInvite reads a token that lets machines into the network id now.
func readInvite(cmd *cobra.Command, path string, id identity.NetworkID) (identity.Token, error) {
	token, err := readToken(cmd, path)
	if err != nil {
		return identity.Token{}, fmt.Errorf("%w: make one with \"mycelium invite > FILE\"", err)
	}
	inv := token.Invite()
	switch {
	case inv.Network != id:
		return identity.Token{}, fmt.Errorf("read the invite %s: %w: it is to %s, not %s", path, identity.ErrWrongNetwork, inv.Network, id)
	case !time.Now().Before(inv.Expires):
		return identity.Token{}, fmt.Errorf("read the invite %s: %w: it ended at %s: make another one with \"mycelium invite\"", path, identity.ErrExpired, day(inv.Expires))
	}
	return token, nil
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
