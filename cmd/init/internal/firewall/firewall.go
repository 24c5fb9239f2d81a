// Package firewall keeps the ports and addresses of the cluster to the cluster:
// the table "mycelium" of nftables, beside those of kube-proxy and the CNI
// plugins.
//
// The ports of Kubernetes' parts answer on the node itself, to other members of
// the network through the mesh and to pods, and to nobody else. The addresses of
// pods, services and the mesh are the cluster's: packets from or to them neither
// come in from elsewhere nor leave otherwise than through the mesh. Pods that
// talk to the world do so with the node's address.
//
// A later table can still drop what this one lets pass, and the other way round:
// in nftables "accept" ends one table's hook, "drop" is the end.
package firewall

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
)

// Path is where nft stands in the root.
const Path = "/bin/nft"

// closedPorts are those of the API server and K3s' supervisor (6443, 6444), the
// kubelet, kube-proxy, scheduler and controller manager (10248-10260), and etcd.
const closedPorts = "6443, 6444, 10248-10260, 2379-2382"

// The networks of the cluster: K3s' defaults, and the mesh's.
var (
	pods     = netip.MustParsePrefix("10.42.0.0/16")
	services = netip.MustParsePrefix("10.43.0.0/16")
	mesh     = netip.MustParsePrefix("100.64.0.0/10")
)

// Rules are what differs between machines. The interfaces need not exist.
type Rules struct {
	// Mesh and Bridge are the names of the interfaces to other members and to pods.
	Mesh, Bridge string
}

// Render returns the rules in nft's language, as one transaction: the table is
// replaced whole, or stays as it is.
func (r Rules) Render() string {
	return strings.NewReplacer(
		"$inside", fmt.Sprintf("{ \"lo\", %q, %q }", r.Mesh, r.Bridge),
		"$bridge", fmt.Sprintf("%q", r.Bridge),
		"$pods", pods.String(), "$services", services.String(), "$mesh", mesh.String(),
		"$ports", closedPorts,
	).Replace(`add table inet mycelium
delete table inet mycelium
table inet mycelium {
	# Before services' addresses are replaced by pods'.
	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iifname $bridge ip saddr != $pods drop
		iifname $inside accept
		ip saddr { $pods, $services, $mesh } drop
		ip daddr { $pods, $services, $mesh } drop
	}
	# After: a node port that leads to a closed port is closed, too.
	chain input {
		type filter hook input priority filter; policy accept;
		iifname $inside accept
		tcp dport { $ports } drop
	}
	# While a member is not connected, what is meant for it must not go elsewhere.
	chain leave {
		type filter hook postrouting priority filter; policy accept;
		oifname $inside accept
		ip daddr { $pods, $mesh } drop
	}
	chain translate {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr $pods oifname != $inside masquerade
	}
}
`)
}

// Apply puts the rules in force. run runs a command and returns what it printed,
// such as (*exec.Cmd).CombinedOutput. On an error the rules are as before.
func (r Rules) Apply(ctx context.Context, run func(*exec.Cmd) ([]byte, error)) error {
	return r.apply(ctx, Path, run)
}

func (r Rules) apply(ctx context.Context, program string, run func(*exec.Cmd) ([]byte, error)) error {
	cmd := exec.CommandContext(ctx, program, "-f", "-")
	cmd.Env, cmd.Stdin = []string{}, strings.NewReader(r.Render())
	if out, err := run(cmd); err != nil {
		return fmt.Errorf("set the firewall's rules: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Conflict returns the network of the cluster that n, the network of an
// interface of the node's other than the mesh's and the pods', overlaps: nobody
// there can reach the node while the rules are in force.
func Conflict(n netip.Prefix) (cluster netip.Prefix, is bool) {
	for _, c := range []netip.Prefix{pods, services, mesh} {
		if c.Overlaps(n) {
			return c, true
		}
	}
	return netip.Prefix{}, false
}
