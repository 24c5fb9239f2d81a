package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/digital-mycelium/os/cmd/init/internal/membership"
	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/discover"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/mesh"
	"github.com/digital-mycelium/os/pkg/tpmseal"
)

const (
	identityDir = "/state/mycelium"
	meshName    = "mycelium0"
	// meshMTU leaves room for WireGuard's headers on an IPv6 path of 1500.
	meshMTU = 1420
)

// sealer returns the machine's TPM 2.0, nil when there is none.
func sealer() membership.Sealer {
	if _, err := os.Stat(tpmseal.Device); err != nil {
		return nil
	}
	return tpmseal.Chip(tpmseal.Device)
}

// openMembership reads who the node is and where it belongs. From here on the
// node has a fingerprint.
func (m *machine) openMembership(context.Context) error {
	o := membership.Options{
		Dir: identityDir, Name: m.hostname, Version: m.version, Board: boardName(m.cmdline),
		Build: m.buildTime, System: m.time.believed, Log: m.log.With("part", "membership"),
		Peers:     func() []string { return m.config().Membership.Peers },
		Addresses: m.net.addresses,
		Listen:    listenTCP,
		Discover:  m.discover,
		OpenMesh:  m.openMesh,
		Pods:      m.pods.get,
		Join:      m.joinThrough,
		Serving:   m.servesCluster,
		Node:      apiNode{m}, Kubernetes: m.kubernetesProxy(),
		Sealer:   sealer(),
		SetClock: m.time.raise,
		Report:   m.reportMembership,
	}
	c := m.config().Membership
	if c.Network != "" {
		id, err := identity.ParseNetworkID(c.Network)
		if err != nil {
			return fmt.Errorf("membership.network: %w", err)
		}
		o.Network = id
	}
	// The invite is the installed system's, which is another node.
	if c.Invite != "" && !m.installsItself() {
		token, err := identity.ParseToken(c.Invite.Reveal())
		if err != nil {
			return fmt.Errorf("membership.invite: %w", err)
		}
		o.Invite = token
	}
	var err error
	m.member, err = membership.Open(o)
	return err
}

// runMembership serves the machine API, to whom the node's state allows.
func (m *machine) runMembership(ctx context.Context) {
	for {
		err := m.member.Run(ctx)
		if ctx.Err() != nil {
			return
		}
		m.log.Error("the machine API has ended: starting it again", "error", err)
		m.board.SetProblem("api", fmt.Sprintf("the machine API is off: %v", err))
		if !sleep(ctx, 5*time.Second) {
			return
		}
		m.board.ClearProblem("api")
	}
}

func listenTCP(ctx context.Context, port int) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", ":"+strconv.Itoa(port))
}

func (m *machine) openMesh(key [32]byte, address netip.Addr) (membership.Mesh, error) {
	prefix := netip.PrefixFrom(address, identity.MeshPrefix.Bits())
	return mesh.Open(meshName, key, prefix, membership.MeshPort, meshMTU, m.log.With("part", "mesh"))
}

// discover runs discovery on the physical interfaces until ctx ends.
func (m *machine) discover(ctx context.Context, network identity.NetworkID, flags func() discover.Flags, found func(discover.Hint)) {
	l := discover.Listen(ctx, discover.Options{Network: network, Flags: flags, Interfaces: m.net.names, Log: m.log.With("part", "discovery")}, found)
	<-l.Done()
	c := l.Counters()
	m.log.Info("discovery has ended", "heard", c.Heard, "repeated", c.Repeated, "foreign", c.Foreign, "malformed", c.Malformed, "dropped", c.Dropped, "sent", c.Sent)
}

// reportMembership puts the membership and its problems into the status.
func (m *machine) reportMembership(s api.Membership, problems map[string]string) {
	m.board.Update(func(b *api.Status) { b.Membership = s })
	m.mu.Lock()
	gone := slices.DeleteFunc(slices.Collect(maps.Keys(m.memberProblems)), func(key string) bool { _, ok := problems[key]; return ok })
	m.memberProblems = problems
	m.mu.Unlock()
	for _, key := range gone {
		m.board.ClearProblem(key)
	}
	for _, key := range slices.Sorted(maps.Keys(problems)) {
		m.board.SetProblem(key, problems[key])
	}
}

// servesCluster reports whether others can join the cluster through this node.
func (m *machine) servesCluster() bool {
	s, _ := m.board.Get()
	return s.Kubernetes.APIUp && s.Membership.Role == identity.Server.String()
}

// followCluster follows Kubernetes from when the node is a member.
func (m *machine) followCluster(ctx context.Context) {
	self, err := m.waitMember(ctx)
	if err != nil {
		return
	}
	m.spawn(func() { m.watchPods(ctx, self.Role) })
	m.spawn(func() { m.wakeWhenServing(ctx) })
	m.watchKubernetes(ctx, self.Role)
}

// waitMember waits until the node is a member that runs Kubernetes.
func (m *machine) waitMember(ctx context.Context) (membership.Self, error) {
	for {
		self, ok, changed := m.member.Self()
		if ok && self.Role >= identity.Agent {
			return self, nil
		}
		select {
		case <-ctx.Done():
			return membership.Self{}, ctx.Err()
		case <-changed:
		}
	}
}

// wakeWhenServing has the node tell the others when its Kubernetes begins or
// ceases to answer.
func (m *machine) wakeWhenServing(ctx context.Context) {
	serving := false
	for {
		err := m.board.Wait(ctx, func(s api.Status) bool { return s.Kubernetes.APIUp != serving })
		if err != nil {
			return
		}
		serving = !serving
		m.member.Wake()
	}
}
