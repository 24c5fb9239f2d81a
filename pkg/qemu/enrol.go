package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/networks"
)

const (
	// enrolPatience is how long a node that shows its key may fail to answer.
	enrolPatience = time.Minute
	// inviteLifetime is ample for machines that are started at once.
	inviteLifetime = 24 * time.Hour
)

// EnrolOptions say as what a node is enrolled.
type EnrolOptions struct {
	// Role is the most that it may be.
	Role identity.NodeRole
	// Found has it begin a new cluster.
	Found bool
	// Peers are where the other members' machine APIs are, from the node's side.
	Peers []string
}

// Enrol makes the running node a member of its operator's network when it is none:
// it waits until the node's console shows the fingerprint of its key, and hands it
// a certificate for that key. It returns when the node answers as a member. A node
// that has an invite comes by itself. Each observation goes to see, unless that is
// nil.
func (n *Node) Enrol(ctx context.Context, o EnrolOptions, see func(Observation)) error {
	if n.Spec().Identity == (Identity{}) {
		return fmt.Errorf("enrol node %s: it was made without a network that it could be a member of", n.name)
	}
	observer := n.Observe()
	defer observer.Close()
	e := enrolment{node: n, options: o, byInvite: n.invited()}
	var last Observation
	err := observer.Follow(ctx, func(seen Observation) bool {
		last = seen
		if see != nil {
			see(seen)
		}
		return e.step(ctx, seen)
	})
	switch {
	case err == nil && last.Status != nil:
		return nil
	case err == nil && !last.Running:
		err = outputError(n.path(outputFile), errEndedEarly)
	case err == nil && e.err == nil:
		err = errors.New("its boot cannot go on")
	}
	console, readErr := n.ConsoleLog()
	return &WaitError{
		Condition: "a member of its network", Last: last, Console: LastLines(console, 12),
		Err: errors.Join(err, e.err, readErr),
	}
}

// enrolment is one under way.
type enrolment struct {
	node     *Node
	options  EnrolOptions
	byInvite bool
	// boot is the one in which the node was handed its certificate, from 1.
	boot  int
	since time.Time // of the first attempt
	err   error     // of the last one
}

// step does what the observation calls for, and reports whether to go on.
func (e *enrolment) step(ctx context.Context, seen Observation) bool {
	switch {
	case !seen.Running || seen.Status != nil || seen.Boot.End() != "":
		return false
	case e.byInvite || seen.Boot.Key == (identity.PublicKey{}) || e.boot == seen.Boot.Boots:
		return true
	case e.since.IsZero():
		e.since = time.Now()
	}
	if e.err = e.node.push(ctx, seen.Boot.Key, e.options); e.err == nil {
		e.boot = seen.Boot.Boots
	}
	return e.err == nil || time.Since(e.since) < enrolPatience
}

// push hands the node with the key that its console shows what makes it a member.
func (n *Node) push(ctx context.Context, shown identity.PublicKey, o EnrolOptions) error {
	address, err := n.apiAddress()
	if err != nil {
		return err
	}
	err = n.Spec().Identity.use(ctx, func(id *networks.Network) error {
		if err := renewServersIssuer(id, o.Found); err != nil {
			return err
		}
		_, err := id.Enrol(ctx, networks.EnrolOptions{
			Address: address, Role: o.Role, Found: o.Found, Peers: o.Peers,
			Check: func(key identity.PublicKey) error {
				if key != shown {
					return fmt.Errorf("%w: the node shows the key %s, its console %s", identity.ErrWrongPeer, key, shown)
				}
				return nil
			},
		})
		return err
	})
	if err != nil {
		return err
	}
	return n.remember(ctx, shown)
}

// renewServersIssuer makes another issuer for a founder when an earlier one, whose
// disk was wiped, has taken the first away; in a network to throw away alone,
// whose root key is at hand.
func renewServersIssuer(id *networks.Network, founder bool) error {
	if !founder {
		return nil
	}
	_, _, err := id.ServersIssuer()
	if !errors.Is(err, networks.ErrHandedOver) {
		return err
	}
	root, unlockErr := id.Unlock("")
	if unlockErr != nil {
		return err // says what to do
	}
	return id.DelegateServers(root, 0)
}

// Enrol makes a running node of the network a member, as Node.Enrol does, and
// again when its STATE was wiped. The first node founds the cluster unless
// another one is a member; the first Servers nodes are servers.
func (n *Network) Enrol(ctx context.Context, node *Node, see func(Observation)) error {
	o := EnrolOptions{Role: n.role(node)}
	for i, other := range n.nodes {
		if other.Name() == node.Name() {
			o.Found = i == 0
			continue
		}
		key, err := other.Key()
		if err != nil {
			return err
		}
		if key != (identity.PublicKey{}) {
			o.Peers = append(o.Peers, net.JoinHostPort(lanAddress(i+1).String(), strconv.Itoa(api.Port)))
		}
	}
	o.Found = o.Found && len(o.Peers) == 0
	return node.Enrol(ctx, o, see)
}

// role is what the node is to be in the cluster.
func (n *Network) role(node *Node) identity.NodeRole {
	for _, server := range n.nodes[:min(max(n.spec.Servers, 1), len(n.nodes))] {
		if server.Name() == node.Name() {
			return identity.Server
		}
	}
	return identity.Agent
}

// invite asks the first node for a token with which uses others can join.
func (n *Network) invite(ctx context.Context, role identity.NodeRole, uses int) (identity.Token, error) {
	client, err := n.nodes[0].Client(ctx)
	if err != nil {
		return identity.Token{}, err
	}
	defer client.Close()
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	deadline := time.Now().Add(enrolPatience)
	for {
		limited, cancel := context.WithTimeout(ctx, statusTimeout)
		token, err := client.Invite(limited, role, uses, inviteLifetime)
		cancel()
		if err == nil {
			return token, nil
		}
		// A member since a moment ago may not have begun to issue.
		if errors.Is(err, identity.ErrRole) || time.Now().After(deadline) {
			return token, fmt.Errorf("have node %s invite %d others: %w", n.nodes[0].Name(), uses, err)
		}
		select {
		case <-ctx.Done():
			return token, fmt.Errorf("have node %s invite %d others: %w (%w)", n.nodes[0].Name(), uses, err, ctx.Err())
		case <-tick.C:
		}
	}
}
