package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/networks"
)

// bundleSuffix is that of a support bundle: a tar, compressed by zstd, encrypted
// by age.
const bundleSuffix = ".tar.zst.age"

func newSupportCommand() *cobra.Command {
	var flags nodeFlags
	var file string
	var recipients []string
	cmd := &cobra.Command{
		Use:   "support",
		Short: "Fetch what helps to find a fault on a node, encrypted",
		Long: `Fetch what helps to find a fault on a node: logs, events, status, processes and
configuration, without secrets. The node encrypts it to the recipients, without
any to you: "mycelium support decrypt FILE" opens it on this computer.`,
		Example: "  mycelium support -n node-1\n  mycelium support -n node-1 --recipient age1… --output-file bundle.tar.zst.age",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fl, nodes, err := flags.acting(cmd)
			if err != nil {
				return err
			}
			if len(recipients) == 0 {
				if recipients, err = flags.ownRecipients(cmd); err != nil {
					return err
				}
			} else if _, err := age.ParseRecipients(strings.NewReader(strings.Join(recipients, "\n"))); err != nil {
				return errors.New("read --recipient: it is not an age recipient (age1…): age-keygen -y shows that of an identity")
			}
			paths, err := bundlePaths(nodes, file, time.Now())
			if err != nil {
				return err
			}
			w := beginWaiting(cmd, nodes)
			defer w.stop()
			return act(cmd, fl, nodes, func(ctx context.Context, n nodeRef, c nodeClient, say sayFunc) error {
				defer w.done(n.Name)
				return fetchBundle(ctx, c, recipients, paths[n.Name], say)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVarP(&file, "output-file", "O", "", "file to write, for several nodes a directory (default NODE-TIME"+bundleSuffix+" here)")
	cmd.Flags().StringArrayVar(&recipients, "recipient", nil, "encrypt to this age recipient (age1…) instead of yourself; may be repeated")
	cmd.AddCommand(newSupportDecryptCommand())
	return cmd
}

// ownRecipients are those of the network's own age identity on this computer.
func (f *contextFlags) ownRecipients(cmd *cobra.Command) ([]string, error) {
	ids, err := f.ownIdentities(cmd)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, id := range ids {
		if x, ok := id.(*age.X25519Identity); ok {
			out = append(out, x.Recipient().String())
		}
	}
	return out, nil
}

// ownIdentities opens what was encrypted to the operator of the network.
func (f *contextFlags) ownIdentities(cmd *cobra.Command) ([]age.Identity, error) {
	n, err := f.openStale(cmd)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	return networks.ReadIdentities(filepath.Join(n.Dir, "local.key"))
}

// bundlePaths says where the bundle of each node goes, by its name.
func bundlePaths(nodes []nodeRef, file string, now time.Time) (map[string]string, error) {
	dir := ""
	if file != "" {
		fi, err := os.Stat(file)
		switch {
		case err == nil && fi.IsDir():
			dir = file
		case len(nodes) == 1:
			return map[string]string{nodes[0].Name: file}, nil
		case err == nil || !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("--output-file %s: for several nodes it must be a directory", file)
		default:
			if err := os.Mkdir(file, 0o700); err != nil {
				return nil, fmt.Errorf("make the directory for the bundles: %w", err)
			}
			dir = file
		}
	}
	out := map[string]string{}
	for _, n := range nodes {
		name := strings.Map(func(r rune) rune {
			if strings.ContainsRune("/\\:[]", r) {
				return '-'
			}
			return r
		}, n.Name)
		out[n.Name] = filepath.Join(dir, name+"-"+now.UTC().Format("20060102T150405Z")+bundleSuffix)
	}
	return out, nil
}

func fetchBundle(ctx context.Context, c nodeClient, recipients []string, path string, say sayFunc) error {
	r, err := c.SupportBundle(ctx, recipients)
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := writeStream(path, r)
	if err != nil {
		return fmt.Errorf("write the support bundle: %w", err)
	}
	say("%s, %s", path, size(uint64(n)))
	return nil
}

// writeStream writes r to the new file path, which appears when it is whole.
func writeStream(path string, r io.Reader) (n int64, err error) {
	if _, err := os.Lstat(path); err == nil {
		return 0, fmt.Errorf("%s: %w: choose another name", path, fs.ErrExist)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".write-*")
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Link(f.Name(), path) // unlike a renaming, never over another file
	}
	return n, errors.Join(err, os.Remove(f.Name()))
}

func newSupportDecryptCommand() *cobra.Command {
	flags := &contextFlags{}
	var file, identityFile string
	cmd := &cobra.Command{
		Use:   "decrypt FILE",
		Short: "Decrypt a support bundle that was made for you",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := file
			if out == "" {
				var encrypted bool
				if out, encrypted = strings.CutSuffix(args[0], ".age"); !encrypted {
					return fmt.Errorf("%s does not end with .age: say with --output-file where to write", args[0])
				}
			}
			ids, err := identities(cmd, flags, identityFile)
			if err != nil {
				return err
			}
			in, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("read the support bundle: %w", err)
			}
			defer in.Close()
			plain, err := age.Decrypt(in, ids...)
			if errors.Is(err, age.ErrIncorrectIdentity) {
				return fmt.Errorf("decrypt %s: it was not made for this network's operator on this computer: choose another --network, or the right --identity FILE", args[0])
			}
			if err != nil {
				return fmt.Errorf("decrypt %s: it is no support bundle or damaged: fetch it again: %w", args[0], err)
			}
			if _, err := writeStream(out, plain); err != nil {
				return fmt.Errorf("write the support bundle: %w", err)
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "Wrote %s: tar --zstd -tf %s\n", out, out)
			return err
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVarP(&file, "output-file", "O", "", "file to write (default FILE without .age)")
	cmd.Flags().StringVar(&identityFile, "identity", "", "open it with the age identities in this file")
	return cmd
}

func identities(cmd *cobra.Command, flags *contextFlags, file string) ([]age.Identity, error) {
	if file != "" {
		return networks.ReadIdentities(file)
	}
	return flags.ownIdentities(cmd)
}
