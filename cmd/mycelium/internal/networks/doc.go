// Package networks keeps an operator's networks on disk, one directory each,
// on top of pkg/identity:
//
//	root-1.age      the root key, encrypted for its owner alone
//	issuer.age      the key that certifies and invites
//	operator.age    the operator's own key
//	local.key       the age identity that opens the two; not the root key
//	operator.cred   the operator's credential
//	ledger          the issuer's delegation, serial numbers and invites
//	trust, clock    root rotations and revocations; the latest time seen
//	lock            held by the one program that uses the directory
//
// Access that another operator has handed over has no root key and no issuer.
// A network is whole or absent: it is built beside its place and renamed into
// it. Every file is written in one step and synced.
package networks
