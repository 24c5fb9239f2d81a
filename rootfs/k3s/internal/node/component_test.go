package node

import (
	"reflect"
	"strings"
	"testing"

	"github.com/k3s-io/k3s/pkg/cli/cmds"
	daemonconfig "github.com/k3s-io/k3s/pkg/daemons/config"
)

func TestWithNFTables(t *testing.T) {
	tests := []struct{ args, want string }{
		{"", "--proxy-mode=nftables"},
		{"--v=1 --proxy-mode=iptables --x=y", "--v=1 --x=y --proxy-mode=nftables"},
		{"--proxy-mode=nftables --x=y", "--proxy-mode=nftables --x=y"},
		{"--proxy-mode=ipvs", "--proxy-mode=ipvs"},
	}
	for _, tt := range tests {
		got := withNFTables(strings.Fields(tt.args))
		if want := strings.Fields(tt.want); !reflect.DeepEqual(got, want) {
			t.Errorf("withNFTables(%q) = %q, want %q", tt.args, got, want)
		}
	}
}

func TestCheckSupported(t *testing.T) {
	tests := []struct {
		name    string
		backend string
		vpn     string
		ok      bool
	}{
		{"no flannel", "none", "", true},
		{"an agent that has not been told", "", "", true},
		{"flannel", "vxlan", "", false},
		{"VPN", "none", "name=tailscale", false},
	}
	for _, tt := range tests {
		node := &daemonconfig.Node{}
		node.Flannel.Backend = tt.backend
		err := checkSupported(node, cmds.Agent{VPNAuth: tt.vpn})
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestStartGCPercent(t *testing.T) {
	for total, want := range map[uint64]int{512 << 20: defPercent, 1 << 30: defPercent, 2 << 30: startPercent, 64 << 30: startPercent} {
		if got := startGCPercent(total); got != want {
			t.Errorf("with %d bytes: %d %%, want %d %%", total, got, want)
		}
	}
}
