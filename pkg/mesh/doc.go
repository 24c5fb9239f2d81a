// Package mesh connects this machine to others by WireGuard, each to each, over
// the kernel's own implementation.
//
//	m, err := mesh.Open("mycelium0", key, netip.MustParsePrefix("100.64.1.2/10"), 51820, 1420, logger)
//	...
//	defer m.Close()
//	err = m.Apply([]mesh.Peer{{
//		Key:       theirs, // mesh.PublicKey of their key
//		Allowed:   []netip.Prefix{netip.MustParsePrefix("100.70.3.4/32"), netip.MustParsePrefix("10.42.3.0/24")},
//		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.168.1.20:51820")},
//	}})
//
// Apply says what shall be; the kernel's peers and routes are made so with the
// fewest changes, at once and again every ten seconds, whatever else changed
// them. Sessions of peers that stay are not disturbed. Routes to Allowed carry
// RouteProtocol, so that those which are no longer wanted are known as the
// package's own, and a metric that lets every other route to the same
// destination win: no peer can take an address away that this machine has
// elsewhere. Which destinations a peer may have is for the caller to say.
//
// # Endpoints
//
// A peer is known by several addresses, of which some lead nowhere. The endpoint
// that works, which is one with a handshake in the last three minutes, stays, also
// when the peer moved to it by itself. Otherwise the candidates are tried in turn,
// each for ten seconds (two handshakes), those first that are on a network which
// this machine is on. Its own addresses, those inside the mesh and IPv6 link-local
// ones, which wgctrl cannot name the interface of, are left out.
//
// # Tests
//
// Planning is tested without a kernel, addresses and routes in network namespaces.
// Not every kernel on which the tests run has WireGuard: that the packets flow is
// for the system tests, which boot the real one.
package mesh
