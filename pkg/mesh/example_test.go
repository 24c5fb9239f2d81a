package mesh_test

import (
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/members"
	"github.com/digital-mycelium/os/pkg/mesh"
)

// The mesh of all members: what one node does when the directory has changed.
func Example() {
	self := identity.GenerateKey()
	address := netip.PrefixFrom(identity.MeshAddress(self.Public()), identity.MeshPrefix.Bits())
	m, err := mesh.Open("mycelium0", self.Derive("mesh"), address, 51820, 1420, slog.Default())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = m.Close() }()
	var directory *members.Directory // from members.Open
	var peers []mesh.Peer
	for _, n := range directory.Members() {
		if n.Key == self.Public() {
			continue
		}
		p := mesh.Peer{Key: n.Mesh, Allowed: []netip.Prefix{netip.PrefixFrom(n.Address, n.Address.BitLen())}}
		for _, a := range n.Addresses {
			p.Endpoints = append(p.Endpoints, netip.AddrPortFrom(a, 51820))
		}
		peers = append(peers, p)
	}
	if err := m.Apply(peers); err != nil {
		fmt.Println(err)
	}
}
