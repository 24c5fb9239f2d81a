package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/digital-mycelium/os/pkg/api"
	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/identity"
)

// clusterRole waits until the node can start Kubernetes, and returns as what.
func (m *machine) clusterRole(ctx context.Context) (k3sRole, error) {
	self, err := m.waitMember(ctx)
	if err != nil {
		return k3sRole{}, err
	}
	role := k3sRole{
		Name: m.hostname, Address: self.Address, Labels: m.config().Kubernetes.Labels, Agent: self.Role == identity.Agent,
		Emulated: emulated("/proc/cpuinfo"),
	}
	if !role.Agent {
		if role.Database, err = databaseOf(self.Found, self.Servers); err != nil {
			return k3sRole{}, err
		}
	}
	if role.Agent || role.Database == joinEtcd {
		role.Join, err = m.joinCluster(ctx, role.Agent)
	}
	return role, err
}

// databaseOf looks at the disk and says how this server's database starts.
func databaseOf(founder bool, servers int) (k3sDatabase, error) {
	files, err := readDatabaseFiles(k3sServerDir)
	if err != nil {
		return 0, err
	}
	_, err = os.Stat(k3sBegunPath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	begun := err == nil
	database := chooseDatabase(files, founder, begun, servers)
	if !begun && (database == sqliteDatabase || database == beginEtcd) {
		if err := durable.WriteFile(k3sBegunPath, nil, 0o600); err != nil {
			return 0, fmt.Errorf("note that this node begins the cluster: %w", err)
		}
	}
	return database, nil
}

// joinCluster asks the servers until one tells how to join, and puts the token
// where K3s reads it.
func (m *machine) joinCluster(ctx context.Context, agent bool) (k3sJoin, error) {
	answer, err := m.member.JoinCluster(ctx)
	if err != nil {
		return k3sJoin{}, err
	}
	secret, err := secretOfJoinToken(answer.Token, agent)
	if err != nil {
		return k3sJoin{}, err
	}
	if !agent {
		if err := forgetCluster(k3sServerDir); err != nil {
			return k3sJoin{}, err
		}
		if err := adoptServerToken(k3sTokenPath, secret); err != nil {
			return k3sJoin{}, fmt.Errorf("keep the cluster's token: %w", err)
		}
	}
	if err := placeToken(k3sJoinTokenPath, answer.Token); err != nil {
		return k3sJoin{}, fmt.Errorf("place the cluster's token: %w", err)
	}
	return k3sJoin{Server: answer.Server, TokenPath: k3sJoinTokenPath}, nil
}

// restartOnNewRole starts Kubernetes again once it has to run otherwise than it
// was started: with etcd for the second server, or not at all.
func (m *machine) restartOnNewRole(ctx context.Context, started k3sRole) {
	for {
		self, ok, changed := m.member.Self()
		switch {
		case !ok:
			m.restartServices("the node is no member of its network any more")
			return
		case !started.Agent && started.Database == sqliteDatabase && self.Servers > 1:
			m.restartServices("the cluster moves to etcd for its second server")
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// joinThrough returns what another node joins the cluster with through this one.
func (m *machine) joinThrough(role identity.NodeRole) (api.ClusterJoin, error) {
	self, ok, _ := m.member.Self()
	if !ok || !m.servesCluster() {
		return api.ClusterJoin{}, fmt.Errorf("%w: Kubernetes on this server does not answer yet", api.ErrNotYet)
	}
	if role == identity.Server {
		if files, err := readDatabaseFiles(k3sServerDir); err != nil || !files.Etcd || files.Migrating {
			return api.ClusterJoin{}, errors.Join(fmt.Errorf("%w: the cluster is being moved to etcd for its second server", api.ErrNotYet), err)
		}
	}
	secret, err := loadSecret(k3sTokenPath)
	if err != nil {
		return api.ClusterJoin{}, fmt.Errorf("token of the cluster: %w", err)
	}
	ca, err := os.ReadFile(k3sServerCA)
	if err != nil {
		return api.ClusterJoin{}, fmt.Errorf("%w: the cluster's authority: %w", api.ErrNotYet, err)
	}
	token, err := joinToken(secret, ca, role != identity.Server)
	return api.ClusterJoin{Server: joinURL(self.Address), Token: token}, err
}
