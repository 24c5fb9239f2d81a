// Package networks keeps an operator's networks on disk, one directory each,
// on top of pkg/identity:
//
//	root-1.age      the root key, encrypted for its owner alone
//	issuer.age      the key that certifies and invites
//	servers.age     the key of the servers' issuer, until a node has it
//	operator.age    the operator's own key
//	local.key       the age identity that opens the three; not the root key
//	operator.cred   the operator's credential
//	ledger          the issuer's delegation, serial numbers and invites
//	servers.delegation  what the servers' issuer may certify
//	nodes.json      the nodes that are known, and where they are
//	trust, clock    root rotations and revocations; the latest time seen
//	lock            held by the one program that uses the directory
//
// A network has two issuers: one here, and one for its first server, which lets
// machines in by invite while the operator's computer is away. Enrol hands the
// latter's key over with the first node's membership. ClientTLS and Kubeconfig
// are for calling the nodes.
//
// Access that another operator has handed over has no root key and no issuer.
// A network is whole or absent: it is built beside its place and renamed into
// it. Every file is written in one step and synced.
package networks
