package membership

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/discover"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/members"
)

// exchangeLoop tells other members what this node knows and learns what they
// know: every now and then with the servers, which all ask, and soon after each
// change, which a server hands on to everybody.
func (m *Membership) exchangeLoop(ctx context.Context) error {
	all := true
	for {
		if err := m.announce(); err != nil {
			m.problem("membership/announce", err.Error())
		}
		_, addresses := m.o.Addresses()
		m.exchange(ctx, all)
		select {
		case <-ctx.Done():
			return nil
		case <-m.kick:
			all = true
		case <-addresses:
			all = true
		case <-time.After(exchangeInterval):
			all = false
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(exchangeSettle):
		}
	}
}

// Wake has the node look again at what it says of itself, because Serving may
// have changed.
func (m *Membership) Wake() { m.wake() }

// exchange asks the servers or, on a server and when all is set, everybody.
func (m *Membership) exchange(ctx context.Context, all bool) {
	all = all && m.current().cert.Caps.Node == identity.Server
	targets := m.targets(func(other members.Member) bool { return all || other.Caps.Node == identity.Server })
	slots := make(chan struct{}, parallelCalls)
	var mu sync.Mutex
	var wg sync.WaitGroup
	heard, changed := 0, false
	for _, t := range targets {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			c, err := m.exchangeWith(ctx, t)
			mu.Lock()
			defer mu.Unlock()
			changed = changed || c
			if err == nil {
				heard++
			} else if ctx.Err() == nil {
				m.log.Info("no exchange", "with", t.name, "error", err)
			}
		})
	}
	wg.Wait()
	if heard == 0 && (len(targets) > 0 || !m.knowsOthers()) {
		// The directory is empty, or everybody in it has moved. The only server is
		// asked by the others, and has nobody to ask.
		for _, address := range m.candidates(api.Port, func(f discover.Flags) bool { return f.Member }) {
			c, err := m.exchangeAt(ctx, address)
			changed = changed || c
			m.forget(address, err)
			if err != nil && ctx.Err() == nil {
				m.log.Debug("no exchange", "with", address, "error", err)
			}
		}
	}
	if changed {
		m.notify()
	}
}

func (m *Membership) knowsOthers() bool {
	return len(m.targets(func(members.Member) bool { return true })) > 0
}

// target is a member to exchange with.
type target struct {
	name      string
	key       identity.PublicKey
	addresses []string
}

// targets returns the other members that are wanted.
func (m *Membership) targets(want func(members.Member) bool) []target {
	own, _ := m.o.Addresses()
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []target
	for _, other := range m.b.members.Members() {
		if other.Key == m.b.cert.Key || !want(other) {
			continue
		}
		list = append(list, target{name: other.Name, key: other.Key, addresses: m.reach(other, own, api.Port)})
	}
	return list
}

// reach returns where a member may be asked: at the addresses that it announced
// without those that are this node's own as well (machines behind equal NATs),
// where anybody was heard on the LAN since, and on the mesh.
func (m *Membership) reach(other members.Member, own []netip.Addr, port int) []string {
	var list []string
	all := append(slices.Clone(other.Addresses), m.heardAt()...)
	for _, a := range append(all, other.Address) {
		address := net.JoinHostPort(a.String(), strconv.Itoa(port))
		if !slices.Contains(own, a) && !slices.Contains(list, address) {
			list = append(list, address)
		}
	}
	return list
}

// issuers returns where members that are issuers can be asked.
func (m *Membership) issuers() []string {
	own, _ := m.o.Addresses()
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []string
	for _, other := range m.b.members.Members() {
		if other.Issuer {
			list = append(list, m.reach(other, own, api.AdmissionPort)...)
		}
	}
	return list
}

func (m *Membership) exchangeWith(ctx context.Context, t target) (changed bool, err error) {
	err = m.ask(ctx, t, func(ctx context.Context, client *api.Client) error {
		changed, err = m.exchangeOver(ctx, client)
		return err
	})
	return changed, err
}

// exchangeAt exchanges with any member at an address.
func (m *Membership) exchangeAt(ctx context.Context, address string) (changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	client, err := m.client(address, identity.PublicKey{})
	if err != nil {
		return false, err
	}
	defer client.Close()
	return m.exchangeOver(ctx, client)
}

func (m *Membership) exchangeOver(ctx context.Context, client *api.Client) (changed bool, err error) {
	theirs, err := client.Exchange(ctx, m.knowledge())
	m.noteStanding(err)
	if err != nil {
		return false, err
	}
	return m.take(theirs)
}

// ask calls a member at the first of its addresses where it answers. The error
// is its own word, or why it was not reached at the first address.
func (m *Membership) ask(ctx context.Context, t target, call func(context.Context, *api.Client) error) error {
	var first error
	for _, address := range t.addresses {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
			defer cancel()
			client, err := m.client(address, t.key)
			if err != nil {
				return err
			}
			defer client.Close()
			return call(ctx, client)
		}()
		if err == nil || ctx.Err() != nil || errors.As(err, new(*api.CallError)) {
			return err
		}
		m.forget(address, err)
		if first == nil {
			first = fmt.Errorf("%s: %w", address, err)
		}
	}
	if first == nil {
		return errors.New("it has no address")
	}
	return first
}

// client calls another member; a zero key is any.
func (m *Membership) client(address string, key identity.PublicKey) (*api.Client, error) {
	return api.NewClient(api.ClientConfig{Address: address, TLS: m.current().verifier.ClientTLS(identity.TLSOptions{Certificate: m.certificate, Peer: key})})
}

// noteStanding remembers whether other members still take this node for one.
func (m *Membership) noteStanding(err error) {
	refused := errors.Is(err, identity.ErrRevoked)
	if err != nil && !refused {
		return
	}
	m.mu.Lock()
	same := m.refused == refused
	m.refused = refused
	m.mu.Unlock()
	text := ""
	if refused {
		text = "this node was removed from its network: reset it (scope all), and enrol it anew if it shall come back"
	}
	m.problem("membership/removed", text)
	if !same {
		m.report()
	}
}

// knowledge is what this node knows of the network.
func (m *Membership) knowledge() api.Knowledge {
	b := m.current()
	var k api.Knowledge
	k.Statements.Rotations, k.Statements.Revocations = b.verifier.Statements()
	for _, r := range b.members.Records() {
		k.Members = append(k.Members, api.MemberRecord(r))
	}
	return k
}

// take takes over what another member knows. Statements that do not count do
// not stop the others.
func (m *Membership) take(k api.Knowledge) (changed bool, err error) {
	b := m.current()
	before := fingerprint(b.verifier)
	var errs []error
	for _, r := range k.Statements.Rotations {
		errs = append(errs, b.verifier.AddRotation(r))
	}
	for _, r := range k.Statements.Revocations {
		if err := b.verifier.AddRevocation(r); !errors.Is(err, identity.ErrRollback) { // ours is newer
			errs = append(errs, err)
		}
	}
	records := make([]members.Record, len(k.Members))
	for i, r := range k.Members {
		records[i] = members.Record(r)
	}
	changed, err = b.members.Merge(records)
	if fingerprint(b.verifier) != before {
		changed = true
		_, pruneErr := b.members.Prune()
		errs = append(errs, pruneErr)
	}
	if changed {
		m.setClock()
	}
	return changed, errors.Join(append(errs, err)...)
}

// fingerprint changes when a verifier has learned something.
func fingerprint(v *identity.Verifier) string {
	rotations, revocations := v.Statements()
	return fmt.Sprintf("%x %x", rotations, revocations)
}
