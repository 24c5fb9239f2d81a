package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/osfile"
	"github.com/digital-mycelium/os/pkg/release"
	"github.com/digital-mycelium/os/pkg/release/repository"
	"github.com/digital-mycelium/os/pkg/update/delta"
)

func newReleaseCreateCommand() *cobra.Command {
	var signers signerFlags
	var unlock unlockFlags
	var with string
	var expires map[string]string
	cmd := &cobra.Command{
		Use:   "create DIR",
		Short: "Begin a repository of releases",
		Long: `Begin a repository of releases.

When its root has all its signatures, the digest that nodes are configured with is
fixed and printed: here with --sign-with, otherwise by the last "sign".`,
		Example: `  mycelium release create releases --key owner.key.pub --sign-with owner.key
  mycelium release create releases --key ann.pub --key bob.pub --key cat.pub --threshold root=2,targets=2 \
    --key snapshot=online.key.pub --key timestamp=online.key.pub --expires timestamp=168h`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			roles, err := signers.signers()
			if err != nil {
				return err
			}
			if len(roles) == 0 {
				return errors.New("no key is given: make one with \"mycelium release key new FILE\", then use --key FILE.pub")
			}
			for name, of := range roles {
				of.Threshold = max(of.Threshold, 1)
				roles[name] = of
			}
			life := map[string]time.Duration{}
			for role, text := range expires {
				if life[role], err = time.ParseDuration(text); err != nil || !slices.Contains(repository.Roles(), role) {
					return fmt.Errorf("--expires %s=%s: want one of %s and a duration such as 168h", role, text, strings.Join(repository.Roles(), ", "))
				}
			}
			r, err := repository.Create(args[0], repository.Settings{Signers: roles, Expiry: life}, time.Now)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Began the repository %s.\n", args[0])
			if with == "" {
				sayMissing(cmd.ErrOrStderr(), r)
				return nil
			}
			if err := signWith(cmd, r, &unlock, with); err != nil {
				return err
			}
			return printDigest(cmd, r)
		},
	}
	signers.register(cmd)
	unlock.register(cmd, releaseKey)
	cmd.Flags().StringVar(&with, "sign-with", "", "sign at once with the key in this file")
	cmd.Flags().StringToStringVar(&expires, "expires", nil, "ROLE=DURATION: how long its metadata is valid (default root 17520h, targets 8760h, snapshot 2160h, timestamp 720h)")
	return cmd
}

// printDigest prints what nodes are configured with, once it is fixed.
func printDigest(cmd *cobra.Command, r *repository.Repository) error {
	digest := r.Digest()
	if digest == "" {
		return nil
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "The digest of the first root, for update.root in the configuration of nodes:")
	_, err := fmt.Fprintln(cmd.OutOrStdout(), digest)
	return err
}

func newReleaseAddCommand() *cobra.Command {
	var a release.Attributes
	var file, waves string
	cmd := &cobra.Command{
		Use:   "add DIR",
		Short: "Stage a release of an OS file",
		Long: `Stage a release of an OS file. Adding the same file of the same version again changes
its channels, waves and notes.`,
		Example: "  mycelium release add releases --file out/qemu-amd64/os.efi --wave 10%@0h,50%@24h,100%@72h",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if a.Waves, err = parseWaves(waves); err != nil {
				return err
			}
			r, err := openRepository(args[0])
			if err != nil {
				return err
			}
			f, err := os.Open(file)
			if err != nil {
				return err
			}
			defer f.Close()
			if a.Board == "" || a.Version == "" { // the file says so
				says, err := osfile.Describe(f)
				if err != nil {
					return fmt.Errorf("%s: %w: without --board and --version it must say so itself", file, err)
				}
				a.Board, a.Version = cmp.Or(a.Board, says.Board), cmp.Or(a.Version, says.Version)
				if _, err := f.Seek(0, io.SeekStart); err != nil {
					return err
				}
			}
			index, err := delta.Make(f)
			if err != nil {
				return fmt.Errorf("make the index of %s: %w", file, err)
			}
			if err := r.Add(a, file, index.Encode()); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Staged release %s.\n", a.Directory())
			sayMissing(cmd.ErrOrStderr(), r)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&a.Board, "board", "", "the board it is for (default: what the OS file says)")
	f.StringVar(&a.Version, "version", "", "its version, such as 1.2.0 (default: what the OS file says)")
	f.StringVar(&file, "file", "", "the OS file")
	f.StringArrayVar(&a.Channels, "channel", []string{"stable"}, "a channel that has it; may be repeated")
	f.StringVar(&waves, "wave", "", "which part of the nodes may have it when, such as 10%@0h,50%@24h,100%@72h (default: all at once)")
	f.BoolVar(&a.Downgrade, "downgrade", false, "let nodes that had a later version go down to it")
	f.StringVar(&a.Notes, "notes", "", "what people should know of it")
	if err := cmd.MarkFlagRequired("file"); err != nil {
		panic(err) // the flag does not exist: a mistake in this program
	}
	return cmd
}

func newReleaseWithdrawCommand() *cobra.Command {
	var board, version string
	cmd := &cobra.Command{
		Use:   "withdraw DIR",
		Short: "Stage that a release is not installed any more; nodes that have it keep it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := openRepository(args[0])
			if err != nil {
				return err
			}
			if err := r.Withdraw(board, version); err != nil {
				return err
			}
			sayMissing(cmd.ErrOrStderr(), r)
			return nil
		},
	}
	cmd.Flags().StringVar(&board, "board", "", "the board it is for")
	cmd.Flags().StringVar(&version, "version", "", "its version")
	return cmd
}

func newReleaseSignCommand() *cobra.Command {
	var unlock unlockFlags
	var path string
	var renew []string
	cmd := &cobra.Command{
		Use:   "sign DIR",
		Short: "Sign what is staged, as far as a key counts for it",
		Long: `Sign what is staged, as far as a key counts for it.

--renew stages a role's metadata anew with a later expiry, and what follows from it.
A timestamp must be renewed before it expires, or nodes take no releases.`,
		Example: "  mycelium release sign releases --key online.key --renew timestamp",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := openRepository(args[0])
			if err != nil {
				return err
			}
			before := r.Digest()
			for _, role := range renew {
				if err := r.Renew(role); err != nil {
					return err
				}
			}
			if err := signWith(cmd, r, &unlock, path); err != nil {
				return err
			}
			if before == "" {
				return printDigest(cmd, r)
			}
			return nil
		},
	}
	unlock.register(cmd, releaseKey)
	cmd.Flags().StringVar(&path, "key", "", "the file of the key")
	cmd.Flags().StringArrayVar(&renew, "renew", nil, "renew a role's metadata first; may be repeated")
	complete(cmd, "renew", repository.Roles()...)
	if err := cmd.MarkFlagRequired("key"); err != nil {
		panic(err) // the flag does not exist: a mistake in this program
	}
	return cmd
}

func newReleaseRotateCommand() *cobra.Command {
	var signers signerFlags
	cmd := &cobra.Command{
		Use:   "rotate DIR",
		Short: "Stage a new root, with other keys for some roles",
		Long: `Stage a new root, with other keys for some roles. It must be signed by as many of the
old root's keys as the old threshold says, and of the new ones' as the new one says.`,
		Example: "  mycelium release rotate releases --key timestamp=new.key.pub --key snapshot=new.key.pub",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := openRepository(args[0])
			if err != nil {
				return err
			}
			roles, err := signers.signers()
			if err != nil {
				return err
			}
			for _, st := range r.Status() {
				of, ok := roles[st.Role]
				if !ok {
					continue
				}
				if len(of.Keys) == 0 {
					of.Keys = st.Keys
				}
				if of.Threshold == 0 {
					of.Threshold = st.Threshold
				}
				roles[st.Role] = of
			}
			if err := r.Rotate(roles); err != nil {
				return err
			}
			sayMissing(cmd.ErrOrStderr(), r)
			return nil
		},
	}
	signers.register(cmd)
	return cmd
}
