package membership

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/discover"
	"github.com/digital-mycelium/os/pkg/identity"
)

// found waits until the node belongs to a network: by an operator, to whom it
// offers enrolment, or by its invite.
func (m *Membership) found(ctx context.Context) error {
	server, err := api.NewEnrolmentServer(m.store.key, enrolment{m}, m.log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- m.serve(ctx, api.Port, server) }()
	if !m.o.Invite.IsZero() {
		go m.join(ctx)
	}
	select {
	case err = <-served:
		return errors.Join(err, ctx.Err())
	case <-m.enrolled:
		cancel()
		return <-served // the port is free, and the answer has left
	}
}

// settled takes over a network.
func (m *Membership) settle(g api.Grant) error {
	m.mu.Lock()
	if m.b != nil {
		m.mu.Unlock()
		return fmt.Errorf("%w: the node is a member of %s already: reset it (scope all) first", api.ErrConflict, m.b.verifier.Network())
	}
	b, err := m.store.settle(g)
	if b != nil {
		m.b = b
		close(m.enrolled)
	}
	m.mu.Unlock()
	if b == nil {
		return err
	}
	if err != nil {
		m.problem("membership/open", err.Error())
	}
	for _, p := range g.Peers {
		if host, _, err := net.SplitHostPort(p); err == nil {
			if a, err := netip.ParseAddr(host); err == nil {
				m.heard(discover.Hint{Address: a, Flags: discover.Flags{Member: true}})
			}
		}
	}
	m.log.Info("member of a network", "network", g.Network, "as", b.cert.Caps.String(), "issuer", g.Issuer != nil)
	m.setClock()
	m.notify()
	return nil
}

// enrolment is what the node offers to operators.
type enrolment struct{ m *Membership }

func (e enrolment) Describe(network identity.NetworkID) (api.Description, error) {
	if err := e.m.allowed(network); err != nil {
		return api.Description{}, err
	}
	key := e.m.store.key
	request, err := identity.Sign(key, identity.Request{Network: network, Key: key.Public(), Mesh: meshPublic(key), Name: e.m.o.Name})
	return api.Description{Request: request, Name: e.m.o.Name, Version: e.m.o.Version, Board: e.m.o.Board}, err
}

func (e enrolment) Enrol(_ context.Context, g api.Grant) error {
	if err := e.m.allowed(g.Network); err != nil {
		return err
	}
	return e.m.settle(g)
}

// allowed says whether the node may belong to network.
func (m *Membership) allowed(network identity.NetworkID) error {
	want := m.o.Network
	if !m.o.Invite.IsZero() {
		want = m.o.Invite.Invite().Network
	}
	if want != (identity.NetworkID{}) && want != network {
		return fmt.Errorf("%w: the node's configuration is for the network %s, not for %s: change membership in it", api.ErrConflict, want, network)
	}
	return nil
}

// Pauses between attempts to join.
const (
	joinPause    = time.Second
	joinPauseMax = 30 * time.Second
	admitTimeout = 30 * time.Second
)

// join looks for the issuer that invited the node until one admits it or ctx ends.
func (m *Membership) join(ctx context.Context) {
	invite := m.o.Invite.Invite()
	discovery, cancel := context.WithCancel(ctx)
	defer cancel()
	go m.o.Discover(discovery, invite.Network, func() discover.Flags { return discover.Flags{} }, m.heard)
	for pause := joinPause; ; pause = min(2*pause, joinPauseMax) {
		err := m.tryJoin(ctx)
		if err == nil || ctx.Err() != nil {
			m.problem("membership/join", "")
			return
		}
		m.log.Info("not admitted yet", "error", err)
		m.problem("membership/join", fmt.Sprintf("not a member of %s yet: %v", invite.Network, err))
		if !m.pause(ctx, pause) {
			return
		}
	}
}

// pause waits, but not when somebody new was heard.
func (m *Membership) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-m.kick:
		return true
	case <-time.After(d):
		return true
	}
}

// tryJoin asks everybody who may be the issuer.
func (m *Membership) tryJoin(ctx context.Context) error {
	candidates := m.candidates(api.AdmissionPort, func(f discover.Flags) bool { return f.Issuer })
	if len(candidates) == 0 {
		return errors.New("nobody of it was found on this LAN: check the cable, start an issuer (a node or \"mycelium invite --wait\"), or name one in membership.peers")
	}
	var errs []error
	for _, address := range candidates {
		err := m.askAdmission(ctx, address)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", address, err))
	}
	return errors.Join(errs...)
}

func (m *Membership) askAdmission(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, admitTimeout)
	defer cancel()
	invite := m.o.Invite.Invite()
	request, err := m.o.Invite.Request(m.store.key, meshPublic(m.store.key), m.o.Name)
	if err != nil {
		return err
	}
	pair, err := identity.TLSCertificate(m.store.key, request)
	if err != nil {
		return err
	}
	config, err := m.store.newcomerTLS(invite, &pair)
	if err != nil {
		return err
	}
	client := api.NewAdmissionClient(address, config)
	defer client.Close()
	credential, knowledge, err := client.Admit(ctx)
	if errors.Is(err, api.ErrConflict) {
		if err := m.store.replaceKey(); err != nil {
			return err
		}
		return fmt.Errorf("%w: trying again with another key", err)
	}
	if err != nil {
		return err
	}
	if err := m.settle(api.Grant{Network: invite.Network, Anchor: invite.Anchor, Credential: credential, Statements: knowledge.Statements}); err != nil {
		return err
	}
	_, err = m.take(knowledge)
	return err
}

// heard notes where somebody of the network is.
func (m *Membership) heard(h discover.Hint) {
	m.mu.Lock()
	if len(m.hints) >= maxHints {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(m.hints)), func(a, b netip.Addr) int { return m.hints[a].at.Compare(m.hints[b].at) })
		delete(m.hints, oldest)
	}
	_, known := m.hints[h.Address]
	m.hints[h.Address] = hint{flags: h.Flags, at: time.Now()}
	m.mu.Unlock()
	if !known {
		m.wake()
	}
}

const (
	maxHints = 64
	// hintLife is for how long a node is taken to be where it was heard: it says
	// so every 30 seconds.
	hintLife = 100 * time.Second
)

// heardAt returns where somebody of the network was heard lately; m.mu is held.
func (m *Membership) heardAt() []netip.Addr {
	maps.DeleteFunc(m.hints, func(_ netip.Addr, h hint) bool { return time.Since(h.at) > hintLife })
	return slices.SortedFunc(maps.Keys(m.hints), netip.Addr.Compare)
}

// forget leaves out an address where a machine answered that is not of the
// network: nothing more is sent there unless the network is heard from there again.
func (m *Membership) forget(address string, err error) {
	if !errors.Is(err, identity.ErrWrongNetwork) && !errors.Is(err, identity.ErrNotMember) && !errors.Is(err, identity.ErrMalformed) {
		return
	}
	if a, parseErr := netip.ParseAddrPort(address); parseErr == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.hints, a.Addr())
	}
}

// candidates returns where the network may be found, "host:port": where the
// configuration says, and where somebody was heard whose flags serve.
func (m *Membership) candidates(port int, serves func(discover.Flags) bool) []string {
	var list []string
	own, _ := m.o.Addresses()
	for _, p := range m.o.Peers() {
		host := p
		if h, _, err := net.SplitHostPort(p); err == nil {
			host = h
		}
		list = append(list, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.heardAt() {
		if !slices.Contains(own, a) && serves(m.hints[a].flags) {
			list = append(list, netip.AddrPortFrom(a, uint16(port)).String())
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
