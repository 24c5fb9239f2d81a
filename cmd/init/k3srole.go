package main

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// k3sPort is where K3s answers other nodes, and the Kubernetes API's clients.
const k3sPort = 6443

// k3sRole is what a node runs of Kubernetes, and together with whom.
type k3sRole struct {
	Name string // of the node in Kubernetes; the host has the same
	// Address is where the other nodes reach this one, and the only one besides
	// loopback where K3s, etcd and the kubelet listen.
	Address netip.Addr
	Labels  map[string]string
	// Emulated says that the processor is a program: QEMU without KVM.
	Emulated bool
	// Agent makes the node one that runs pods alone. Otherwise it is a server.
	Agent bool
	// Database is how a server begins. An agent has none.
	Database k3sDatabase
	// Join is whom an agent always joins, and a server whose Database is
	// joinEtcd. The others start without anybody's help.
	Join k3sJoin
}

// k3sJoin is another server and the file with what it wants to be told.
type k3sJoin struct {
	Server    string // URL
	TokenPath string // of a token as joinToken makes it
}

// k3sDatabase is the database of a server, and how it starts.
type k3sDatabase int

const (
	// sqliteDatabase is for a server that is alone.
	sqliteDatabase k3sDatabase = iota
	// beginEtcd makes the first member, with what SQLite holds, if it does.
	beginEtcd
	// joinEtcd makes another member, with what the others hold.
	joinEtcd
	// memberOfEtcd starts a member that has its data.
	memberOfEtcd
)

// command is K3s' command line and environment.
func (r k3sRole) command() (command, error) {
	if r.Name == "" || !r.Address.Is4() {
		return command{}, fmt.Errorf("start Kubernetes as %q at %v: a name and an IPv4 address are needed", r.Name, r.Address)
	}
	if joins := r.Agent || r.Database == joinEtcd; joins != (r.Join != k3sJoin{}) {
		return command{}, errors.New("start Kubernetes: agents and joining servers need a server and a token, the others must not have one")
	}
	args := r.serverArgs()
	if r.Agent {
		args = []string{"agent", "--server=" + r.Join.Server, "--token-file=" + r.Join.TokenPath}
	}
	args = append(args, r.nodeArgs()...)
	env := []string{"PATH=/bin:/sbin:/libexec/cni", "HOME=/", "TMPDIR=/var/tmp", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "CONTAINERD_GOGC=40"}
	if r.Emulated {
		// Each of the signals with which Go's runtime stops a running goroutine costs an
		// emulated processor thousands of instructions.
		env = append(env, "GODEBUG=asyncpreemptoff=1")
	}
	return command{path: k3sPath, args: args, oomScore: -999, notify: true, env: env}, nil
}

// nodeArgs are the flags of servers and agents.
func (r k3sRole) nodeArgs() []string {
	args := []string{
		"--data-dir=" + k3sData,
		"--node-name=" + r.Name,
		"--node-ip=" + r.Address.String(),
		// K3s listens on loopback as well, the kubelet here alone.
		"--bind-address=" + r.Address.String(),
		"--pause-image=mycelium.os/pause:1",
		// One pod must not take all of the node's process numbers.
		"--kubelet-arg=pod-max-pids=4096",
		// Node ports answer on every address of the node, not on its first alone.
		"--kube-proxy-arg=nodeport-addresses=0.0.0.0/0",
		"--resolv-conf=/run/resolv.conf",
	}
	for _, key := range slices.Sorted(maps.Keys(r.Labels)) {
		args = append(args, "--node-label="+key+"="+r.Labels[key])
	}
	return args
}

// serverArgs are the flags of servers alone. What stands here must be the same
// on all servers of a cluster: K3s refuses to join otherwise.
func (r k3sRole) serverArgs() []string {
	args := []string{
		"server",
		"--agent-token-file=" + k3sAgentTokenPath,
		"--advertise-address=" + r.Address.String(),
		"--tls-san=" + r.Name, "--tls-san=" + r.Address.String(), "--tls-san=127.0.0.1", "--tls-san=localhost",
		"--write-kubeconfig=" + k3sKubeconfig, "--write-kubeconfig-mode=0600",
		"--flannel-backend=none", "--disable-network-policy", "--disable-cloud-controller", "--disable-helm-controller",
		"--disable=traefik,servicelb,local-storage,metrics-server,coredns,runtimes",
		"--egress-selector-mode=disabled",
		"--etcd-disable-snapshots",
	}
	token := k3sTokenPath
	switch r.Database {
	case beginEtcd:
		args = append(args, "--cluster-init")
	case joinEtcd:
		args = append(args, "--server="+r.Join.Server)
		token = r.Join.TokenPath
	case sqliteDatabase, memberOfEtcd:
	}
	if r.Database != sqliteDatabase {
		args = append(args, etcdArgs()...)
		for _, component := range []string{"controller-manager", "scheduler"} {
			args = append(args, leaseArgs("--kube-"+component+"-arg=")...)
		}
	}
	return append(args, "--token-file="+token)
}

// etcdArgs change what K3s asks of etcd. Its heartbeat of 0.5 s and election
// after 5 s stay: they outlast what a memory card makes a write wait.
func etcdArgs() []string {
	return []string{
		// At its start a member asks all others for a checksum and waits 15 s for
		// each that does not answer: after a power cut, when all start at once,
		// that is each of them.
		"--etcd-arg=experimental-initial-corrupt-check=false",
		// Instead, the leader compares checksums as the database is compacted.
		"--etcd-arg=experimental-compact-hash-check-enabled=true",
	}
}

// leaseArgs have a component hold its leadership for as long as K3s' own
// controllers do, instead of 15 s with 10 s to renew it: who loses it ends, and
// K3s with it, which is worth avoiding when the others make it wait: a member
// that joins, or a slow disk. One that stops in order gives it back at once.
func leaseArgs(option string) []string {
	return []string{option + "leader-elect-lease-duration=45s", option + "leader-elect-renew-deadline=30s", option + "leader-elect-retry-period=5s"}
}
