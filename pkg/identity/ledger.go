package identity

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

const (
	ledgerName = "issuer's ledger"
	maxInvites = 4096 // invites that can be used at one time
)

// ledger is what an Issuer remembers across restarts.
type ledger struct {
	_          struct{} `cbor:",toarray"`
	Delegation []byte
	Next       uint64      // serial number of the next certificate
	Invites    []inviteUse // by ascending ID, those that have not expired
}

// inviteUse counts the uses of one invite.
type inviteUse struct {
	_        struct{} `cbor:",toarray"`
	ID       uint64
	Expires  time.Time
	Uses     uint16
	Admitted []admission
}

// admission is a certificate that was made on an invite.
type admission struct {
	_           struct{} `cbor:",toarray"`
	Key         PublicKey
	Certificate []byte
}

// check finds damage that the file's checksum cannot show.
func (l *ledger) check(d *Delegation) error {
	if l.Next < d.FirstSerial || l.Next-d.FirstSerial > d.Count {
		return fmt.Errorf("next serial number %d, the delegation has %d from %d", l.Next, d.Count, d.FirstSerial)
	}
	if !ascending(l.Invites, func(a, b inviteUse) int { return cmp.Compare(a.ID, b.ID) }) {
		return fmt.Errorf("its %d invites are not in order", len(l.Invites))
	}
	return nil
}

func (l *ledger) find(id uint64) (at int, ok bool) {
	return slices.BinarySearchFunc(l.Invites, id, func(u inviteUse, id uint64) int { return cmp.Compare(u.ID, id) })
}

// newInviteID draws a number that no invite in the ledger has.
func (l *ledger) newInviteID() uint64 {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails: documented since Go 1.24
		id := binary.BigEndian.Uint64(b[:])
		if _, taken := l.find(id); !taken {
			return id
		}
	}
}

// withInvite returns the ledger with one more invite and without those that
// have expired: an invite that is not in the ledger cannot be used, so that
// setting a clock back does not bring one to life again.
func (l *ledger) withInvite(u inviteUse, now time.Time) (ledger, error) {
	next := *l
	next.Invites = slices.DeleteFunc(slices.Clone(l.Invites), func(u inviteUse) bool { return !now.Before(u.Expires) })
	if len(next.Invites) >= maxInvites {
		return ledger{}, fmt.Errorf("invite: %w: %d invites can be used at present: wait until some have expired, or make them for several uses", ErrDelegation, len(next.Invites))
	}
	at, _ := next.find(u.ID)
	next.Invites = slices.Insert(next.Invites, at, u)
	return next, nil
}

// admitted returns the certificate that was made for key, nil if there is none.
func (u inviteUse) admitted(key PublicKey) []byte {
	for _, a := range u.Admitted {
		if a.Key == key {
			return a.Certificate
		}
	}
	return nil
}
