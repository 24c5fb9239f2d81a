package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/plaintext"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/networks"
)

// enrolOptions say as what a machine is let in.
type enrolOptions struct {
	contextFlags
	role        string
	found       bool
	fingerprint string
	timeout     time.Duration
}

func newNodeEnrolCommand() *cobra.Command {
	var o enrolOptions
	cmd := &cobra.Command{
		Use:   "enrol ADDRESS",
		Short: "Let a machine into the network that belongs to nobody yet",
		Long: `Let a machine into the network that belongs to nobody yet.

The machine shows its key on its screen and on its serial console. Compare the
two: whoever stands between you and the machine cannot show the same.

The first one founds the network's cluster and lets others in by invite.`,
		Example: "  mycelium node enrol 192.168.1.20\n  mycelium node enrol 192.168.1.21 --role server --fingerprint mycpub1…",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return enrol(cmd, o, withPort(args[0]), cmd.Flags().Changed("found"))
		},
	}
	o.register(cmd)
	f := cmd.Flags()
	f.StringVar(&o.role, "role", "", "what the machine may be: server or agent (default server for the first one, then agent)")
	f.BoolVar(&o.found, "found", false, "begin a new cluster (default for the first one)")
	f.StringVar(&o.fingerprint, "fingerprint", "", "the key that the machine's screen shows (mycpub1…), instead of comparing")
	f.DurationVar(&o.timeout, "timeout", 3*time.Minute, "how long to wait until it answers as a member; 0 does not wait")
	complete(cmd, "role", "server", "agent")
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	return cmd
}

func enrol(cmd *cobra.Command, o enrolOptions, address string, foundGiven bool) error {
	check, err := o.check()
	if err != nil {
		return err
	}
	options, id, err := o.prepare(cmd, address, foundGiven)
	if err != nil {
		return err
	}
	key, description, err := meet(cmd, address, id, check)
	if err != nil {
		return err
	}
	errOut := cmd.ErrOrStderr()
	fmt.Fprintf(errOut, "The machine at %s is %s, %s on %s. Its key is\n\n  %s\n\n", address,
		plaintext.Line(description.Name), plaintext.Line(description.Version), plaintext.Line(description.Board), key)
	if o.fingerprint == "" {
		fmt.Fprint(errOut, "Is that the key on the machine's screen? Type yes to let it in: ")
		line, err := readLine(cmd)
		if err != nil {
			return err
		}
		if line != "yes" {
			return errors.New("the machine is not let in: \"yes\" was not typed (--fingerprint KEY does not ask)")
		}
	}
	options.Check = func(k identity.PublicKey) error { return sameKey(k, key) }
	n, err := o.open(cmd)
	if err != nil {
		return err
	}
	node, err := n.Enrol(cmd.Context(), options)
	n.Close()
	if err != nil {
		return err
	}
	fmt.Fprintf(errOut, "%s is let in as %s of %s.\n", node.Name, options.Role, n.Name)
	if err := o.waitForMember(cmd, node); err != nil {
		return fmt.Errorf("%s is let in, but %w", node.Name, err)
	}
	fmt.Fprintln(errOut, "See how it goes on: mycelium node list, or mycelium dashboard. Let others in: mycelium invite")
	return nil
}

// check returns what judges the key that the machine shows.
func (o *enrolOptions) check() (func(identity.PublicKey) error, error) {
	if o.fingerprint == "" {
		return func(identity.PublicKey) error { return nil }, nil
	}
	want, err := identity.ParsePublicKey(o.fingerprint)
	if err != nil {
		return nil, fmt.Errorf("--fingerprint: %w", err)
	}
	return func(k identity.PublicKey) error { return sameKey(k, want) }, nil
}

func sameKey(got, want identity.PublicKey) error {
	if got != want {
		return fmt.Errorf("%w: the machine has the key %s, not %s: another one answers at that address", identity.ErrWrongPeer, got, want)
	}
	return nil
}

// prepare decides what follows from the state of the network.
func (o *enrolOptions) prepare(cmd *cobra.Command, address string, foundGiven bool) (networks.EnrolOptions, identity.NetworkID, error) {
	n, err := o.open(cmd)
	if err != nil {
		return networks.EnrolOptions{}, identity.NetworkID{}, err
	}
	defer n.Close()
	if err := n.CanIssue(); err != nil {
		return networks.EnrolOptions{}, identity.NetworkID{}, err
	}
	issuer, handedOver := n.ServersDelegation()
	first := len(n.Nodes()) == 0 && issuer != nil && !handedOver
	found := o.found || first && !foundGiven && o.role != identity.Agent.String()
	role := identity.Agent
	if found {
		role = identity.Server
	}
	if o.role != "" {
		if err := role.UnmarshalText([]byte(o.role)); err != nil || role < identity.Agent {
			return networks.EnrolOptions{}, identity.NetworkID{}, fmt.Errorf("--role %q: use server or agent", o.role)
		}
	}
	if found && role != identity.Server {
		return networks.EnrolOptions{}, identity.NetworkID{}, errors.New("--found is for a server: leave out --role agent")
	}
	return networks.EnrolOptions{Address: address, Role: role, Found: found, Peers: peerAddresses(n.Nodes())}, n.Verifier.Network(), nil
}

// peerAddresses are those of known nodes that others may reach as well.
func peerAddresses(nodes []networks.Node) []string {
	var out []string
	for _, n := range nodes {
		for _, a := range n.Addresses {
			host, _, err := net.SplitHostPort(a)
			if ip := net.ParseIP(host); err == nil && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
				out = append(out, a)
			}
		}
	}
	return out
}

// meet asks the machine who it is.
func meet(cmd *cobra.Command, address string, id identity.NetworkID, check func(identity.PublicKey) error) (identity.PublicKey, api.Description, error) {
	var key identity.PublicKey
	c := api.NewEnrolmentClient(address, func(k identity.PublicKey) error {
		key = k
		return check(k)
	})
	defer c.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), patient)
	defer cancel()
	w := beginWaiting(cmd, []nodeRef{{Name: address}})
	d, err := c.Describe(ctx, id)
	w.stop()
	if err != nil {
		err = fmt.Errorf("ask the machine at %s who it is: %w (a machine that has a network already offers no enrolment)", address, err)
	}
	return key, d, err
}

// waitForMember waits until a node that was let in says so itself.
func (o *enrolOptions) waitForMember(cmd *cobra.Command, node networks.Node) error {
	if o.timeout == 0 {
		return nil
	}
	fl, err := o.openFleet(cmd)
	if err != nil {
		return err
	}
	n := nodeRef{Name: node.Name, Key: node.Key, Addresses: node.Addresses}
	w := beginWaiting(cmd, []nodeRef{n})
	defer w.stop()
	return poll(cmd.Context(), o.timeout, func(ctx context.Context) (bool, error) {
		s, err := call(ctx, fl, n, func(ctx context.Context, c nodeClient) (*api.Status, error) { return c.Status(ctx) })
		if err != nil {
			return false, fmt.Errorf("it does not answer as a member: %w", err)
		}
		state := cmp.Or(s.Membership.State, "unknown")
		return strings.EqualFold(state, api.Member), fmt.Errorf("its membership is %s", state)
	})
}
