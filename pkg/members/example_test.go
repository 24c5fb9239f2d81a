package members_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/members"
)

// A node joins: it announces itself in its own directory and exchanges records
// with another node, which knows it from then on.
func Example() {
	dir, err := os.MkdirTemp("", "members")
	must(err)
	defer os.RemoveAll(dir)
	network, issuer := found(dir)
	own, err := members.Open(filepath.Join(dir, "own"), network)
	must(err)
	other, err := members.Open(filepath.Join(dir, "other"), network)
	must(err)

	key := identity.GenerateKey()
	request, err := identity.Sign(key, identity.Request{
		Network: network.Network(), Key: key.Public(), Mesh: key.Derive("example"), Name: "node-1",
	})
	must(err)
	credential, err := issuer.Issue(request, identity.Caps{Node: identity.Agent})
	must(err)
	must(own.SetSelf(key, credential, identity.Announcement{
		Addresses: identity.CanonicalAddresses([]netip.Addr{netip.MustParseAddr("192.168.1.20"), netip.MustParseAddr("127.0.0.1")}),
	}))

	news := other.Changed()
	_, err = other.Merge(own.Records())
	must(err)
	<-news
	for _, m := range other.Members() {
		fmt.Println(m.Name, m.Caps.Node, m.Addresses, m.Address == identity.MeshAddress(key.Public()))
	}
	// Output: node-1 agent [192.168.1.20] true
}

// found makes a network, with all of its keys in one place, which only examples do.
func found(dir string) (*identity.Verifier, *identity.Issuer) {
	root, key := identity.GenerateKey(), identity.GenerateKey()
	id := identity.NetworkOf(root.Public())
	now := time.Now()
	clock, err := identity.OpenClock(filepath.Join(dir, "clock"), now.Add(-time.Hour), nil)
	must(err)
	v, err := identity.CreateVerifier(filepath.Join(dir, "trust"), id, identity.NetworkID{}, clock)
	must(err)
	delegation, err := identity.Sign(root, identity.Delegation{
		Network: id, Root: root.Public(), Issuer: key.Public(), Caps: identity.Caps{Node: identity.Server},
		MaxValidity: 24 * time.Hour, FirstSerial: 1, Count: 10, NotBefore: now, NotAfter: now.Add(48 * time.Hour),
	})
	must(err)
	issuer, err := identity.CreateIssuer(filepath.Join(dir, "ledger"), key, delegation, v)
	must(err)
	return v, issuer
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
