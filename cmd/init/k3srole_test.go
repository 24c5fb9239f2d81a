package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestK3sCommand(t *testing.T) {
	address := netip.MustParseAddr("100.64.1.2")
	join := k3sJoin{Server: "https://100.64.1.1:6443", TokenPath: "/run/mycelium/join"}
	labels := map[string]string{"b": "2", "a": "1"}
	const ownToken = "--token-file=" + k3sTokenPath
	for _, tt := range []struct {
		name      string
		role      k3sRole
		want, not []string
	}{
		{
			"alone",
			k3sRole{Labels: labels},
			[]string{"server", ownToken, "--node-label=a=1", "--agent-token-file=" + k3sAgentTokenPath, "--advertise-address=100.64.1.2", "--tls-san=100.64.1.2", "--tls-san=n1", "--etcd-disable-snapshots"},
			[]string{"--cluster-init", "--server=", "--etcd-arg", "--kube-scheduler-arg", "--kube-controller-manager-arg"},
		},
		{
			"first of several",
			k3sRole{Database: beginEtcd},
			[]string{"server", ownToken, "--cluster-init", "--etcd-arg=experimental-initial-corrupt-check=false", "--kube-scheduler-arg=leader-elect-lease-duration=45s", "--kube-controller-manager-arg=leader-elect-renew-deadline=30s"},
			[]string{"--server="},
		},
		{
			"second",
			k3sRole{Database: joinEtcd, Join: join},
			[]string{"server", "--server=" + join.Server, "--token-file=" + join.TokenPath, "--agent-token-file=" + k3sAgentTokenPath},
			[]string{"--cluster-init", ownToken},
		},
		{
			"second, later",
			k3sRole{Database: memberOfEtcd},
			[]string{"server", ownToken, "--etcd-arg=experimental-compact-hash-check-enabled=true"},
			[]string{"--cluster-init", "--server="},
		},
		{
			"agent",
			k3sRole{Agent: true, Join: join, Labels: labels},
			[]string{"agent", "--server=" + join.Server, "--token-file=" + join.TokenPath, "--node-label=b=2", "--kubelet-arg=pod-max-pids=4096", "--kube-proxy-arg=nodeport-addresses=0.0.0.0/0", "--resolv-conf=/run/resolv.conf"},
			[]string{"server", ownToken, "--agent-token-file", "--tls-san", "--disable", "--etcd-", "--cluster-init", "--write-kubeconfig", "--flannel-backend", "--egress-selector-mode", "--advertise-address"},
		},
	} {
		tt.role.Name, tt.role.Address = "n1", address
		c, err := tt.role.command()
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for _, want := range append(tt.want, "--node-name=n1", "--node-ip=100.64.1.2", "--bind-address=100.64.1.2", "--data-dir="+k3sData) {
			if !slices.Contains(c.args, want) {
				t.Errorf("%s: %q is not in %q", tt.name, want, c.args)
			}
		}
		for _, not := range tt.not {
			if i := slices.IndexFunc(c.args, func(a string) bool { return strings.HasPrefix(a, not) }); i >= 0 {
				t.Errorf("%s: %q is in %q", tt.name, c.args[i], c.args)
			}
		}
		if c.oomScore != -999 || !c.notify || c.path != k3sPath {
			t.Errorf("%s: command %+v", tt.name, c)
		}
	}
}

func TestK3sCommandRefuses(t *testing.T) {
	join := k3sJoin{Server: "https://100.64.1.1:6443", TokenPath: "/run/mycelium/join"}
	four, six := netip.MustParseAddr("100.64.1.2"), netip.MustParseAddr("fd00::1")
	for name, role := range map[string]k3sRole{
		"no name":                 {Address: four},
		"no address":              {Name: "n1"},
		"IPv6":                    {Name: "n1", Address: six},
		"agent alone":             {Name: "n1", Address: four, Agent: true},
		"joining nobody":          {Name: "n1", Address: four, Database: joinEtcd},
		"alone, joining":          {Name: "n1", Address: four, Join: join},
		"beginning, joining":      {Name: "n1", Address: four, Database: beginEtcd, Join: join},
		"member already, joining": {Name: "n1", Address: four, Database: memberOfEtcd, Join: join},
	} {
		if c, err := role.command(); err == nil {
			t.Errorf("%s: %q", name, c.args)
		}
	}
}
