package api

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
	"github.com/digital-mycelium/os/pkg/identity"
)

// networkService is NetworkService.
type networkService struct{ peers Peers }

func (n *networkService) Exchange(ctx context.Context, r *connect.Request[machinev1.ExchangeRequest]) (*connect.Response[machinev1.ExchangeResponse], error) {
	k, err := n.peers.Exchange(ctx, Caller(ctx), knowledgeFromWire(r.Msg))
	if err != nil {
		return nil, err
	}
	return answer(&machinev1.ExchangeResponse{
		Members: each(k.Members, recordToWire), Rotations: k.Statements.Rotations, Revocations: k.Statements.Revocations,
	})
}

func (n *networkService) JoinCluster(ctx context.Context, _ *connect.Request[machinev1.JoinClusterRequest]) (*connect.Response[machinev1.JoinClusterResponse], error) {
	j, err := n.peers.JoinCluster(ctx, Caller(ctx))
	if err != nil {
		return nil, err
	}
	return answer(&machinev1.JoinClusterResponse{Server: j.Server, Token: j.Token})
}

func (n *networkService) ListMembers(context.Context, *connect.Request[machinev1.ListMembersRequest]) (*connect.Response[machinev1.ListMembersResponse], error) {
	return answer(&machinev1.ListMembersResponse{Members: each(n.peers.Members(), peerToWire)})
}

func (n *networkService) Invite(_ context.Context, r *connect.Request[machinev1.InviteRequest]) (*connect.Response[machinev1.InviteResponse], error) {
	role, err := inviteRole(r.Msg.GetRole())
	if err != nil {
		return nil, err
	}
	uses, lifetime := r.Msg.GetUses(), time.Duration(r.Msg.GetLifetimeSeconds())*time.Second
	if uses < 1 || uses > identity.MaxInviteUses {
		return nil, fmt.Errorf("%w: an invite for %d nodes: 1 to %d are possible", ErrInvalid, uses, identity.MaxInviteUses)
	}
	if lifetime < time.Second || lifetime > identity.MaxInviteLifetime {
		return nil, fmt.Errorf("%w: an invite for %s: 1s to %s are possible", ErrInvalid, lifetime, identity.MaxInviteLifetime)
	}
	token, err := n.peers.Invite(role, int(uses), lifetime)
	if err != nil {
		return nil, err
	}
	return answer(&machinev1.InviteResponse{Token: token.Reveal()})
}

// inviteRole reads the name of a role that a node can have.
func inviteRole(name string) (identity.NodeRole, error) {
	var role identity.NodeRole
	if err := role.UnmarshalText([]byte(name)); err != nil || role == identity.NoNode {
		return 0, fmt.Errorf("%w: %.50q is no role of a node: client, agent or server", ErrInvalid, name)
	}
	return role, nil
}

func (n *networkService) Revoke(_ context.Context, r *connect.Request[machinev1.RevokeRequest]) (*connect.Response[machinev1.RevokeResponse], error) {
	key, err := keyFromWire(r.Msg.GetKey())
	if err != nil {
		return nil, err
	}
	if err := n.peers.Revoke(key); err != nil {
		return nil, err
	}
	return answer(&machinev1.RevokeResponse{})
}

func (n *networkService) AddStatements(_ context.Context, r *connect.Request[machinev1.AddStatementsRequest]) (*connect.Response[machinev1.AddStatementsResponse], error) {
	if err := n.peers.AddStatements(statementsFromWire(r.Msg)); err != nil {
		return nil, err
	}
	return answer(&machinev1.AddStatementsResponse{})
}
