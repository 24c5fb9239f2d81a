package qemu

import (
	"context"
	"errors"

	"github.com/digital-mycelium/os/pkg/config"
	"github.com/digital-mycelium/os/pkg/identity"
)

// StartOptions say how a network starts.
type StartOptions struct {
	// PowerOnly only starts the machines. Those that are no members yet wait to be
	// enrolled, by the next Start without this.
	PowerOnly bool
	// See, unless nil, gets the observations that Start waits with. Calls come one
	// at a time.
	See func(Observation)
}

// Start starts the nodes that do not run, and makes members of those that never
// were: the first founds the cluster, the others get its invite before they start
// and join by themselves (Wait waits for them). When one cannot be started, those
// that this call started are killed again; when one cannot be enrolled, all go on.
func (n *Network) Start(ctx context.Context, o StartOptions) error {
	unlock, err := n.lock()
	if err != nil {
		return err
	}
	defer unlock()
	var on poweredOn
	if o.PowerOnly {
		return on.start(ctx, n.nodes...)
	}
	if err := on.start(ctx, n.nodes[0]); err != nil {
		return err
	}
	strangers, err := n.strangers()
	if err != nil {
		return err
	}
	if len(strangers) > 0 { // the first node is needed, whether it is one of them or not
		if err := n.Enrol(ctx, n.nodes[0], o.See); err != nil {
			return err
		}
	}
	var waiting, joining []*Node
	for _, node := range strangers {
		if node == n.nodes[0] {
			continue
		}
		running, err := node.Running()
		if err != nil {
			return err
		}
		if running {
			waiting = append(waiting, node)
		} else {
			joining = append(joining, node)
		}
	}
	if err := n.inviteAll(ctx, joining); err != nil {
		return err
	}
	if err := on.start(ctx, n.nodes[1:]...); err != nil {
		return err
	}
	for _, node := range waiting {
		if err := n.Enrol(ctx, node, o.See); err != nil {
			return err
		}
	}
	return nil
}

// strangers returns the nodes that were never members and cannot join by themselves.
func (n *Network) strangers() ([]*Node, error) {
	var out []*Node
	for _, node := range n.nodes {
		key, err := node.Key()
		if err != nil {
			return nil, err
		}
		if key == (identity.PublicKey{}) && !node.invited() {
			out = append(out, node)
		}
	}
	return out, nil
}

// inviteAll puts an invite into the nodes' configurations, one for each role.
func (n *Network) inviteAll(ctx context.Context, nodes []*Node) error {
	byRole := map[identity.NodeRole][]*Node{}
	for _, node := range nodes {
		role := n.role(node)
		byRole[role] = append(byRole[role], node)
	}
	for role, nodes := range byRole {
		token, err := n.invite(ctx, role, len(nodes))
		if err != nil {
			return err
		}
		for _, node := range nodes {
			if err := node.configure(func(m *config.Membership) {
				m.Invite, m.Peers = config.Secret(token.Reveal()), []string{lanAddress(1).String()}
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// poweredOn are the nodes that a Start has started.
type poweredOn []*Node

// start starts those of the nodes that do not run.
func (p *poweredOn) start(ctx context.Context, nodes ...*Node) error {
	for _, node := range nodes {
		running, err := node.Running()
		if err == nil && !running {
			if err = node.Start(ctx); err == nil {
				*p = append(*p, node)
			}
		}
		if err != nil {
			for _, s := range *p {
				err = errors.Join(err, s.Kill(context.WithoutCancel(ctx)))
			}
			return err
		}
	}
	return nil
}
