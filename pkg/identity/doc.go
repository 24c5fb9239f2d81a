// Package identity says who belongs to a network and what each member may do.
//
// A network is an Ed25519 root key; its NetworkID is a hash of the first root
// key and never changes. The root key stays offline. It signs a Delegation for
// each online issuer, the issuer signs a Certificate for each node and
// operator, and that is the only path of trust:
//
//	root key ── Delegation ── issuer key ── Certificate ── node or operator key
//	    └────── Rotation ───── next root key
//
// A newcomer holds a Token, which only invites: it entitles the newcomer to
// show the issuer a Request signed by its own key, and the issuer certifies
// that key. Revocation lists take a key or a serial number back. A node tells
// the others where it is by an Announcement, which gives no right. An OSFile is a
// developer's word for a file; whose word counts, the node's configuration says.
//
// Every statement is signed in one way (Sign) and read in one way (Parse), in
// one canonical encoding. A Verifier judges a member's credential, which is the
// Delegation and the Certificate in one string; it holds a Store, which
// remembers root rotations and revocation lists and refuses to go back, and a
// Clock, which is never earlier than the latest signed time that it has seen.
// TLS carries the credential inside a self-signed X.509 certificate, and the
// same Verifier is the only judge of it: see Verifier.ServerTLS.
//
// Every refusal wraps one of the package's Err values. The types that hold
// secrets (PrivateKey, Token, Passphrase) show as "(secret)" however they are
// formatted or encoded.
package identity
