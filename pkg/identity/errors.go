package identity

import "errors"

// The reasons for a refusal, for errors.Is. Each refusal wraps one, and its
// text says on what and what to do.
var (
	// ErrMalformed: the bytes are not one canonically encoded statement of the expected kind.
	ErrMalformed = errors.New("malformed")
	// ErrSignature: the signature is not by the key that the statement names, or
	// a credential's parts do not belong together.
	ErrSignature = errors.New("bad signature")
	// ErrWrongNetwork: the statement belongs to another network.
	ErrWrongNetwork = errors.New("wrong network")
	// ErrUntrustedRoot: the delegation is by a key that is not a root of this network.
	ErrUntrustedRoot = errors.New("untrusted root")
	// ErrRetiredRoot: the delegation is by an earlier root key whose overlap has ended.
	ErrRetiredRoot = errors.New("retired root")
	// ErrDelegation: the certificate is outside what its issuer may certify, or
	// the issuer's quota is used up.
	ErrDelegation = errors.New("outside the delegation")
	// ErrNotYetValid: the validity begins in the future.
	ErrNotYetValid = errors.New("not yet valid")
	// ErrExpired: the validity has ended.
	ErrExpired = errors.New("expired")
	// ErrRevoked: a revocation list names the key or the serial number.
	ErrRevoked = errors.New("revoked")
	// ErrRole: the member lacks the role that is required.
	ErrRole = errors.New("role not sufficient")
	// ErrNotMember: the peer is only invited, and only enrolment is open to it.
	ErrNotMember = errors.New("not a member")
	// ErrWrongPeer: the peer is a member, but not the one that was asked for.
	ErrWrongPeer = errors.New("wrong peer")
	// ErrInvite: the issuer does not know the invite, or its uses are spent.
	ErrInvite = errors.New("invite not usable")
	// ErrRollback: the statement is older than, or contradicts, one accepted before.
	ErrRollback = errors.New("rollback")
	// ErrState: a state file is damaged. It is never replaced by an empty one.
	ErrState = errors.New("damaged state")
	// ErrLocked: none of the given passphrases or identities opens a key file.
	ErrLocked = errors.New("cannot decrypt")
)
