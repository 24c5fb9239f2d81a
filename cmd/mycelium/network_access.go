package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/networks"
)

const accessFile = "the access file"

func newInviteCommand() *cobra.Command {
	flags := &contextFlags{}
	var role string
	var uses int
	var valid time.Duration
	var local bool
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Make a token with which a machine can join a network",
		Long: `Make a token with which a machine can join a network, and print it alone on
standard output. Whoever has it can join: hand it on as you would a password.

It comes from a node that admits newcomers. While the network has no node, or
with --local, it comes from the issuer on this computer.`,
		Example: "  mycelium invite --role agent --uses 3 > token",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var r identity.NodeRole
			if err := r.UnmarshalText([]byte(role)); err != nil || r < identity.Agent {
				return fmt.Errorf("--role %q: use server or agent", role)
			}
			token, by, err := invite(cmd, flags, local, inviteTerms{r, uses, valid})
			if err != nil {
				return err
			}
			inv := token.Invite()
			name, err := flags.name()
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Invite %016x to %s by %s for a machine as %s, uses: %d, until %s. Whoever has the token can use it:\n",
				inv.ID, name, by, role, inv.Uses, day(inv.Expires))
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token.Reveal())
			return err
		},
	}
	flags.register(cmd)
	f := cmd.Flags()
	f.StringVar(&role, "role", "agent", "what the machine may be: server or agent")
	f.IntVar(&uses, "uses", 1, fmt.Sprintf("machines that can join with it, up to %d", identity.MaxInviteUses))
	f.DurationVar(&valid, "valid", 24*time.Hour, fmt.Sprintf("how long it can be used, up to %v", identity.MaxInviteLifetime))
	f.BoolVar(&local, "local", false, "by the issuer on this computer, where no machine asks for admission")
	complete(cmd, "role", "server", "agent")
	return cmd
}

// inviteTerms are what an invite allows.
type inviteTerms struct {
	role  identity.NodeRole
	uses  int
	valid time.Duration
}

// check says what is wrong with the terms, as an issuer would.
func (t inviteTerms) check() error {
	if t.uses < 1 || t.uses > identity.MaxInviteUses {
		return fmt.Errorf("--uses %d: want 1 to %d", t.uses, identity.MaxInviteUses)
	}
	if t.valid < time.Second || t.valid > identity.MaxInviteLifetime {
		return fmt.Errorf("--valid %v: want a second at least and %v at most", t.valid, identity.MaxInviteLifetime)
	}
	return nil
}

// invite makes a token and says who is to admit with it.
func invite(cmd *cobra.Command, flags *contextFlags, local bool, t inviteTerms) (token identity.Token, by string, err error) {
	if err := t.check(); err != nil {
		return token, "", err
	}
	if !local {
		fl, err := flags.openFleet(cmd)
		if err != nil {
			return token, "", err
		}
		if len(fl.book) > 0 {
			return inviteByNode(cmd, fl, t)
		}
		fmt.Fprintln(cmd.ErrOrStderr(), "No node is known that admits newcomers: the token is by the issuer on this computer, and no machine can join with it\nbefore one does. Let the first node in with: mycelium node enrol ADDRESS")
	}
	n, err := flags.open(cmd)
	if err != nil {
		return token, "", err
	}
	defer n.Close()
	token, err = n.Invite(t.role, t.uses, t.valid)
	return token, "this computer", err
}

// inviteByNode asks the nodes that admit newcomers, one after the other.
func inviteByNode(cmd *cobra.Command, fl *fleet, t inviteTerms) (identity.Token, string, error) {
	var errs []error
	known := fl.known(cmd.Context())
	for _, n := range known {
		if !n.Issuer {
			continue
		}
		a := ask(cmd, fl, []nodeRef{n}, func(ctx context.Context, c nodeClient) (identity.Token, error) {
			return c.Invite(ctx, t.role, t.uses, t.valid)
		})[0]
		if a.err == nil {
			return *a.Result, n.Name, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", n.Name, a.err))
	}
	switch {
	case len(errs) > 0:
		return identity.Token{}, "", fmt.Errorf("invite to %q: %w", fl.name, errors.Join(errs...))
	case len(fl.heard) == 0:
		return identity.Token{}, "", fmt.Errorf("invite to %q: no node answers: %s; --local makes a token all the same", fl.name, strings.Join(refNames(known), ", "))
	}
	return identity.Token{}, "", fmt.Errorf("invite to %q: none of its nodes admits newcomers: %s; --local makes a token all the same", fl.name, strings.Join(refNames(known), ", "))
}

func newNetworkCertificateCommand(flags *contextFlags) *cobra.Command {
	var protect protectFlags
	var role, name, publicKey, out string
	cmd := &cobra.Command{
		Use:   "certificate --role reader|operator|admin --name NAME (--public-key KEY | --out FILE)",
		Short: "Give another person access to the network",
		Long: `Give another person access to the network: make an access file, which that
person imports.

With --public-key, which the person gets from "mycelium network key", the file
holds nothing secret and serves nobody else. Without it a key is made here and
goes into the file, encrypted by a passphrase or to an age recipient.`,
		Example: `  mycelium network certificate --role operator --name bob --public-key mycpub1… --out bob.access
  mycelium network certificate --role reader --name eve --out eve.access --recipient age1…`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var r identity.APIRole
			if err := r.UnmarshalText([]byte(role)); err != nil || r == identity.NoAPI {
				return fmt.Errorf("--role %q: use reader, operator or admin", role)
			}
			if err := networks.CheckName(name); err != nil {
				return fmt.Errorf("--name: %w", err)
			}
			if out != "" { // before a serial number is spent
				if _, err := os.Lstat(out); err == nil {
					return fmt.Errorf("write %s %s: %w: choose another name", accessFile, out, os.ErrExist)
				}
			}
			if publicKey != "" {
				return grantKey(cmd, flags, publicKey, name, r, out)
			}
			if out == "" {
				return errors.New("name the person's key with --public-key, or the file for a new one with --out")
			}
			to, generated, err := protect.ask(cmd, accessFile)
			if err != nil {
				return err
			}
			return writeAccess(cmd, flags, out, func(n *networks.Network) ([]byte, error) {
				data, err := n.Grant(name, r, to...)
				if err == nil {
					err = protect.show(cmd, generated, accessFile)
				}
				return data, err
			})
		},
	}
	flags.register(cmd)
	protect.register(cmd, "", accessFile)
	f := cmd.Flags()
	f.StringVar(&role, "role", "", "what the person may do: reader, operator or admin")
	f.StringVar(&name, "name", "", "the person's name in the certificate")
	f.StringVar(&publicKey, "public-key", "", "the person's key (mycpub1…)")
	f.StringVar(&out, "out", "", "file to write (with --public-key: standard output when absent)")
	for _, flag := range []string{"passphrase-file", "recipient", "generate-passphrase"} {
		cmd.MarkFlagsMutuallyExclusive("public-key", flag)
	}
	for _, flag := range []string{"role", "name"} {
		if err := cmd.MarkFlagRequired(flag); err != nil {
			panic(err) // a misspelt name above
		}
	}
	complete(cmd, "role", "reader", "operator", "admin")
	return cmd
}

func grantKey(cmd *cobra.Command, flags *contextFlags, publicKey, name string, role identity.APIRole, out string) error {
	key, err := identity.ParsePublicKey(publicKey)
	if err != nil {
		return fmt.Errorf("--public-key: %w", err)
	}
	return writeAccess(cmd, flags, out, func(n *networks.Network) ([]byte, error) { return n.GrantKey(key, name, role) })
}

// writeAccess writes an access file to out, or standard output.
func writeAccess(cmd *cobra.Command, flags *contextFlags, out string, grant func(*networks.Network) ([]byte, error)) error {
	n, err := flags.open(cmd)
	if err != nil {
		return err
	}
	defer n.Close()
	data, err := grant(n)
	if err != nil {
		return err
	}
	if out == "" {
		_, err = cmd.OutOrStdout().Write(data)
	} else if err = durable.CreateFile(out, data, 0o600); err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "Wrote %s.\n", out)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", accessFile, err)
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "Its receiver runs: mycelium network import FILE\nand compares the id: %s\n", n.Verifier.Network())
	return err
}

func newNetworkKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "key",
		Short: "Show the public key under which you can be given access to a network",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := openStore()
			if err != nil {
				return err
			}
			key, err := store.Self(cmd.Context())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), key)
			return err
		},
	}
}

func newNetworkImportCommand() *cobra.Command {
	var unlock unlockFlags
	var name string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take up access to a network that its admin has handed over",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := openStore()
			if err != nil {
				return err
			}
			if name != "" {
				if err := store.Vacant(name); err != nil {
					return err
				}
			}
			data, err := readAccess(args[0])
			if err != nil {
				return err
			}
			var ids []age.Identity
			if networks.Encrypted(data) {
				if ids, err = unlock.ask(cmd, filepath.Base(args[0])); err != nil {
					return err
				}
			}
			taken, err := store.Import(cmd.Context(), name, data, ids...)
			if err != nil {
				return err
			}
			return announce(cmd, store, taken, "You have access to the network "+taken+". Compare its id with its admin's.")
		},
	}
	unlock.register(cmd, accessFile)
	cmd.Flags().StringVar(&name, "name", "", "your name for the network (default: its admin's)")
	return cmd
}

func readAccess(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", accessFile, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", accessFile, err)
	}
	return data, nil
}
