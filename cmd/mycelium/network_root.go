package main

import (
	"cmp"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/networks"
)

const rootKey = "the root key"

func newNetworkCreateCommand() *cobra.Command {
	var protect protectFlags
	o := networks.CreateOptions{}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Found a network",
		Long: `Found a network: a root key, an issuer that may certify in its name for a year,
and your own certificate as its admin.

The root key is encrypted, as a rule by a passphrase that is asked for. Enter
alone has a strong one made and shown once.`,
		Example: `  mycelium network create home
  mycelium network create home --recipient age1…`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			store, err := openStore()
			if err != nil {
				return err
			}
			if err := store.Vacant(args[0]); err != nil {
				return err
			}
			var generated string
			if o.Root, generated, err = protect.ask(cmd, rootKey); err != nil {
				return err
			}
			if err := store.Create(cmd.Context(), args[0], o); err != nil {
				return err
			}
			// First of all: whatever fails after this, the passphrase is not lost.
			if err := protect.show(cmd, generated, rootKey); err != nil {
				return err
			}
			return announce(cmd, store, args[0], "Network "+args[0]+" is founded.")
		},
	}
	protect.register(cmd, "", rootKey)
	cmd.Flags().Uint64Var(&o.Quota, "quota", networks.DefaultQuota, "certificates that the issuer may make, and that of the servers as many again")
	cmd.Flags().StringVar(&o.Operator, "operator", loginName(), "your name in your certificate")
	return cmd
}

// announce says what a new network is, and makes the first one the current one.
func announce(cmd *cobra.Command, store *networks.Store, name, what string) error {
	n, err := store.Open(cmd.Context(), name)
	if err != nil {
		return err
	}
	w := cmd.ErrOrStderr()
	fmt.Fprintf(w, "%s\n  id         %s\n  directory  %s\n", what, n.Verifier.Network(), n.Dir)
	if n.Issuer != nil {
		fmt.Fprintf(w, "  root key   %s: back it up away from this computer\n", n.RootPath())
	}
	n.Close()
	if now, err := current(); err != nil || now != "" {
		return err
	}
	fmt.Fprintf(w, "It is the current network now.\n")
	return setCurrent(name)
}

// loginName is the user's name as far as a certificate can show it.
func loginName() string {
	u, err := user.Current()
	if err != nil {
		return "operator"
	}
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, strings.ToLower(u.Username))
	return cmp.Or(strings.TrimLeft(name[:min(len(name), 63)], "-"), "operator")
}

// rootFlags say where the root key is and what opens it.
type rootFlags struct {
	unlockFlags
	path string
}

func (r *rootFlags) register(cmd *cobra.Command) {
	r.unlockFlags.register(cmd, rootKey)
	cmd.Flags().StringVar(&r.path, "root-key", "", "the root key's file (default: the one in the network's directory)")
}

func newNetworkDelegateCommand(flags *contextFlags) *cobra.Command {
	var root rootFlags
	var quota uint64
	var servers bool
	cmd := &cobra.Command{
		Use:   "delegate",
		Short: "Let the issuer certify for another year, with a new quota (needs the root key)",
		Long: `Let the issuer certify for another year, with a new quota.

With --for-servers a new issuer is made for the network's servers instead: the
next node that is enrolled as a founder gets its key.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, key, err := root.open(cmd, flags)
			if err != nil {
				return err
			}
			defer n.Close()
			if servers {
				if err := n.DelegateServers(key, quota); err != nil {
					return err
				}
				d, _ := n.ServersDelegation()
				_, err = fmt.Fprintf(cmd.ErrOrStderr(), "The servers' issuer of %s may make %d certificates until %s. The next founder gets it.\n", n.Name, d.Count, day(d.NotAfter))
				return err
			}
			if err := n.Delegate(key, quota); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "The issuer of %s may make %d certificates until %s.\n", n.Name, n.Issuer.Left(), day(n.Issuer.Delegation().NotAfter))
			return err
		},
	}
	flags.register(cmd)
	root.register(cmd)
	cmd.Flags().Uint64Var(&quota, "quota", networks.DefaultQuota, "certificates that the issuer may make")
	cmd.Flags().BoolVar(&servers, "for-servers", false, "make an issuer for the network's servers")
	return cmd
}

// open asks for what opens the root key, then takes up the network and decrypts it.
func (r *rootFlags) open(cmd *cobra.Command, flags *contextFlags) (*networks.Network, identity.PrivateKey, error) {
	n, err := flags.openStale(cmd) // is it there, and whole?
	if err != nil {
		return nil, identity.PrivateKey{}, err
	}
	n.Close()
	if n.Issuer == nil {
		return nil, identity.PrivateKey{}, n.CanIssue()
	}
	ids, err := r.ask(cmd, "the root key of "+n.Name) // others may use the network meanwhile
	if err != nil {
		return nil, identity.PrivateKey{}, err
	}
	if n, err = flags.openStale(cmd); err != nil {
		return nil, identity.PrivateKey{}, err
	}
	key, err := n.Unlock(r.path, ids...)
	if err != nil {
		n.Close()
		return nil, identity.PrivateKey{}, err
	}
	return n, key, nil
}

func newNetworkRotateCommand(flags *contextFlags) *cobra.Command {
	var root rootFlags
	var protect protectFlags
	var overlap time.Duration
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the root key by a new one (needs the root key)",
		Long: `Replace the root key by a new one. The network keeps its id and its members.

Both keys count until --overlap has passed. Certificates under the old key must
be renewed within that time, so it should not be less than the 30 days for which
they are valid.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if overlap < time.Second {
				return fmt.Errorf("--overlap %v: give the members time to renew, at best 720h", overlap)
			}
			to, generated, err := protect.ask(cmd, "the new root key")
			if err != nil {
				return err
			}
			n, key, err := root.open(cmd, flags)
			if err != nil {
				return err
			}
			defer n.Close()
			// Before the key is in force: whatever fails then, the passphrase is not lost.
			if err := protect.show(cmd, generated, "the new root key"); err != nil {
				return err
			}
			old := n.RootPath()
			if err := n.Rotate(key, overlap, to...); err != nil {
				return err
			}
			roots := n.Roots()
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "Root key %d of %s is in force: back up %s.\n%s counts until %s; destroy it and its copies after that.\n",
				len(roots), n.Name, n.Dir, old, day(*roots[len(roots)-2].Until))
			return err
		},
	}
	flags.register(cmd)
	root.register(cmd)
	protect.register(cmd, "new-", "the new root key")
	cmd.Flags().DurationVar(&overlap, "overlap", networks.CertificateValidity, "how long the old root key counts")
	return cmd
}

func newNetworkRevokeCommand(flags *contextFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke KEY|SERIAL",
		Short: "Take back what a member's key, or one certificate, allows",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var key identity.PublicKey
			serial, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				if key, err = identity.ParsePublicKey(args[0]); err != nil {
					return fmt.Errorf("revoke: want a key (mycpub1…) or a serial number: %w", err)
				}
			}
			n, err := flags.open(cmd)
			if err != nil {
				return err
			}
			defer n.Close()
			if err := n.Revoke(key, serial); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s is revoked in %s. Access cannot be given back to it, only to a new one.\n", args[0], n.Name)
			return err
		},
	}
	flags.register(cmd)
	return cmd
}
