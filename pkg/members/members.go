package members

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/digital-mycelium/os/pkg/identity"
)

const (
	// MaxMembers bounds the nodes in a directory.
	MaxMembers = 4096

	// Grace is how long a node stays in a directory after its certificate has
	// ended, although it counts no more: it may be about to renew it.
	Grace = 24 * time.Hour
)

// The reasons for which a record that is authentic is not taken.
var (
	// ErrConflict: another node that was known first has the mesh address or mesh key.
	ErrConflict = errors.New("mesh address taken")
	// ErrFull: the directory holds MaxMembers nodes.
	ErrFull = errors.New("directory full")
	// ErrCopy: somebody else announces with this node's own key.
	ErrCopy = errors.New("key in use elsewhere")
)

// Record is what one node tells another of a third. Announcement may be empty
// when it is not known.
type Record struct {
	Credential, Announcement []byte
}

// Member is a node of the network.
type Member struct {
	identity.Certificate
	// Address is the node's on the mesh.
	Address netip.Addr
	// Addresses are where it says that it can be reached; none while it has not
	// announced itself.
	Addresses []netip.Addr
	// Issuer says that it admits newcomers, Serving that others can join Kubernetes
	// through it. Serving is what it says and its certificate allows.
	Issuer, Serving bool
	OS              string
	// Announced is the version of its announcement, 0 when there is none.
	Announced uint64
}

// Directory is the nodes that one node knows, itself included. It is safe for
// concurrent use; one process at a time may use the file.
type Directory struct {
	path     string
	verifier *identity.Verifier

	mu      sync.Mutex
	entries map[identity.PublicKey]*entry
	held    map[[sha256.Size]byte]identity.PublicKey // by Record.hash
	address map[netip.Addr]identity.PublicKey
	mesh    map[[32]byte]identity.PublicKey
	self    *self
	dirty   bool          // the file does not say what entries does
	changed chan struct{} // closed at the next change
}

// entry is what is known of one node. It is never changed, only replaced.
type entry struct {
	record       Record
	delegation   *identity.Delegation
	certificate  *identity.Certificate
	announcement *identity.Announcement // nil when there is none
}

// Open returns the directory that the file path keeps, an empty one when there
// is none. It is usable whatever err says: that the file is damaged, cannot be
// read, or holds records that do not verify, which are left out.
func Open(path string, v *identity.Verifier) (*Directory, error) {
	d := &Directory{
		path: path, verifier: v, changed: make(chan struct{}),
		entries: map[identity.PublicKey]*entry{}, held: map[[sha256.Size]byte]identity.PublicKey{},
		address: map[netip.Addr]identity.PublicKey{}, mesh: map[[32]byte]identity.PublicKey{},
	}
	records, err := readFile(path)
	if err != nil {
		d.dirty = true
		return d, err
	}
	var bad refusals
	d.merge(d.verify(records, &bad, ended), &bad)
	d.dirty = len(d.entries) != len(records)
	return d, bad.err("read the members " + path)
}

// ended says whether a refusal is what time brings, and nothing to report of a
// record that was good when it was kept.
func ended(err error) bool {
	return errors.Is(err, identity.ErrExpired) || errors.Is(err, identity.ErrRevoked) || errors.Is(err, identity.ErrRetiredRoot)
}

// Merge takes over what is new in records and says whether anything was. The
// error tells of records that were refused, by number and with the first
// reasons (identity's, ErrConflict, ErrFull, ErrCopy), and of a file that could
// not be written; neither keeps the other records from being taken. At most
// MaxMembers records are looked at.
func (d *Directory) Merge(records []Record) (changed bool, err error) {
	var bad refusals
	if extra := len(records) - MaxMembers; extra > 0 {
		bad.add(extra, fmt.Errorf("%w: %d records came at once, %d were looked at", ErrFull, len(records), MaxMembers))
		records = records[:MaxMembers]
	}
	entries := d.verify(records, &bad, nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	changed = d.prune()
	changed = d.merge(entries, &bad) || changed
	if err := d.reclaim(); err != nil {
		bad.add(1, err)
	}
	return changed, errors.Join(bad.err("take over members"), d.settle(changed))
}

// Prune drops nodes that are revoked, or whose certificate ended Grace ago.
// Merge does so too; without it, call it when revocations have come and now and
// then. The error is of writing the file.
func (d *Directory) Prune() (changed bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	changed = d.prune()
	return changed, d.settle(changed)
}

// Records returns everything that is known, for handing on, in the order of the
// keys. The caller must not change the bytes.
func (d *Directory) Records() []Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.records()
}

func (d *Directory) records() []Record {
	out := make([]Record, 0, len(d.entries))
	for _, k := range d.keys() {
		out = append(out, d.entries[k].record)
	}
	return out
}

func (d *Directory) keys() []identity.PublicKey {
	return slices.SortedFunc(maps.Keys(d.entries), func(a, b identity.PublicKey) int { return slices.Compare(a[:], b[:]) })
}

// Members returns the nodes in good standing at this moment, this one included,
// in the order of their names and keys.
func (d *Directory) Members() []Member {
	return d.list(func(standing error) bool { return standing == nil })
}

// Lapsed returns the nodes that are known but do not count: their certificates
// have ended, and they may be about to renew them.
func (d *Directory) Lapsed() []Member {
	return d.list(func(standing error) bool { return errors.Is(standing, identity.ErrExpired) })
}

func (d *Directory) list(want func(standing error) bool) []Member {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Member
	for _, k := range d.keys() {
		if e := d.entries[k]; want(d.verifier.Standing(e.delegation, e.certificate)) {
			out = append(out, e.member())
		}
	}
	slices.SortStableFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (e *entry) member() Member {
	m := Member{Certificate: *e.certificate, Address: identity.MeshAddress(e.certificate.Key)}
	if a := e.announcement; a != nil {
		m.Addresses, m.OS, m.Announced = slices.Clone(a.Addresses), a.OS, a.Version
		m.Issuer, m.Serving = a.Issuer, a.Serving && e.certificate.Caps.Node >= identity.Server
	}
	return m
}

// Changed returns a channel that is closed at the next change. Ask for it before
// reading, so that no change is missed. That a certificate ends is no change.
func (d *Directory) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// Conflict says whether a node with these keys could not be taken, because
// another has its mesh address or mesh key (ErrConflict), or there are too many
// (ErrFull). An issuer asks before it admits a newcomer.
func (d *Directory) Conflict(key identity.PublicKey, mesh [32]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conflict(key, mesh)
}

func (d *Directory) conflict(key identity.PublicKey, mesh [32]byte) error {
	address := identity.MeshAddress(key)
	if first, ok := d.address[address]; ok && first != key {
		return fmt.Errorf("%w: %s of %s is the address of %s too, which was known first: give it a new key", ErrConflict, address, key, first)
	}
	if first, ok := d.mesh[mesh]; ok && first != key {
		return fmt.Errorf("%w: %s has the mesh key of %s, which was known first: one copies the other", ErrConflict, key, first)
	}
	if _, known := d.entries[key]; !known && len(d.entries) >= MaxMembers {
		return fmt.Errorf("%w: %s would be one more than %d nodes: remove some", ErrFull, key, MaxMembers)
	}
	return nil
}
