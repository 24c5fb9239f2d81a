package members

import (
	"bytes"
	"fmt"

	"github.com/digital-mycelium/os/pkg/identity"
)

// self is what this node says of itself.
type self struct {
	key  identity.PrivateKey
	want identity.Announcement // Version is not set
}

// SetSelf puts this node into the directory with its credential and what it
// says of itself; the directory signs it. Network, Key and Version of a are set
// here: the version is above every earlier one, and also by the clock, so that
// others take it although the file was lost. The same again changes nothing. The
// error is one for which the node could not be taken or the file not written.
func (d *Directory) SetSelf(key identity.PrivateKey, credential []byte, a identity.Announcement) error {
	a.Network, a.Key, a.Version = d.verifier.Network(), key.Public(), 0
	e, err := d.read(Record{Credential: credential})
	if err == nil && e.certificate.Key != a.Key {
		err = fmt.Errorf("%w: the credential is for %s, the key at hand is %s", identity.ErrSignature, e.certificate.Key, a.Key)
	}
	if err != nil {
		return fmt.Errorf("announce this node: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if old := d.entries[a.Key]; old != nil {
		e = join(old, e)
	}
	s := &self{key, a}
	if !s.said(e) {
		if err := s.announce(e, d.verifier.Now().Unix()); err != nil {
			return err
		}
	}
	var bad refusals
	changed := d.merge([]*entry{e}, &bad)
	if err := bad.err("announce this node"); err != nil {
		return err
	}
	d.self = s
	return d.settle(changed)
}

// said reports whether e says of this node what is wanted.
func (s *self) said(e *entry) bool {
	if e.announcement == nil {
		return false
	}
	want := s.want
	want.Version = e.announcement.Version
	data, err := identity.Sign(s.key, want) // Ed25519 gives the same for the same
	return err == nil && bytes.Equal(data, e.record.Announcement)
}

// announce puts a new announcement into e, whose version is the seconds since
// 1970 now, or higher.
func (s *self) announce(e *entry, now int64) error {
	a := s.want
	a.Version = max(e.version()+1, uint64(max(now, 1)))
	data, err := identity.Sign(s.key, a)
	if err != nil {
		return fmt.Errorf("announce this node: %w", err)
	}
	e.announcement, e.record.Announcement = &a, data
	return nil
}

// reclaim outbids an announcement by this node's key that it has not made: one
// that it made and forgot, or a copy's.
func (d *Directory) reclaim() error {
	if d.self == nil {
		return nil
	}
	e := d.entries[d.self.want.Key]
	if e == nil || d.self.said(e) {
		return nil
	}
	theirs := *e
	mine := *e
	if err := d.self.announce(&mine, d.verifier.Now().Unix()); err != nil {
		return err
	}
	d.drop(theirs.certificate.Key)
	d.put(&mine)
	return fmt.Errorf("%w: announcement %d with this node's key is not by this node and was replaced: when this repeats, another machine runs from a copy of its disk, reset one of them", ErrCopy, theirs.version())
}
