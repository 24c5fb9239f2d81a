package membership

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/members"
)

// colleague is the node as other members and operators see it (api.Peers).
type colleague struct{ m *Membership }

func (c colleague) Exchange(_ context.Context, from *identity.Certificate, in api.Knowledge) (api.Knowledge, error) {
	changed, err := c.m.take(in)
	if err != nil {
		// The caller's knowledge may be ahead of or behind ours in part; the rest counts.
		c.m.log.Info("not all of what a member told counts", "member", from.Name, "error", err)
	}
	if changed {
		c.m.notify()
	}
	return c.m.knowledge(), nil
}

func (c colleague) JoinCluster(_ context.Context, from *identity.Certificate) (api.ClusterJoin, error) {
	b := c.m.current()
	if b.cert.Caps.Node != identity.Server {
		return api.ClusterJoin{}, fmt.Errorf("%w: this node is no server: ask a server", api.ErrConflict)
	}
	if from.Key == b.cert.Key {
		return api.ClusterJoin{}, fmt.Errorf("%w: a node cannot join through itself", api.ErrConflict)
	}
	if from.Caps.Node == identity.Server {
		if err := c.m.checkTurn(from.Key); err != nil {
			return api.ClusterJoin{}, err
		}
	}
	join, err := c.m.o.Join(from.Caps.Node)
	if err == nil {
		if from.Caps.Node == identity.Server {
			c.m.giveTurn(from)
		}
		c.m.log.Info("a node joins the cluster", "node", from.Name, "as", from.Caps.Node)
	}
	return join, err
}

// turn is a server's that joins the cluster. Two at once would be two members of
// etcd that are not up yet, which stops the others for want of a majority.
type turn struct {
	key   identity.PublicKey
	since time.Time
}

// turnMost ends the turn of a server that does not come up: it was switched off.
const turnMost = 5 * time.Minute

// checkTurn says whether another server's turn is not over: its Kubernetes API
// does not answer yet.
func (m *Membership) checkTurn(key identity.PublicKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.turn.key == key || time.Since(m.turn.since) > turnMost {
		return nil
	}
	for _, other := range m.b.members.Members() {
		if other.Key == m.turn.key && !other.Serving {
			return fmt.Errorf("%w: servers join one after the other, and it is the turn of %s", api.ErrNotYet, other.Name)
		}
	}
	return nil
}

func (m *Membership) giveTurn(to *identity.Certificate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn = turn{to.Key, time.Now()}
}

func (c colleague) Members() []api.Peer {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return append(c.m.peers(), c.m.self())
}

// self is the node in the form of a peer.
func (m *Membership) self() api.Peer {
	cert := m.b.cert
	return api.Peer{
		Name: cert.Name, Key: cert.Key.String(), Role: cert.Caps.Node.String(), Address: identity.MeshAddress(cert.Key).String(),
		Issuer: m.b.issuer != nil, Version: m.o.Version,
	}
}

// issuer returns the issuer that this node is, or api.ErrNotIssuer.
func (m *Membership) issuer() (*identity.Issuer, error) {
	b := m.current()
	if b.issuer == nil {
		return nil, fmt.Errorf("%w: ask one that is (mycelium node list shows which)", api.ErrNotIssuer)
	}
	return b.issuer, nil
}

func (c colleague) Invite(role identity.NodeRole, uses int, lifetime time.Duration) (identity.Token, error) {
	issuer, err := c.m.issuer()
	if err != nil {
		return identity.Token{}, err
	}
	return issuer.Invite(identity.Caps{Node: role}, uses, lifetime)
}

// Revoke takes back what this issuer has certified for key.
func (c colleague) Revoke(key identity.PublicKey) error {
	issuer, err := c.m.issuer()
	if err != nil {
		return err
	}
	if key == c.m.Key() {
		return fmt.Errorf("%w: an issuer does not take itself back: ask another one, or use the root key", api.ErrConflict)
	}
	// Another issuer's certificates are not touched by this one's list.
	for _, other := range c.m.current().members.Members() {
		if other.Key == key && other.Certificate.Issuer != issuer.Delegation().Issuer {
			return fmt.Errorf("%w of %s, which is %s", api.ErrNotIssuer, other.Name, other.Certificate.Issuer)
		}
	}
	if _, err := issuer.Revoke([]identity.PublicKey{key}, nil); err != nil {
		return err
	}
	if _, err := c.m.current().members.Prune(); err != nil {
		c.m.log.Warn("members", "error", err)
	}
	c.m.log.Warn("a member was removed", "key", key)
	c.m.notify()
	return nil
}

func (c colleague) AddStatements(s api.Statements) error {
	changed, err := c.m.take(api.Knowledge{Statements: s})
	if changed {
		c.m.notify()
	}
	return err
}

// desk is the node as newcomers see it when it is an issuer (api.Admission).
type desk struct{ m *Membership }

func (d desk) Admit(_ context.Context, request []byte) ([]byte, api.Knowledge, error) {
	b := d.m.current()
	r, err := identity.Parse[identity.Request](request)
	if err != nil {
		return nil, api.Knowledge{}, err
	}
	if err := b.members.Conflict(r.Key, r.Mesh); err != nil {
		return nil, api.Knowledge{}, fmt.Errorf("%w: %w", api.ErrConflict, err)
	}
	credential, err := b.issuer.Admit(request)
	if err != nil {
		return nil, api.Knowledge{}, err
	}
	d.m.log.Info("admitted", "name", r.Name, "key", r.Key)
	return credential, d.m.knowledge(), nil
}

func (d desk) Renew(peer tls.ConnectionState, request []byte) ([]byte, error) {
	return d.m.current().issuer.Renew(peer, request)
}

// JoinCluster asks the servers that serve the cluster how to join it. It waits
// until one answers or ctx ends.
func (m *Membership) JoinCluster(ctx context.Context) (api.ClusterJoin, error) {
	for {
		_, _, changed := m.Self()
		join, err := m.askJoin(ctx)
		if err == nil {
			m.problem("membership/cluster", "")
			return join, nil
		}
		m.problem("membership/cluster", fmt.Sprintf("no server lets this node join the cluster yet: %v", err))
		select {
		case <-ctx.Done():
			return api.ClusterJoin{}, ctx.Err()
		case <-changed: // who serves says so, and servers tell everybody
		case <-time.After(joinRetry):
		}
	}
}

const joinRetry = 15 * time.Second

func (m *Membership) askJoin(ctx context.Context) (api.ClusterJoin, error) {
	targets := m.targets(func(other members.Member) bool { return other.Serving })
	if len(targets) == 0 {
		m.wake()
		return api.ClusterJoin{}, errors.New("no server is known on which Kubernetes answers")
	}
	var errs []error
	for _, t := range targets {
		var join api.ClusterJoin
		err := m.ask(ctx, t, func(ctx context.Context, client *api.Client) (err error) {
			join, err = client.JoinCluster(ctx)
			return err
		})
		if err == nil {
			return join, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", t.name, err))
	}
	return api.ClusterJoin{}, errors.Join(errs...)
}
