package identity

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	storeName = "network trust"
	maxLists  = 256 // issuers whose revocation lists are kept
)

// storeState is what a Verifier remembers across restarts.
type storeState struct {
	_         struct{} `cbor:",toarray"`
	Network   NetworkID
	Anchor    NetworkID // Invite.Anchor; Network itself when there was none
	Rotations [][]byte
	Lists     [][]byte // revocation lists
}

// list is a Revocation with its encoding.
type list struct {
	*Revocation
	raw []byte
}

// load fills v from st, which may be damaged in ways that a checksum cannot show.
func (v *Verifier) load(st storeState) error {
	v.network, v.anchor = st.Network, st.Anchor
	rotations, err := parseRotations(st.Rotations)
	if err != nil {
		return err
	}
	if v.rotations, err = v.extend(rotations); err != nil {
		return err
	}
	for _, raw := range st.Lists {
		r, err := Parse[Revocation](raw)
		if err != nil {
			return err
		}
		v.lists[listKey(r)] = list{r, raw}
	}
	return nil
}

// save writes what v would be with the given rotations and lists, then makes it so.
func (v *Verifier) save(rotations []rotation, lists map[PublicKey]list) error {
	st := storeState{Network: v.network, Anchor: v.anchor}
	for _, r := range rotations {
		st.Rotations = append(st.Rotations, r.raw)
	}
	for _, k := range slices.SortedFunc(maps.Keys(lists), comparePublicKeys) {
		st.Lists = append(st.Lists, lists[k].raw)
	}
	if err := writeState(v.path, storeName, st); err != nil {
		return err
	}
	v.rotations, v.lists = rotations, lists
	return nil
}

// extend returns the known rotations followed by those of rs that go beyond
// them. rs begins at the first root key.
func (v *Verifier) extend(rs []rotation) ([]rotation, error) {
	chain := slices.Clone(v.rotations)
	for i, r := range rs {
		switch {
		case r.Network != v.network:
			return nil, wrongNetwork(fmt.Sprintf("root rotation %d", r.Number), r.Network, v.network)
		case i < len(chain) && (r.Old != chain[i].Old || r.New != chain[i].New):
			return nil, fmt.Errorf("%w: root rotation %d leads to %s, the one known here to %s: the root key %s has signed both, found a new network unless you know which is right", ErrRollback, i+1, r.New, chain[i].New, chain[i].Old)
		case i < len(chain):
			continue
		case r.Number != uint64(i+1) || i == 0 && NetworkOf(r.Old) != v.network || i > 0 && chain[i-1].New != r.Old:
			return nil, fmt.Errorf("%w: root rotation %d of %s does not follow the one before it", ErrUntrustedRoot, r.Number, r.Old)
		}
		chain = append(chain, r)
	}
	return chain, nil
}

// rootIndex says how many rotations lead to root, if it is a root key of the
// network and may sign at the time t.
func (v *Verifier) rootIndex(chain []rotation, root PublicKey, t time.Time) (int, error) {
	anchored := v.anchor == v.network
	index := -1
	if NetworkOf(root) == v.network {
		index = 0
	}
	for i, r := range chain {
		anchored = anchored || NetworkOf(r.New) == v.anchor
		if r.New == root {
			index = i + 1
		}
	}
	switch {
	case index < 0:
		return 0, fmt.Errorf("%w: %s is no root key of network %s, or a rotation to it is not known here: get the root rotations", ErrUntrustedRoot, root, v.network)
	case !anchored:
		return 0, fmt.Errorf("%w: no known rotation leads to the root key that the invite names: get the root rotations from the issuer", ErrUntrustedRoot)
	case index < len(chain) && !t.Before(chain[index].OverlapUntil):
		return 0, fmt.Errorf("%w: root key %s was replaced, its signatures counted until %s: get a delegation from root key %s", ErrRetiredRoot, root, utc(chain[index].OverlapUntil), chain[len(chain)-1].New)
	}
	return index, nil
}

// listKey is the signer whose earlier lists r replaces; root keys share one.
func listKey(r *Revocation) PublicKey {
	if len(r.Delegation) == 0 {
		return PublicKey{}
	}
	return r.Signer
}

// checkRevoked says whether a list takes back the certificate or its issuer.
func (v *Verifier) checkRevoked(c *Certificate) error {
	if l, ok := v.lists[PublicKey{}]; ok {
		if l.names(c.Issuer) {
			return fmt.Errorf("%w: issuer %s of certificate %d of %s, by the root key's list %d: get a certificate from another issuer", ErrRevoked, c.Issuer, c.Serial, c.Name, l.Version)
		}
		if l.names(c.Key) {
			return fmt.Errorf("%w: key %s of %s, by the root key's list %d: join again with a new key", ErrRevoked, c.Key, c.Name, l.Version)
		}
	}
	if l, ok := v.lists[c.Issuer]; ok {
		_, serial := slices.BinarySearch(l.Serials, c.Serial)
		if serial || l.names(c.Key) {
			return fmt.Errorf("%w: certificate %d of %s, by its issuer's list %d: join again", ErrRevoked, c.Serial, c.Name, l.Version)
		}
	}
	return nil
}

func (l list) names(k PublicKey) bool {
	_, ok := slices.BinarySearchFunc(l.Keys, k, comparePublicKeys)
	return ok
}

// newer says whether r may replace l, the list of the same signer. A later root
// key's list beats any of an earlier one, so that a stolen root key cannot block
// its successor with a very high version.
func newer(r *Revocation, root int, l list, lRoot int) error {
	if order := cmp.Or(cmp.Compare(root, lRoot), cmp.Compare(r.Version, l.Version)); order <= 0 {
		return fmt.Errorf("%w: revocation list %d by %s, list %d by %s is known here: sign one with a higher version", ErrRollback, r.Version, r.Signer, l.Version, l.Signer)
	}
	return nil
}

func wrongNetwork(what string, got, want NetworkID) error {
	return fmt.Errorf("%w: %s is of network %s, this is %s: the two do not talk", ErrWrongNetwork, what, got, want)
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// list returns the revocation list of an issuer, nil if there is none.
func (v *Verifier) list(issuer PublicKey) *Revocation {
	v.mu.Lock()
	defer v.mu.Unlock()
	if l, ok := v.lists[issuer]; ok {
		return l.Revocation
	}
	return nil
}

// currentRoot returns NetworkOf the last root key.
func (v *Verifier) currentRoot() NetworkID {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n := len(v.rotations); n > 0 {
		return NetworkOf(v.rotations[n-1].New)
	}
	return v.network
}
