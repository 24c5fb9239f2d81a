package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/board"
	"github.com/digital-mycelium/os/image"
)

// allBoards is what --board says for every one.
const allBoards = "all"

func newImageBuildCommand() *cobra.Command {
	var o image.Options
	var baked bakedFlags
	var wifi bool
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build a board's OS file, disk image and bill of materials from this source",
		Long: `Build a board's OS file, disk image and bill of materials from this source.

--board takes one board, several with commas, or "all". With --compress there is
what is handed on as well: disk.img.zst, its block map disk.img.bmap (for
"mycelium flash" and bmaptool) and SHA256SUMS.

--wifi adds Wi-Fi where it is an optional part of the board, which is another board
then: pc-wifi. The Raspberry Pi always has it.

--config, --hostname, --network, --invite and --wifi-ssid are for the disk image's
configuration (mycelium.yaml, on its first partition). A machine that boots from
an image for a network lets itself be enrolled there alone. With --invite the
image holds the token as well, and the machine joins by itself: keep such an image
as you would the token. The OS file is the same either way.

--kernel-args are part of the OS file, and of what its signature covers. An update
brings the arguments that it was built with.

--secureboot-keys is a directory of "mycelium image secureboot-keys". The OS file and the
boot loader are signed with its key db, and the disk image brings the certificates to a
firmware in setup mode. Boards without UEFI are built as without.`,
		Example: "  mycelium image build --network home\n  mycelium invite --uses 3 > token && mycelium image build --network home --invite token\n  mycelium image build --board all",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Config, err = baked.document(cmd, nil); err != nil {
				return err
			}
			if o.RepoRoot, err = image.RepoRoot("."); err != nil {
				return err
			}
			boards, err := chooseBoards(o.Board, wifi)
			if err != nil {
				return err
			}
			if err := checkWiFi(boards, baked.wifi.ssid); err != nil {
				return err
			}
			if o.Board == allBoards && !cmd.Flags().Changed("compress") {
				o.Compress = true
			}
			return buildImages(cmd, o, boards)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Board, "board", "qemu-amd64", "board, or several with commas, or all: "+strings.Join(board.Names(), ", "))
	f.StringVar(&o.Out, "out", "", "directory for the files; for each board's directory, when there are several (default out/BOARD)")
	f.StringVar(&o.Version, "version", "", "name of the release, such as 1.2.3 (default: of the commit's tag, or 0.0.0- with its time and hash)")
	f.StringVar(&o.Variant, "variant", "", "machine that the disk image is for, of a board that has several (default: the first of them)")
	f.StringVar(&o.KernelArgs, "kernel-args", "", "arguments for the kernel, after the board's own")
	f.BoolVar(&wifi, "wifi", false, "with Wi-Fi: drivers, their firmware and wpa_supplicant; with --board all for the boards that can have it")
	f.BoolVar(&o.Compress, "compress", false, "make disk.img.zst, disk.img.bmap and SHA256SUMS too (default with --board all)")
	f.StringVar(&o.SecureBootKeys, "secureboot-keys", "", "directory with the keys that sign for UEFI Secure Boot")
	baked.register(cmd)
	complete(cmd, "board", append(board.Names(), allBoards)...)
	return cmd
}

// checkWiFi refuses a wireless network for machines that could not join it.
func checkWiFi(boards []string, ssid string) error {
	for _, name := range boards {
		if b, err := board.Load(name); err != nil || ssid == "" || b.HasWiFi() {
			return err
		}
	}
	return fmt.Errorf("--wifi-ssid: %s has no Wi-Fi: add --wifi where that is possible", strings.Join(boards, ", "))
}

// chooseBoards reads the value of --board. With wifi the boards have Wi-Fi, of all of
// them those that can.
func chooseBoards(value string, wifi bool) ([]string, error) {
	if value == allBoards {
		names := board.Names()
		for i, name := range names {
			if with, err := board.WithWiFi(name); err == nil && wifi {
				names[i] = with
			}
		}
		return names, nil
	}
	var names []string
	for name := range strings.SplitSeq(value, ",") {
		if _, err := board.Load(name); err != nil {
			return nil, err
		}
		if wifi {
			var err error
			if name, err = board.WithWiFi(name); err != nil {
				return nil, err
			}
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// buildImages builds one board after the other: each uses all processors. A board
// that fails does not keep the others from being built.
func buildImages(cmd *cobra.Command, o image.Options, boards []string) error {
	out := o.Out
	if out == "" {
		out = filepath.Join(o.RepoRoot, "out")
	}
	o.Log = cmd.ErrOrStderr()
	var failed []error
	several := o.Board == allBoards || len(boards) > 1
	for _, name := range boards {
		o.Board = name
		if o.Out == "" || several {
			o.Out = filepath.Join(out, name)
		}
		if several {
			fmt.Fprintf(o.Log, "\n%s\n", name)
		}
		res, err := image.Build(cmd.Context(), o)
		if errors.Is(err, context.Canceled) {
			return err
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("build the image for %s: %w", name, err))
			continue
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: version %s, OS file %.2f MiB\n", o.Out, res.Version, float64(res.Size)/(1<<20)); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}
