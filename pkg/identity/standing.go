package identity

import (
	"fmt"
	"time"
)

// Now returns the time by which v judges.
func (v *Verifier) Now() time.Time { return v.clock.Now() }

// Examine is Verify for who keeps credentials, also of members that do not count
// at present: err says that a credential is not authentic, standing that it is
// and does not count (ErrNotYetValid, ErrExpired, ErrRevoked).
func (v *Verifier) Examine(credential []byte) (d *Delegation, c *Certificate, standing, err error) {
	p, standing, err := v.examine(credential)
	if err != nil {
		return nil, nil, nil, err
	}
	return p.del, p.cert, standing, nil
}

// Standing says whether a certificate still counts that Examine has accepted
// before, with the delegation beside it in its credential: it looks at dates,
// revocations and root rotations (ErrNotYetValid, ErrExpired, ErrRevoked,
// ErrRetiredRoot) and at no signature, and so costs next to nothing.
func (v *Verifier) Standing(d *Delegation, c *Certificate) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.timeFor(c.NotBefore)
	if _, err := v.rootIndex(v.rotations, d.Root, now); err != nil {
		return err
	}
	if err := v.checkRevoked(c); err != nil {
		return err
	}
	return checkValidity(fmt.Sprintf("certificate %d of %s", c.Serial, c.Name), c.NotBefore, c.NotAfter, now)
}
