package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/release"
	"github.com/digital-mycelium/os/pkg/release/repository"
)

const releaseKey = "the release key"

func newReleaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Make and publish signed releases of the operating system",
		Long: `Make and publish signed releases of the operating system.

A repository is a directory with plain files: metadata of The Update Framework
(TUF) and the OS files. Any web server or a USB stick can serve it. Its roles are
root, targets, snapshot and timestamp; each has keys, and a threshold of how many
of them must sign. Nodes need the digest of its first root: update.root in their
configuration.`,
		Example: `  mycelium release key new owner.key
  mycelium release create releases --key owner.key.pub --sign-with owner.key
  mycelium release add releases --board x86 --version 1.2.0 --file os.efi
  mycelium release sign releases --key owner.key
  mycelium release publish releases --to /srv/www/releases`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	cmd.AddCommand(
		newReleaseCreateCommand(), newReleaseAddCommand(), newReleaseWithdrawCommand(), newReleaseSignCommand(), newReleaseRotateCommand(),
		newReleasePublishCommand(), newReleaseVerifyCommand(), newReleaseShowCommand(), newReleaseKeyCommand(),
	)
	return cmd
}

func newReleaseKeyCommand() *cobra.Command {
	var protect protectFlags
	cmd := &cobra.Command{Use: "key", Short: "Make keys that sign releases", Args: cobra.NoArgs, RunE: showHelp}
	create := &cobra.Command{
		Use:   "new FILE",
		Short: "Make a key, encrypted, in FILE, and its public half in FILE.pub",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := args[0]
			for _, name := range []string{path, path + ".pub"} {
				if _, err := os.Lstat(name); err == nil {
					return fmt.Errorf("%s exists already: choose another name, a key is never overwritten", name)
				}
			}
			to, generated, err := protect.ask(cmd, releaseKey)
			if err != nil {
				return err
			}
			key := identity.GenerateKey()
			if err := identity.WriteKey(path, key, to...); err != nil {
				return err
			}
			if err := protect.show(cmd, generated, releaseKey); err != nil {
				return err
			}
			if err := os.WriteFile(path+".pub", []byte(key.Public().String()+"\n"), 0o644); err != nil {
				return fmt.Errorf("write the public key: %w", err)
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "Key %s is in %s: back it up away from this computer. Its public half is in %s.pub.\n", key.Public(), path, path)
			return err
		},
	}
	protect.register(create, "", releaseKey)
	cmd.AddCommand(create)
	return cmd
}

// signerFlags give keys and thresholds to roles.
type signerFlags struct {
	keys       []string
	thresholds map[string]int
}

func (s *signerFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&s.keys, "key", nil, "[ROLE=]KEY: a public key (mycpub1…, or its file) for a role, or for all that get none; may be repeated")
	f.StringToIntVar(&s.thresholds, "threshold", nil, "ROLE=N: how many of its keys must sign")
}

// signers returns what the flags say of each role.
func (s *signerFlags) signers() (map[string]repository.Signers, error) {
	found := map[string]repository.Signers{}
	var shared []identity.PublicKey
	for _, text := range s.keys {
		role, value, ok := strings.Cut(text, "=")
		if !ok {
			role, value = "", text
		} else if !slices.Contains(repository.Roles(), role) {
			return nil, fmt.Errorf("--key %s: there is no role %q: use %s", text, role, strings.Join(repository.Roles(), ", "))
		}
		key, err := readPublicKey(value)
		if err != nil {
			return nil, fmt.Errorf("--key %s: %w", text, err)
		}
		if role == "" {
			shared = append(shared, key)
			continue
		}
		of := found[role]
		of.Keys = append(of.Keys, key)
		found[role] = of
	}
	for _, role := range repository.Roles() {
		of, ok := found[role]
		if !ok && len(shared) > 0 {
			of.Keys = shared
		}
		of.Threshold = s.thresholds[role]
		if len(of.Keys) > 0 || of.Threshold != 0 {
			found[role] = of
		}
	}
	for role := range s.thresholds {
		if !slices.Contains(repository.Roles(), role) {
			return nil, fmt.Errorf("--threshold: there is no role %q: use %s", role, strings.Join(repository.Roles(), ", "))
		}
	}
	return found, nil
}

// readPublicKey reads a key that is given as such or by its file.
func readPublicKey(text string) (identity.PublicKey, error) {
	if !strings.HasPrefix(text, "mycpub1") {
		data, err := os.ReadFile(text)
		if err != nil {
			return identity.PublicKey{}, fmt.Errorf("read the public key (\"mycelium release key new FILE\" makes FILE.pub): %w", err)
		}
		text = strings.TrimSpace(string(data))
	}
	return identity.ParsePublicKey(text)
}

// signWith signs a repository with the key in a file.
func signWith(cmd *cobra.Command, r *repository.Repository, unlock *unlockFlags, path string) error {
	ids, err := unlock.ask(cmd, filepath.Base(path))
	if err != nil {
		return err
	}
	key, err := identity.ReadKey(path, ids...)
	if err != nil {
		return err
	}
	signed, err := r.Sign(key.Signer())
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Signed: %s.\n", strings.Join(signed, ", "))
	sayMissing(cmd.ErrOrStderr(), r)
	return nil
}

// sayMissing says what must be signed still, and what can be done next.
func sayMissing(w io.Writer, r *repository.Repository) {
	staged, complete := false, true
	for _, st := range r.Status() {
		if st.Staged == 0 {
			continue
		}
		staged = true
		if !st.Complete {
			complete = false
			fmt.Fprintf(w, "%s version %d has %d signatures and needs %d: of %s\n", st.Role, st.Staged, len(st.Signed), st.Threshold, joinKeys(st.Missing))
		}
	}
	switch {
	case staged && complete:
		fmt.Fprintln(w, "All is signed: \"mycelium release publish\" comes next.")
	case staged:
		fmt.Fprintln(w, "\"mycelium release sign\" with these keys comes next; the directory can be carried to their owners.")
	}
}

func joinKeys(keys []identity.PublicKey) string {
	var list []string
	for _, k := range keys {
		list = append(list, k.String())
	}
	return strings.Join(list, ", ")
}

// source is a server, or a directory.
func releaseSource(place string) release.Fetch {
	if u, err := url.Parse(place); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		return &release.HTTP{Base: place}
	}
	return release.Directory(place)
}

// trustedRoot returns the digest that was given, else that of the root file that the
// source itself has, which proves nothing about where it is from.
func trustedRoot(ctx context.Context, from release.Fetch, given string, log io.Writer) (string, error) {
	if given != "" {
		return given, nil
	}
	body, _, _, err := from.Get(ctx, "metadata/1.root.json", 1<<20, "")
	if err != nil {
		return "", fmt.Errorf("read the first root: %w", err)
	}
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(body))
	fmt.Fprintf(log, "No --root is given: taking the repository's own, %s.\n", digest)
	return digest, nil
}

// parseWaves reads "10%@0h,50%@24h,100%@72h".
func parseWaves(text string) ([]release.Wave, error) {
	var waves []release.Wave
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		percent, after, ok := strings.Cut(part, "%@")
		n, err := strconv.Atoi(percent)
		if !ok || err != nil {
			return nil, fmt.Errorf("--wave %q: want for example 10%%@0h,50%%@24h,100%%@72h", text)
		}
		d, err := time.ParseDuration(after)
		if err != nil {
			return nil, fmt.Errorf("--wave %q: %w", text, err)
		}
		waves = append(waves, release.Wave{Percent: n, After: release.Duration(d)})
	}
	return waves, nil
}

// openRepository takes up a repository of this computer.
func openRepository(dir string) (*repository.Repository, error) {
	r, err := repository.Open(dir, time.Now)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is no repository (\"mycelium release create\" makes one): %w", dir, err)
	}
	return r, err
}
