// Package discover finds the nodes of one's own network on the local segments,
// by UDP multicast, as hints: an address at which it is worth asking. A packet
// is signed by nobody; who is there the TLS handshake says (pkg/identity).
//
//	l := discover.Listen(ctx, discover.Options{
//		Network:    network,
//		Flags:      func() discover.Flags { return discover.Flags{Member: true, Issuer: true} },
//		Interfaces: func() []string { return []string{"eth0"} },
//	}, func(h discover.Hint) {
//		try(h.Address) // must not block
//	})
//	...
//	fmt.Println(l.Counters())
//
// Each node asks when it starts, and again after 1, 2, 4, ... 30 seconds until
// somebody answers; a node that is not yet a member keeps asking. Members answer
// everybody at once, by multicast, after a random part of a quarter of a second
// and never more than once a second, so that answers neither meet nor multiply
// and cannot be led to a victim. They also tell of themselves every 30 seconds.
//
// # The packet
//
// It has 32 bytes and goes from and to port 6440/udp of 239.255.25.40 and
// ff12::8000:1928, with a hop limit of 1:
//
//	 0  "MYCD", 1 (version)
//	 5  network id, 16 bytes
//	21  kind: 1 asks, 2 tells "here"
//	22  flags: 1 member, 2 issuer, 4 server
//	23  0
//	24  a random number, which names the packet
//
// Two networks on one segment do not disturb each other: a packet that does not
// begin with one's own first 21 bytes is counted and forgotten, without an
// allocation; so is one that was heard before. Whoever listens on the segment
// learns the network's id, which is no secret, and which nodes belong to it.
package discover
