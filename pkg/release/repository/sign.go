package repository

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/digital-mycelium/os/pkg/identity"
)

// Sign signs what is staged of the given roles, all if none is given, with an Ed25519
// key as far as it counts for them. It returns the roles that it signed;
// ErrNothing if there is none. What has all its signatures gets no more: its digest
// may be known already.
func (r *Repository) Sign(key crypto.Signer, roles ...string) (signed []string, err error) {
	id, err := keyID(key)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if len(roles) == 0 {
		roles = Roles()
	}
	for _, role := range Roles() { // in this order: one is made from the one before
		if !slices.Contains(roles, role) {
			continue
		}
		done, err := r.signRole(role, id, key)
		if err != nil {
			return signed, fmt.Errorf("sign %s: %w", role, err)
		}
		if !done {
			continue
		}
		signed = append(signed, role)
		if err := r.advance(); err != nil {
			return signed, err
		}
	}
	if len(signed) == 0 {
		return nil, fmt.Errorf("sign: %w: with this key nothing is to be signed, or it has signed", ErrNothing)
	}
	return signed, nil
}

func (r *Repository) signRole(role, id string, key crypto.Signer) (bool, error) {
	s := &r.staged
	switch role {
	case Root:
		if s.root == nil || r.rootMissing() == 0 || !slices.Contains(r.rootSigners(), id) {
			return false, nil
		}
		return sign(r, role, &s.root, id, key)
	case Targets:
		if s.targets == nil || !r.mayAdd(role, id, valid(r.root(), role, s.targets)) {
			return false, nil
		}
		return sign(r, role, &s.targets, id, key)
	case Snapshot:
		if s.snapshot == nil || !r.mayAdd(role, id, valid(r.root(), role, s.snapshot)) {
			return false, nil
		}
		return sign(r, role, &s.snapshot, id, key)
	}
	if s.timestamp == nil || !r.mayAdd(role, id, valid(r.root(), role, s.timestamp)) {
		return false, nil
	}
	return sign(r, role, &s.timestamp, id, key)
}

func (r *Repository) mayAdd(role, id string, complete bool) bool {
	return !complete && slices.Contains(r.root().Signed.Roles[role].KeyIDs, id)
}

// sign adds a signature unless the key has signed.
func sign[T metadata.Roles](r *Repository, role string, at **document[T], id string, key crypto.Signer) (bool, error) {
	m := (*at).Metadata
	if slices.ContainsFunc(m.Signatures, func(s metadata.Signature) bool { return s.KeyID == id }) {
		return false, nil
	}
	if _, err := m.Sign(signer{key}); err != nil {
		return false, err
	}
	return true, stage(r, role, at, m)
}

// rootSigners are the keys whose signature on the staged root counts: of the new
// root, and of the old one.
func (r *Repository) rootSigners() []string {
	if r.staged.root == nil {
		return nil
	}
	ids := slices.Clone(r.staged.root.Signed.Roles[Root].KeyIDs)
	if r.published.root != nil {
		ids = append(ids, r.published.root.Signed.Roles[Root].KeyIDs...)
	}
	return ids
}

// rootMissing is how many thresholds the staged root does not reach yet: its own,
// and the one of the root before.
func (r *Repository) rootMissing() int {
	missing := 0
	if !valid(r.staged.root, Root, r.staged.root) {
		missing++
	}
	if r.published.root != nil && !valid(r.published.root, Root, r.staged.root) {
		missing++
	}
	return missing
}

func keyID(key crypto.Signer) (string, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return "", errors.New("it is not an Ed25519 key")
	}
	k, err := metadata.KeyFromPublicKey(public)
	if err != nil {
		return "", err
	}
	return k.ID()
}

// signer is a key in the form that the library wants.
type signer struct{ key crypto.Signer }

// PublicKey implements signature.Signer.
func (s signer) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return s.key.Public(), nil
}

// SignMessage implements signature.Signer.
func (s signer) SignMessage(message io.Reader, _ ...signature.SignOption) ([]byte, error) {
	data, err := io.ReadAll(message)
	if err != nil {
		return nil, err
	}
	return s.key.Sign(rand.Reader, data, crypto.Hash(0))
}

// RoleStatus is how far the metadata of a role has come.
type RoleStatus struct {
	Role string `json:"role"`
	// Published is the version that is published, 0 if there is none, and Expires when
	// it does.
	Published int64     `json:"published"`
	Expires   time.Time `json:"expires,omitzero"`
	// Staged is the version that is to be published, 0 if there is none.
	Staged int64 `json:"staged,omitempty"`
	// Signed are the keys that have signed what is staged, Missing those that may.
	Signed  []identity.PublicKey `json:"signed,omitempty"`
	Missing []identity.PublicKey `json:"missing,omitempty"`
	// Complete says that enough have signed.
	Complete bool `json:"complete,omitempty"`
	// Threshold is how many of Keys must sign.
	Threshold int                  `json:"threshold"`
	Keys      []identity.PublicKey `json:"keys"`
}

// Status returns how far each role has come.
func (r *Repository) Status() []RoleStatus {
	s, p := &r.staged, &r.published
	var list []RoleStatus
	for _, role := range Roles() {
		may := r.root().Signed.Roles[role].KeyIDs
		st := RoleStatus{Role: role, Threshold: r.root().Signed.Roles[role].Threshold}
		for _, id := range may {
			st.Keys = append(st.Keys, r.public(id))
		}
		switch role {
		case Root:
			fill(r, &st, p.root, s.root, r.rootSigners(), func(d *document[metadata.RootType]) (int64, time.Time) { return d.Signed.Version, d.Signed.Expires })
			st.Complete = s.root != nil && r.rootMissing() == 0
		case Targets:
			fill(r, &st, p.targets, s.targets, may, func(d *document[metadata.TargetsType]) (int64, time.Time) { return d.Signed.Version, d.Signed.Expires })
		case Snapshot:
			fill(r, &st, p.snapshot, s.snapshot, may, func(d *document[metadata.SnapshotType]) (int64, time.Time) { return d.Signed.Version, d.Signed.Expires })
		case Timestamp:
			fill(r, &st, p.timestamp, s.timestamp, may, func(d *document[metadata.TimestampType]) (int64, time.Time) {
				return d.Signed.Version, d.Signed.Expires
			})
		}
		if st.Complete {
			st.Missing = nil
		}
		list = append(list, st)
	}
	return list
}

// fill says what is published of a role, what is staged, and who has signed that.
func fill[T metadata.Roles](r *Repository, st *RoleStatus, published, staged *document[T], may []string, of func(*document[T]) (int64, time.Time)) {
	if published != nil {
		st.Published, st.Expires = of(published)
	}
	if staged == nil {
		return
	}
	st.Staged, _ = of(staged)
	st.Complete = valid(r.root(), st.Role, staged)
	may = slices.Sorted(slices.Values(may))
	for _, id := range slices.Compact(may) {
		if slices.ContainsFunc(staged.Signatures, func(s metadata.Signature) bool { return s.KeyID == id }) {
			st.Signed = append(st.Signed, r.public(id))
		} else {
			st.Missing = append(st.Missing, r.public(id))
		}
	}
}

// public returns a key by its TUF id; the zero key if it is none of ours.
func (r *Repository) public(id string) identity.PublicKey {
	for _, root := range []*document[metadata.RootType]{r.staged.root, r.published.root} {
		if root == nil || root.Signed.Keys[id] == nil {
			continue
		}
		key, err := root.Signed.Keys[id].ToPublicKey()
		if raw, ok := key.(ed25519.PublicKey); err == nil && ok && len(raw) == ed25519.PublicKeySize {
			return identity.PublicKey(raw)
		}
	}
	return identity.PublicKey{}
}
