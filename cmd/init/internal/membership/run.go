package membership

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/discover"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/mesh"
)

// run acts as a member until ctx ends.
func (m *Membership) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := m.current()
	interfaceOf, err := m.o.OpenMesh(meshKey(m.store.key), identity.MeshAddress(b.cert.Key))
	if err != nil {
		m.problem("membership/mesh", fmt.Sprintf("this node reaches no other: the mesh does not start: %v", err))
	} else {
		defer func() {
			m.mu.Lock()
			m.mesh = nil
			m.mu.Unlock()
			m.notify()
			_ = interfaceOf.Close() // it goes with the machine at the latest
		}()
		m.mu.Lock()
		m.mesh = interfaceOf
		m.mu.Unlock()
		m.notify()
	}
	if err := m.announce(); err != nil {
		return err
	}
	tasks := []func(context.Context) error{m.serveMembers, m.exchangeLoop, m.renewLoop, m.discovery}
	if interfaceOf != nil {
		tasks = append(tasks, m.meshLoop)
	}
	if b.issuer != nil {
		tasks = append(tasks, m.serveAdmission)
	}
	var wg sync.WaitGroup
	failed := make(chan error, len(tasks))
	for _, task := range tasks {
		wg.Go(func() {
			if err := task(ctx); err != nil {
				failed <- err
			}
		})
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
		cancel()
	}
	wg.Wait()
	return errors.Join(err, m.store.clock.Close())
}

func (m *Membership) serveMembers(ctx context.Context) error {
	b := m.current()
	kube, err := m.KubernetesCertificate()
	if err != nil {
		return err
	}
	return m.serve(ctx, api.Port, api.NewMemberServer(api.MemberConfig{
		Verifier: b.verifier, Certificate: m.certificate, Kubernetes: m.o.Kubernetes, KubernetesCertificate: &kube,
		Node: m.o.Node, Peers: colleague{m}, Log: m.log,
	}))
}

// KubernetesCertificate is what the node shows as Kubernetes' name. It is the
// same for as long as the node keeps its key.
func (m *Membership) KubernetesCertificate() (tls.Certificate, error) {
	return identity.PlainCertificate(m.store.key, api.KubernetesServerName)
}

func (m *Membership) serveAdmission(ctx context.Context) error {
	b := m.current()
	return m.serve(ctx, api.AdmissionPort, api.NewAdmissionServer(api.AdmissionConfig{
		Verifier: b.verifier, Certificate: m.issuerCertificate, Admissible: b.issuer.Admissible, Admission: desk{m}, Log: m.log,
	}))
}

func (m *Membership) issuerCertificate() (*tls.Certificate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store.issuerCertificate(m.b, m.o.Name+"-issuer")
}

func (m *Membership) discovery(ctx context.Context) error {
	m.o.Discover(ctx, m.current().verifier.Network(), func() discover.Flags {
		b := m.current()
		return discover.Flags{Member: true, Issuer: b.issuer != nil, Server: m.o.Serving()}
	}, m.heard)
	return nil
}

// announce says of the node what holds now; the same again changes nothing.
func (m *Membership) announce() error {
	addresses, _ := m.o.Addresses()
	m.mu.Lock()
	b := m.b
	credential := b.credential
	m.mu.Unlock()
	err := b.members.SetSelf(m.store.key, credential, identity.Announcement{
		Addresses: identity.CanonicalAddresses(addresses), Issuer: b.issuer != nil, Serving: m.o.Serving(), OS: m.o.Version,
	})
	if err != nil {
		return fmt.Errorf("announce this node: %w", err)
	}
	return nil
}

// Intervals of what a member does.
const (
	exchangeInterval = 30 * time.Second
	exchangeTimeout  = 20 * time.Second
	// exchangeSettle gathers changes that come together.
	exchangeSettle = 500 * time.Millisecond
	// meshInterval is for what changes without a sign: the end of a certificate. The
	// mesh itself looks after its interface.
	meshInterval  = 30 * time.Second
	renewInterval = time.Hour
	renewRetry    = 5 * time.Minute
	parallelCalls = 8
)

// meshLoop makes the mesh follow the members and the pods' networks.
func (m *Membership) meshLoop(ctx context.Context) error {
	for {
		_, _, changed := m.Self()
		pods, podsChanged := m.o.Pods()
		if err := m.applyMesh(pods); err != nil {
			m.problem("membership/mesh", fmt.Sprintf("the mesh does not follow its members: %v", err))
		} else {
			m.problem("membership/mesh", "")
		}
		m.report()
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-podsChanged:
		case <-time.After(meshInterval):
		}
	}
}

// applyMesh gives the mesh the members in good standing; a node that is none
// itself talks to nobody.
func (m *Membership) applyMesh(pods map[netip.Addr]netip.Prefix) error {
	m.mu.Lock()
	var peers []mesh.Peer
	if m.standing() == nil {
		for _, other := range m.b.members.Members() {
			if other.Key == m.b.cert.Key {
				continue
			}
			p := mesh.Peer{Key: mesh.Key(other.Mesh), Allowed: []netip.Prefix{netip.PrefixFrom(other.Address, other.Address.BitLen())}}
			if subnet, ok := pods[other.Address]; ok {
				p.Allowed = append(p.Allowed, subnet)
			}
			for _, a := range other.Addresses {
				p.Endpoints = append(p.Endpoints, netip.AddrPortFrom(a, MeshPort))
			}
			peers = append(peers, p)
		}
	}
	link := m.mesh
	m.mu.Unlock()
	return link.Apply(peers)
}

// MeshPort is the UDP port of the mesh.
const MeshPort = 51820

// renewLoop renews the node's certificate when a third of its time is left.
func (m *Membership) renewLoop(ctx context.Context) error {
	for {
		wait := renewInterval
		if err := m.renew(ctx); err != nil {
			wait = renewRetry
			m.log.Warn("the certificate is not renewed yet", "error", err)
			m.problem("membership/renew", fmt.Sprintf("the node's certificate ends at %s and no issuer renews it: %v", m.expiry().UTC().Format(time.RFC3339), err))
		} else {
			m.problem("membership/renew", "")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (m *Membership) expiry() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.b.cert.NotAfter
}

func (m *Membership) renew(ctx context.Context) error {
	m.mu.Lock()
	b, cert := m.b, m.b.cert
	m.mu.Unlock()
	if cert.NotAfter.Sub(m.store.clock.Now()) > cert.NotAfter.Sub(cert.NotBefore)/3 {
		return nil
	}
	request, err := identity.Sign(m.store.key, identity.Request{Network: cert.Network, Key: cert.Key, Mesh: cert.Mesh, Name: m.o.Name})
	if err != nil {
		return err
	}
	credential, err := m.askRenewal(ctx, b, request)
	if err != nil {
		return err
	}
	m.mu.Lock()
	err = m.store.renew(b, credential)
	m.mu.Unlock()
	if err == nil {
		err = m.announce()
	}
	m.notify()
	return err
}

// askRenewal asks the issuers that are known, this node itself first.
func (m *Membership) askRenewal(ctx context.Context, b *belonging, request []byte) ([]byte, error) {
	if b.issuer != nil {
		return b.issuer.Issue(request, b.cert.Caps)
	}
	var errs []error
	for _, address := range m.issuers() {
		credential, err := func() ([]byte, error) {
			ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
			defer cancel()
			client := api.NewAdmissionClient(address, b.verifier.ClientTLS(identity.TLSOptions{Certificate: m.certificate}))
			defer client.Close()
			return client.Renew(ctx, request)
		}()
		if err == nil {
			return credential, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", address, err))
	}
	if len(errs) == 0 {
		return nil, errors.New("no issuer is known: is the founder down? Appoint another with \"mycelium network delegate\"")
	}
	return nil, errors.Join(errs...)
}
