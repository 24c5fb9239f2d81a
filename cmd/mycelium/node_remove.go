package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/kubenode"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
)

// removal is the removal of one node.
type removal struct {
	flags   *contextFlags
	fleet   *fleet
	node    nodeRef
	others  []nodeRef // the network's other nodes
	force   bool
	timeout time.Duration
	say     func(string)
}

func newNodeRemoveCommand() *cobra.Command {
	flags := &nodeFlags{}
	var force, yes bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Take a node out of the network for good",
		Long: `Take a node out of the network for good: move its pods away, delete it from the
cluster and take its certificate back. No member talks to it any more. To come
back it has to be reset (mycelium node reset --all) and let in again.

With --force a node that is dead is removed: its pods are not moved, Kubernetes
makes them anew elsewhere.`,
		Example: "  mycelium node remove node-3",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			fl, err := flags.openFleet(cmd)
			if err != nil {
				return err
			}
			r := &removal{flags: &flags.contextFlags, fleet: fl, force: force, timeout: timeout, say: func(s string) {
				fmt.Fprintln(cmd.ErrOrStderr(), s)
			}}
			if err := r.find(cmd.Context(), args[0]); err != nil {
				return err
			}
			if err := confirm(cmd, yes, fmt.Sprintf("This takes %s (%s) out of %s for good.", r.node.Name, r.node.Key, fl.name), []string{r.node.Name}); err != nil {
				return err
			}
			return r.run(cmd)
		},
	}
	flags.contextFlags.register(cmd)
	f := cmd.Flags()
	f.BoolVar(&force, "force", false, "the node is dead: do not move its pods")
	f.BoolVar(&yes, "yes", false, "do not ask")
	f.DurationVar(&timeout, "timeout", 5*time.Minute, "how long pods may take to move")
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, _ := flags.complete(cmd, args, typed)
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// find finds out which node is meant, and who else is there.
func (r *removal) find(ctx context.Context, word string) error {
	known := r.fleet.known(ctx)
	n, err := r.fleet.find(ctx, word)
	if err != nil {
		return err
	}
	if !n.known() {
		s, err := call(ctx, r.fleet, n, func(ctx context.Context, c nodeClient) (*api.Status, error) { return c.Status(ctx) })
		if err != nil {
			return fmt.Errorf("%s: find out its key: %w", n.Name, err)
		}
		if n.Key, err = identity.ParsePublicKey(s.Membership.Key); err != nil {
			return fmt.Errorf("%s: find out its key: %w", n.Name, err)
		}
		n.Name, n.Mesh = s.Name, s.Membership.Address
	}
	if i := slices.IndexFunc(known, func(k nodeRef) bool { return k.Key == n.Key }); i >= 0 {
		n = known[i]
	}
	r.node = n
	r.others = slices.DeleteFunc(known, func(k nodeRef) bool { return k.Key == n.Key || len(k.Addresses) == 0 })
	if len(r.others) == 0 {
		return fmt.Errorf("%s is the only node of %q that is known: there is nothing to take it out of. Wipe it with \"mycelium node reset --all\"", n.Name, r.fleet.name)
	}
	return nil
}

func (r *removal) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if err := r.leaveCluster(cmd); err != nil {
		return err
	}
	r.say("Taking its certificate back")
	if err := r.revoke(cmd); err != nil {
		return err
	}
	if err := r.waitUntilGone(ctx); err != nil {
		return err
	}
	n, err := r.flags.openStale(cmd)
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.RemoveNode(r.node.Key); err != nil {
		return err
	}
	r.say(fmt.Sprintf("%s is removed from %s.", r.node.Name, r.fleet.name))
	return nil
}

// leaveCluster drains the node and deletes it from Kubernetes.
func (r *removal) leaveCluster(cmd *cobra.Command) error {
	ctx := cmd.Context()
	hint := func(err error) error {
		return fmt.Errorf("%w\nNothing is taken back yet. With --force its pods are not moved", err)
	}
	client, err := r.flags.kubernetesClient(cmd, r.fleet, r.others)
	if err != nil {
		return fmt.Errorf("reach the cluster: %w: the node stays until it can be deleted there as well", err)
	}
	node, err := kubenode.Find(ctx, client, r.node.Mesh, r.node.Name)
	if errors.Is(err, kubenode.ErrNotFound) {
		r.say("The cluster does not know it (any more)")
		return nil
	}
	if err != nil {
		return err
	}
	if !r.force {
		r.say("Moving its pods away")
		if err := kubenode.Drain(ctx, client, node, r.timeout, func(s string) { r.say("  " + s) }); err != nil {
			return hint(err)
		}
	}
	r.say("Deleting it from the cluster")
	return kubenode.Delete(ctx, client, node)
}

// revoke takes the node's certificate back at every issuer, because only the one
// that has made it can: the nodes that admit, and this computer.
func (r *removal) revoke(cmd *cobra.Command) error {
	ctx := cmd.Context()
	var errs []error
	done := 0
	for _, n := range r.others {
		if !n.Issuer {
			continue
		}
		if _, err := call(ctx, r.fleet, n, func(ctx context.Context, c nodeClient) (struct{}, error) {
			return struct{}{}, c.Revoke(ctx, r.node.Key)
		}); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", n.Name, err))
			continue
		}
		done++
	}
	n, err := r.flags.open(cmd)
	if err != nil {
		return err
	}
	var s api.Statements
	if n.Issuer != nil {
		err = n.Revoke(r.node.Key, 0)
		s.Rotations, s.Revocations = n.Verifier.Statements()
	}
	n.Close()
	if err != nil {
		errs = append(errs, err)
	}
	if len(s.Revocations) > 0 {
		if err := r.spread(ctx, s); err != nil {
			errs = append(errs, err)
		} else {
			done++
		}
	}
	if done == 0 {
		return fmt.Errorf("take the certificate of %s back: nobody could: %w", r.node.Name, errors.Join(append(errs, errNoIssuerReached)...))
	}
	for _, err := range errs {
		r.say("Note: " + err.Error())
	}
	return nil
}

var errNoIssuerReached = errors.New("an issuer must do it: a node that admits newcomers, or the computer that the network was founded on")

// spread hands statements to one of the other nodes; members tell each other.
func (r *removal) spread(ctx context.Context, s api.Statements) error {
	var errs []error
	for _, n := range r.others {
		_, err := call(ctx, r.fleet, n, func(ctx context.Context, c nodeClient) (struct{}, error) {
			ctx, cancel := context.WithTimeout(ctx, patient)
			defer cancel()
			return struct{}{}, c.AddStatements(ctx, s)
		})
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", n.Name, err))
	}
	return errors.Join(errs...)
}

// forgetTime is how long the others may take to learn of a revocation.
const forgetTime = time.Minute

// waitUntilGone waits until one of the others does not count the node as a member.
func (r *removal) waitUntilGone(ctx context.Context) error {
	err := poll(ctx, forgetTime, func(ctx context.Context) (bool, error) {
		last := errors.New("no other node answers")
		for _, n := range r.others {
			peers := r.fleet.membersOf(ctx, n)
			if len(peers) == 0 {
				continue
			}
			if !slices.ContainsFunc(peers, func(p nodeRef) bool { return p.Key == r.node.Key }) {
				return true, nil
			}
			last = fmt.Errorf("%s still counts it as a member", n.Name)
		}
		return false, last
	})
	if err != nil {
		return fmt.Errorf("%s is deleted from the cluster, but %w: its certificate may be by an issuer that was not reached; run this again where that one answers", r.node.Name, err)
	}
	return nil
}
