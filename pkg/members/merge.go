package members

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/digital-mycelium/os/pkg/identity"
)

// hash names a record by all of its bytes.
func (r Record) hash() [sha256.Size]byte {
	h := sha256.New()
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(r.Credential)))
	h.Write(length[:])
	h.Write(r.Credential)
	h.Write(r.Announcement)
	return [sha256.Size]byte(h.Sum(nil))
}

// verify returns the good ones of those records that are not held as they are.
// Refusals that the function quiet knows are not counted; it may be nil.
func (d *Directory) verify(records []Record, bad *refusals, quiet func(error) bool) []*entry {
	var out []*entry
	for _, r := range records {
		d.mu.Lock()
		_, held := d.held[r.hash()]
		d.mu.Unlock()
		if held {
			continue
		}
		e, err := d.read(r)
		switch {
		case err == nil:
			out = append(out, e)
		case quiet == nil || !quiet(err):
			bad.add(1, err)
		}
	}
	return out
}

// read verifies a record from anywhere.
func (d *Directory) read(r Record) (*entry, error) {
	e := &entry{record: Record{Credential: bytes.Clone(r.Credential)}}
	var standing, err error
	if e.delegation, e.certificate, standing, err = d.verifier.Examine(r.Credential); err != nil {
		return nil, err
	}
	if standing != nil && !errors.Is(standing, identity.ErrExpired) {
		return nil, standing
	}
	if e.certificate.Caps.Node == identity.NoNode {
		return nil, fmt.Errorf("%w: %s is a person's key and no node", identity.ErrRole, e.certificate.Name)
	}
	if err := d.keep(e); err != nil {
		return nil, err
	}
	if len(r.Announcement) == 0 {
		return e, nil
	}
	if e.announcement, err = identity.Parse[identity.Announcement](r.Announcement); err != nil {
		return nil, fmt.Errorf("%s: %w", e.certificate.Name, err)
	}
	if a := e.announcement; a.Key != e.certificate.Key || a.Network != e.certificate.Network {
		return nil, fmt.Errorf("%w: the announcement beside the credential of %s is by %s of network %s", identity.ErrSignature, e.certificate.Name, a.Key, a.Network)
	}
	e.record.Announcement = bytes.Clone(r.Announcement)
	return e, nil
}

// keep says why e has no place in the directory, if so.
func (d *Directory) keep(e *entry) error {
	err := d.verifier.Standing(e.delegation, e.certificate)
	if errors.Is(err, identity.ErrExpired) && d.verifier.Now().Before(e.certificate.NotAfter.Add(Grace)) {
		return nil
	}
	return err
}

// join returns what is known of a node by two entries. It is commutative,
// associative and idempotent: that is why the order of records does not matter.
func join(a, b *entry) *entry {
	out := *a
	if compareCredentials(b, a) > 0 {
		out.delegation, out.certificate, out.record.Credential = b.delegation, b.certificate, b.record.Credential
	}
	if compareAnnouncements(b, a) > 0 {
		out.announcement, out.record.Announcement = b.announcement, b.record.Announcement
	}
	return &out
}

// compareCredentials orders by what ends last; the rest breaks ties.
func compareCredentials(a, b *entry) int {
	return cmp.Or(
		a.certificate.NotAfter.Compare(b.certificate.NotAfter),
		cmp.Compare(a.certificate.Serial, b.certificate.Serial),
		bytes.Compare(a.record.Credential, b.record.Credential),
	)
}

func compareAnnouncements(a, b *entry) int {
	return cmp.Or(
		cmp.Compare(a.version(), b.version()),
		bytes.Compare(a.record.Announcement, b.record.Announcement),
	)
}

func (e *entry) version() uint64 {
	if e.announcement == nil {
		return 0
	}
	return e.announcement.Version
}

// merge takes over what is new in entries. The caller holds d.mu or is alone.
func (d *Directory) merge(entries []*entry, bad *refusals) (changed bool) {
	for _, e := range entries {
		key := e.certificate.Key
		old, known := d.entries[key]
		if known {
			e = join(old, e)
			if e.record.hash() == old.record.hash() {
				continue
			}
		}
		if err := d.conflict(key, e.certificate.Mesh); err != nil {
			bad.add(1, err)
			continue
		}
		if known {
			d.drop(key)
		}
		d.put(e)
		changed = true
	}
	return changed
}

func (d *Directory) put(e *entry) {
	key := e.certificate.Key
	d.entries[key] = e
	d.held[e.record.hash()] = key
	d.address[identity.MeshAddress(key)] = key
	d.mesh[e.certificate.Mesh] = key
}

func (d *Directory) drop(key identity.PublicKey) {
	e := d.entries[key]
	delete(d.entries, key)
	delete(d.held, e.record.hash())
	delete(d.address, identity.MeshAddress(key))
	delete(d.mesh, e.certificate.Mesh)
}

func (d *Directory) prune() (changed bool) {
	for key, e := range d.entries {
		if d.keep(e) != nil {
			d.drop(key)
			changed = true
		}
	}
	return changed
}

// settle makes a change known and durable. After a write that failed, each
// later call tries again.
func (d *Directory) settle(changed bool) error {
	if changed {
		d.dirty = true
		close(d.changed)
		d.changed = make(chan struct{})
	}
	if !d.dirty {
		return nil
	}
	if err := writeFile(d.path, d.records()); err != nil {
		return err
	}
	d.dirty = false
	return nil
}

// refusals counts bad records and keeps the first few reasons.
type refusals struct {
	count   int
	reasons []error
}

const maxReasons = 4

func (r *refusals) add(records int, reason error) {
	r.count += records
	if len(r.reasons) < maxReasons {
		r.reasons = append(r.reasons, reason)
	}
}

func (r *refusals) err(step string) error {
	if r.count == 0 {
		return nil
	}
	return fmt.Errorf("%s: %d refused, first: %w", step, r.count, errors.Join(r.reasons...))
}
