package networks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
)

// enrolTimeout bounds each of the two calls, in case that the node goes away.
const enrolTimeout = time.Minute

// EnrolOptions say who is let in, and as what.
type EnrolOptions struct {
	// Address is where the node's machine API is, "host:port" or "host".
	Address string
	// Check says whether the key that the node shows is that of the machine which
	// is meant: the one that its console shows.
	Check func(identity.PublicKey) error
	// Role is the most that the node may be.
	Role identity.NodeRole
	// Found has the node begin a new cluster and makes it the issuer that lets
	// others in, with the key of ServersIssuer.
	Found bool
	// Peers are where other members' machine APIs are, "host:port".
	Peers []string
}

// Enrol makes a node that belongs to no network a member of this one, and
// remembers it in Nodes.
func (n *Network) Enrol(ctx context.Context, o EnrolOptions) (Node, error) {
	if _, _, err := net.SplitHostPort(o.Address); err != nil {
		o.Address = net.JoinHostPort(strings.Trim(o.Address, "[]"), strconv.Itoa(api.Port))
	}
	var shown identity.PublicKey
	client := api.NewEnrolmentClient(o.Address, func(key identity.PublicKey) error {
		shown = key
		return o.Check(key)
	})
	defer client.Close()
	node, err := n.enrol(ctx, client, func() identity.PublicKey { return shown }, o)
	if err != nil {
		return Node{}, fmt.Errorf("enrol the node at %s in %q: %w", o.Address, n.Name, err)
	}
	return node, nil
}

// enrolee is a node that waits to be enrolled.
type enrolee interface {
	Describe(ctx context.Context, network identity.NetworkID) (api.Description, error)
	Enrol(ctx context.Context, g api.Grant) error
}

// enrol is Enrol with the node e; shown returns the key that it has proved to have.
func (n *Network) enrol(ctx context.Context, e enrolee, shown func() identity.PublicKey, o EnrolOptions) (Node, error) {
	if err := n.CanIssue(); err != nil {
		return Node{}, err
	}
	g := api.Grant{Network: n.Verifier.Network(), Found: o.Found, Peers: o.Peers}
	if o.Found {
		key, delegation, err := n.ServersIssuer()
		if err != nil {
			return Node{}, err
		}
		g.Issuer = &api.IssuerGrant{Key: key.Reveal(), Delegation: delegation}
	}
	limited, cancel := context.WithTimeout(ctx, enrolTimeout)
	description, err := e.Describe(limited, g.Network)
	cancel()
	if err != nil {
		return Node{}, err
	}
	request, err := identity.Parse[identity.Request](description.Request)
	if err != nil {
		return Node{}, err
	}
	if request.Key != shown() {
		return Node{}, fmt.Errorf("%w: the node asks for a certificate for %s, its own key is %s", identity.ErrSignature, request.Key, shown())
	}
	if g.Credential, err = n.Issuer.Issue(description.Request, identity.Caps{Node: o.Role}); err != nil {
		return Node{}, err
	}
	roots := n.Roots()
	g.Anchor = identity.NetworkOf(roots[len(roots)-1].Key)
	g.Statements.Rotations, g.Statements.Revocations = n.Verifier.Statements()
	limited, cancel = context.WithTimeout(ctx, enrolTimeout)
	err = e.Enrol(limited, g)
	cancel()
	if err != nil && g.Issuer != nil && !refused(err) {
		err = fmt.Errorf("%w (the answer is lost; if the node is no member of %q now, make another servers' issuer: mycelium network delegate --for-servers --network %s)", err, n.Name, n.Name)
	}
	if g.Issuer != nil && !refused(err) {
		err = errors.Join(err, n.MarkHandedOver())
	}
	if err != nil {
		return Node{}, err
	}
	node := Node{Name: request.Name, Key: request.Key, Addresses: []string{o.Address}}
	return node, n.PutNode(node)
}

// refused reports whether err says that a node has not got what it was sent.
// Otherwise it may have it, and the answer was lost.
func refused(err error) bool {
	for _, known := range []error{
		api.ErrNotFound, api.ErrNotYet, api.ErrFull, api.ErrInvalid, api.ErrConflict,
		identity.ErrMalformed, identity.ErrSignature, identity.ErrWrongNetwork, identity.ErrUntrustedRoot, identity.ErrRetiredRoot,
		identity.ErrDelegation, identity.ErrNotYetValid, identity.ErrExpired, identity.ErrRevoked, identity.ErrRollback, identity.ErrWrongPeer,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
