package identity

import (
	"fmt"
	"slices"
	"time"
)

// Invite returns a token with which up to uses keys can ask to be admitted with
// caps until lifetime has passed (at most MaxInviteLifetime). It refuses caps
// beyond the delegation, and more uses than serial numbers are left (ErrDelegation).
func (i *Issuer) Invite(caps Caps, uses int, lifetime time.Duration) (Token, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if uses < 1 || uses > MaxInviteUses {
		return Token{}, fmt.Errorf("invite: %w: %d uses, want 1 to %d", ErrMalformed, uses, MaxInviteUses)
	}
	if !caps.Within(i.del.Caps) {
		return Token{}, fmt.Errorf("invite: %w: %s is asked for, this issuer may grant %s", ErrDelegation, caps, i.del.Caps)
	}
	if left := i.left(); uint64(uses) > left {
		return Token{}, fmt.Errorf("invite: %w: %d uses are asked for, this issuer has %d certificates left: get a new delegation", ErrDelegation, uses, left)
	}
	now := i.verifier.clock.Now().UTC().Truncate(time.Second)
	id := i.led.newInviteID()
	data, err := Sign(i.key, Invite{
		Network: i.del.Network, Issuer: i.del.Issuer, ID: id,
		Issued: now, Expires: now.Add(lifetime), Uses: uint16(uses), Caps: caps, Anchor: i.verifier.currentRoot(),
	})
	if err != nil {
		return Token{}, err
	}
	led, err := i.led.withInvite(inviteUse{ID: id, Expires: now.Add(lifetime), Uses: uint16(uses)}, now)
	if err != nil {
		return Token{}, err
	}
	if err := i.save(led); err != nil {
		return Token{}, err
	}
	if err := i.verifier.clock.Observe(now); err != nil {
		return Token{}, err
	}
	return newToken(data)
}

// Withdraw makes the invite with that ID unusable. Members that it has brought
// stay. An invite that is not in the ledger is no error.
func (i *Issuer) Withdraw(id uint64) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	at, ok := i.led.find(id)
	if !ok {
		return nil
	}
	led := i.led
	led.Invites = slices.Delete(slices.Clone(led.Invites), at, at+1)
	return i.save(led)
}

// Admissible says whether r shows an invite that can be used now
// (ErrWrongNetwork, ErrNotYetValid, ErrExpired, ErrInvite).
func (i *Issuer) Admissible(r *Request) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	_, _, err := i.admissible(r)
	return err
}

// admissible returns the invite and its place in the ledger.
func (i *Issuer) admissible(r *Request) (inv *Invite, at int, err error) {
	if len(r.Invite) == 0 {
		return nil, 0, fmt.Errorf("%w: the request of %s carries none: make it with a token", ErrInvite, r.Name)
	}
	inv, err = Parse[Invite](r.Invite)
	switch {
	case err != nil:
		return nil, 0, err
	case inv.Network != i.del.Network:
		return nil, 0, wrongNetwork("the invite of "+r.Name, inv.Network, i.del.Network)
	case inv.Issuer != i.del.Issuer:
		return nil, 0, fmt.Errorf("%w: invite %016x of %s is by issuer %s: ask that one", ErrInvite, inv.ID, r.Name, inv.Issuer)
	}
	now := i.verifier.clock.Now()
	if err := checkValidity(fmt.Sprintf("invite %016x of %s", inv.ID, r.Name), inv.Issued, inv.Expires, now); err != nil {
		return nil, 0, err
	}
	at, ok := i.led.find(inv.ID)
	if !ok {
		return nil, 0, fmt.Errorf("%w: invite %016x of %s is not in the ledger, it was withdrawn: get a new one", ErrInvite, inv.ID, r.Name)
	}
	use := i.led.Invites[at]
	if use.admitted(r.Key) == nil && len(use.Admitted) >= int(use.Uses) {
		return nil, 0, fmt.Errorf("%w: invite %016x has admitted %d of %d members, %s would be one more: get a new one", ErrInvite, inv.ID, len(use.Admitted), use.Uses, r.Name)
	}
	return inv, at, nil
}

// Admit grants a newcomer's encoded request and returns its credential. Asking
// again with the same request returns the same certificate and uses nothing up,
// so an answer that was lost can be had again. Errors are those of Admissible,
// ErrRevoked for a revoked key, and ErrDelegation when the quota is used up.
func (i *Issuer) Admit(request []byte) ([]byte, error) {
	r, err := i.parseRequest(request)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	inv, at, err := i.admissible(r)
	if err != nil {
		return nil, err
	}
	if data := i.led.Invites[at].admitted(r.Key); data != nil {
		c, err := Parse[Certificate](data)
		if err != nil {
			return nil, err
		}
		if c.Mesh != r.Mesh || c.Name != r.Name {
			return nil, fmt.Errorf("%w: key %s was admitted as %s with another mesh key: renew its certificate instead", ErrInvite, r.Key, c.Name)
		}
		return i.verifier.NewCredential(i.led.Delegation, data)
	}
	return i.certify(r, inv.Caps, at)
}
