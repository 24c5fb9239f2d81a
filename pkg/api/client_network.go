package api

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	machinev1 "github.com/digital-mycelium/os/pkg/api/machine/v1"
	"github.com/digital-mycelium/os/pkg/api/machine/v1/machinev1connect"
	"github.com/digital-mycelium/os/pkg/identity"
)

// Exchange hands over what the caller knows of the network and returns what the
// node knows. It is for nodes.
func (c *Client) Exchange(ctx context.Context, k Knowledge) (Knowledge, error) {
	m, err := ask(ctx, c.network().Exchange, &machinev1.ExchangeRequest{
		Members: each(k.Members, recordToWire), Rotations: k.Statements.Rotations, Revocations: k.Statements.Revocations,
	})
	return knowledgeFromWire(m), err
}

// JoinCluster asks a server for what the calling node needs to join the cluster.
func (c *Client) JoinCluster(ctx context.Context) (ClusterJoin, error) {
	m, err := ask(ctx, c.network().JoinCluster, &machinev1.JoinClusterRequest{})
	return ClusterJoin{Server: m.GetServer(), Token: m.GetToken()}, err
}

// Members lists all nodes of the network that the node knows, itself included.
func (c *Client) Members(ctx context.Context) ([]Peer, error) {
	m, err := ask(ctx, c.network().ListMembers, &machinev1.ListMembersRequest{})
	return each(m.GetMembers(), peerFromWire), err
}

// Invite asks an issuer for a token with which up to uses nodes can join as role
// until lifetime, which counts in seconds, has passed.
func (c *Client) Invite(ctx context.Context, role identity.NodeRole, uses int, lifetime time.Duration) (identity.Token, error) {
	if uses < 1 || uses > identity.MaxInviteUses || lifetime < time.Second || lifetime > identity.MaxInviteLifetime {
		return identity.Token{}, fmt.Errorf("%w: an invite for %d nodes and %s: 1 to %d and 1s to %s are possible", ErrInvalid, uses, lifetime, identity.MaxInviteUses, identity.MaxInviteLifetime)
	}
	m, err := ask(ctx, c.network().Invite, &machinev1.InviteRequest{Role: role.String(), Uses: uint32(uses), LifetimeSeconds: uint32(lifetime / time.Second)})
	if err != nil {
		return identity.Token{}, err
	}
	return identity.ParseToken(m.GetToken())
}

// Revoke asks the issuer of a node's certificate to take its membership back.
func (c *Client) Revoke(ctx context.Context, key identity.PublicKey) error {
	_, err := ask(ctx, c.network().Revoke, &machinev1.RevokeRequest{Key: key[:]})
	return err
}

// AddStatements hands root rotations and revocation lists over.
func (c *Client) AddStatements(ctx context.Context, s Statements) error {
	_, err := ask(ctx, c.network().AddStatements, &machinev1.AddStatementsRequest{Rotations: s.Rotations, Revocations: s.Revocations})
	return err
}

// EnrolmentClient makes a node that belongs to no network a member. It is safe
// for concurrent use.
type EnrolmentClient struct {
	http    *http.Client
	service machinev1connect.EnrolmentServiceClient
}

// NewEnrolmentClient returns a client of the node at address, host or host:port.
// check says whether the key that the node's handshake has proven is the one on
// its console; it is called for each connection, before anything is sent.
func NewEnrolmentClient(address string, check func(identity.PublicKey) error) *EnrolmentClient {
	h, base := dialer(address, Port, &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // nobody vouches for the node: its key is compared
		VerifyConnection: func(cs tls.ConnectionState) error {
			key, err := nodeKey(cs)
			if err != nil {
				return err
			}
			return check(key)
		},
	}, false)
	return &EnrolmentClient{h, machinev1connect.NewEnrolmentServiceClient(h, base, clientOptions()...)}
}

// nodeKey returns the key that the other end has proven.
func nodeKey(cs tls.ConnectionState) (identity.PublicKey, error) {
	if len(cs.PeerCertificates) == 1 {
		if key, ok := cs.PeerCertificates[0].PublicKey.(ed25519.PublicKey); ok {
			return identity.PublicKey(key), nil
		}
	}
	return identity.PublicKey{}, fmt.Errorf("read the node's certificate: %w: what answers is no node of Digital Mycelium: check the address", identity.ErrMalformed)
}

// Close ends the client's idle connections.
func (c *EnrolmentClient) Close() { c.http.CloseIdleConnections() }

// Describe asks for the node's request for a certificate of network.
func (c *EnrolmentClient) Describe(ctx context.Context, network identity.NetworkID) (Description, error) {
	m, err := ask(ctx, c.service.Describe, &machinev1.DescribeRequest{Network: network[:]})
	return Description{Request: m.GetRequest(), Name: m.GetName(), Version: m.GetVersion(), Board: m.GetBoard()}, enrolled(err)
}

// Enrol makes the node a member; ErrConflict when it is one already.
func (c *EnrolmentClient) Enrol(ctx context.Context, g Grant) error {
	_, err := ask(ctx, c.service.Enrol, grantToWire(g))
	return enrolled(err)
}

// enrolled recognizes a node that is a member already: it asks for a certificate.
func enrolled(err error) error {
	if err != nil && strings.Contains(err.Error(), "tls: certificate required") {
		return fmt.Errorf("%w: the node belongs to a network already: reset it before it can join another one (%w)", ErrConflict, err)
	}
	return err
}

// AdmissionClient asks an issuer for membership. It is safe for concurrent use.
type AdmissionClient struct {
	http    *http.Client
	service machinev1connect.AdmissionServiceClient
}

// NewAdmissionClient returns a client of the issuer at address, host or
// host:port. config is from identity.Verifier.ClientTLS; a newcomer shows its
// request and looks for its invite's issuer, a member its credential.
func NewAdmissionClient(address string, config *tls.Config) *AdmissionClient {
	h, base := dialer(address, AdmissionPort, config, false)
	return &AdmissionClient{h, machinev1connect.NewAdmissionServiceClient(h, base, clientOptions()...)}
}

// Close ends the client's idle connections.
func (c *AdmissionClient) Close() { c.http.CloseIdleConnections() }

// Admit asks for a credential with the request that the TLS certificate carries.
func (c *AdmissionClient) Admit(ctx context.Context) (credential []byte, k Knowledge, err error) {
	m, err := ask(ctx, c.service.Admit, &machinev1.AdmitRequest{})
	if err != nil {
		if errors.As(err, new(*CallError)) || !strings.Contains(err.Error(), "remote error: tls: bad certificate") {
			return nil, Knowledge{}, err
		}
		return nil, Knowledge{}, fmt.Errorf("%w: the issuer does not take the invite: it has been used up, has expired or was withdrawn: get a new one (%w)", identity.ErrInvite, err)
	}
	return m.GetCredential(), knowledgeFromWire(m), nil
}

// Renew asks for a new credential with a member's encoded identity.Request.
func (c *AdmissionClient) Renew(ctx context.Context, request []byte) ([]byte, error) {
	m, err := ask(ctx, c.service.Renew, &machinev1.RenewRequest{Request: request})
	return m.GetCredential(), err
}
