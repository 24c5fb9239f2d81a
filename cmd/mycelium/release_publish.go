package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/release"
	"github.com/digital-mycelium/os/pkg/release/repository"
)

func newReleasePublishCommand() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "publish DIR",
		Short: "Publish what is staged and signed, after checking that nodes take it",
		Long: `Publish what is staged and signed, after checking that nodes take it.

The directory itself can be served; --to copies what is published to another one, such
as a web server's or a USB stick's. Whoever reads meanwhile sees the releases before
or after.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := openRepository(args[0])
			if err != nil {
				return err
			}
			err = r.Publish(cmd.Context())
			switch {
			case err == nil:
				fmt.Fprintf(cmd.ErrOrStderr(), "Published in %s.\n", args[0])
			case to == "" || !errors.Is(err, repository.ErrNothing):
				return err
			}
			if to == "" {
				return nil
			}
			if err := r.CopyTo(cmd.Context(), to); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s is up to date.\n", to)
			return err
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "bring it to this directory too")
	return cmd
}

func newReleaseVerifyCommand() *cobra.Command {
	var root string
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "verify DIR|URL",
		Short: "Check a repository, with all files, as a node does",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			from := releaseSource(args[0])
			digest, err := trustedRoot(cmd.Context(), from, root, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			report, err := repository.Verify(cmd.Context(), from, digest, time.Now)
			if err != nil {
				return fmt.Errorf("verify %s: %w", args[0], err)
			}
			view := releaseView{Root: digest, Published: report.Roles, Releases: report.Releases, Problems: report.Problems}
			if err := format.write(cmd.OutOrStdout(), view, view.table); err != nil {
				return err
			}
			if len(report.Problems) > 0 {
				return fmt.Errorf("verify %s: nodes pass over %d releases", args[0], len(report.Problems))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "the digest of the first root, sha256:… (default: the one that is there)")
	format.register(cmd)
	return cmd
}

func newReleaseShowCommand() *cobra.Command {
	var root string
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "show DIR|URL",
		Short: "Show what is released, until when, and what is staged",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			view := releaseView{}
			if _, err := os.Stat(filepath.Join(args[0], "repository.json")); err == nil {
				r, err := openRepository(args[0])
				if err != nil {
					return err
				}
				view.Root, view.Roles, view.Coming = r.Digest(), r.Status(), r.Releases()
				if view.Roles[len(view.Roles)-1].Published == 0 {
					return format.write(cmd.OutOrStdout(), view, view.table)
				}
			}
			from := releaseSource(args[0])
			digest, err := trustedRoot(cmd.Context(), from, root, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			report, err := repository.Look(cmd.Context(), from, digest, time.Now)
			if err != nil {
				return fmt.Errorf("show %s: %w", args[0], err)
			}
			view.Root, view.Published, view.Releases, view.Problems = digest, report.Roles, report.Releases, report.Problems
			return format.write(cmd.OutOrStdout(), view, view.table)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "the digest of the first root, sha256:… (default: the one that is there)")
	format.register(cmd)
	return cmd
}

// releaseView is what show and verify say.
type releaseView struct {
	Root      string                  `json:"root,omitempty"`
	Published []release.Role          `json:"published,omitempty"`
	Releases  []release.Release       `json:"releases,omitempty"`
	Problems  []string                `json:"problems,omitempty"`
	Roles     []repository.RoleStatus `json:"roles,omitempty"`
	Coming    []string                `json:"coming,omitempty"`
}

func (v releaseView) table(w io.Writer) error {
	if v.Root != "" {
		fmt.Fprintf(w, "root %s\n\n", v.Root)
	}
	if len(v.Published) > 0 {
		rows := [][]string{{"ROLE", "VERSION", "EXPIRES"}}
		for _, r := range v.Published {
			rows = append(rows, []string{r.Name, fmt.Sprint(r.Version), day(r.Expires)})
		}
		if err := writeTable(w, rows); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	rows := [][]string{{"BOARD", "VERSION", "CHANNELS", "SIZE", "WAVES", "NOTES"}}
	for _, r := range v.Releases {
		var waves []string
		for _, wave := range r.Waves {
			waves = append(waves, fmt.Sprintf("%d%%@%v", wave.Percent, wave.After))
		}
		rows = append(rows, []string{r.Board, r.Version, strings.Join(r.Channels, ","), fmt.Sprint(r.OS.Size), strings.Join(waves, ","), r.Notes})
	}
	if err := writeTable(w, rows); err != nil {
		return err
	}
	for _, p := range v.Problems {
		if err := writeTable(w, [][]string{{"passed over: " + p}}); err != nil {
			return err
		}
	}
	rows = [][]string{{"STAGED", "VERSION", "SIGNED", "NEEDED", "MAY SIGN"}}
	for _, st := range v.Roles {
		if st.Staged > 0 {
			rows = append(rows, []string{st.Role, fmt.Sprint(st.Staged), fmt.Sprint(len(st.Signed)), fmt.Sprint(st.Threshold), joinKeys(st.Missing)})
		}
	}
	if len(rows) == 1 {
		return nil
	}
	fmt.Fprintf(w, "\nto be released: %s\n", strings.Join(v.Coming, ", "))
	return writeTable(w, rows)
}
