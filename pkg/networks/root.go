package networks

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"filippo.io/age"

	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/identity"
)

// Root is one of a network's root keys.
type Root struct {
	Number int                `json:"number"`
	Key    identity.PublicKey `json:"key"`
	// Until is when the signatures of a key that was replaced stop counting.
	Until *time.Time `json:"until,omitempty"`
}

// Roots returns the network's root keys from the first to the present one.
func (n *Network) Roots() []Root {
	statements, _ := n.Verifier.Statements()
	var roots []Root
	next := n.Delegation().Root // of a network that was never rotated
	for i, s := range statements {
		r, err := identity.Parse[identity.Rotation](s)
		if err != nil {
			continue // the verifier has accepted it
		}
		until := r.OverlapUntil.UTC()
		roots, next = append(roots, Root{Number: i + 1, Key: r.Old, Until: &until}), r.New
	}
	return append(roots, Root{Number: len(roots) + 1, Key: next})
}

// Revoked returns the keys and serial numbers that the lists in force here name.
func (n *Network) Revoked() (keys []identity.PublicKey, serials []uint64) {
	_, lists := n.Verifier.Statements()
	for _, s := range lists {
		if r, err := identity.Parse[identity.Revocation](s); err == nil {
			keys, serials = append(keys, r.Keys...), append(serials, r.Serials...)
		}
	}
	slices.SortFunc(keys, func(a, b identity.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	slices.SortFunc(serials, cmp.Compare[uint64])
	return keys, serials
}

// RootPath returns the file of the present root key, which its owner may have
// taken away to a safe place.
func (n *Network) RootPath() string { return n.path(fmt.Sprintf(rootFile, len(n.Roots()))) }

// Unlock decrypts the present root key, in path when that is not empty, else in
// RootPath. Without identities it takes local.key, which opens the root key of a
// network to throw away (ErrLocked).
func (n *Network) Unlock(path string, identities ...age.Identity) (identity.PrivateKey, error) {
	if len(identities) == 0 {
		local, err := ReadIdentities(n.path(localFile))
		if err != nil {
			return identity.PrivateKey{}, err
		}
		identities = local
	}
	key, err := identity.ReadKey(cmp.Or(path, n.RootPath()), identities...)
	if path == "" && errors.Is(err, fs.ErrNotExist) {
		return key, fmt.Errorf("the root key of %q is not in %s: name its file with --root-key (%w)", n.Name, n.Dir, fs.ErrNotExist)
	}
	if err != nil {
		return key, err
	}
	roots := n.Roots()
	if want := roots[len(roots)-1]; key.Public() != want.Key {
		return key, fmt.Errorf("%w: the key at hand is %s, root key %d of %q is %s: use that one", identity.ErrUntrustedRoot, key.Public(), want.Number, n.Name, want.Key)
	}
	return key, nil
}

// Delegate gives the issuer a new delegation by the root key: quota more serial
// numbers (DefaultQuota when 0), and a year. It renews the operator's certificate.
func (n *Network) Delegate(root identity.PrivateKey, quota uint64) error {
	if n.Issuer == nil {
		return n.CanIssue()
	}
	del, err := grant{n.nextSerial(), quota, n.clock.Now()}.delegate(root, n.Verifier.Network(), n.Issuer.Delegation().Issuer, adminCaps)
	if err == nil {
		err = n.Issuer.SetDelegation(del)
	}
	if err != nil {
		return fmt.Errorf("delegate in %q: %w", n.Name, err)
	}
	return n.renew()
}

// Rotate replaces the root key by a new one, which it encrypts to the
// recipients; both count for the overlap. It delegates to the issuer anew. A
// power cut leaves the old root key, or the new one; when only the delegation is
// not made yet, Delegate makes it.
func (n *Network) Rotate(old identity.PrivateKey, overlap time.Duration, recipients ...age.Recipient) error {
	if n.Issuer == nil {
		return n.CanIssue()
	}
	number := len(n.Roots()) // of the old key
	fresh, kept := n.path(fmt.Sprintf(newRootFile, number+1)), n.path(fmt.Sprintf(rootFile, number+1))
	if _, err := os.Lstat(kept); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rotate the root key of %q: %s is there, but the network knows %d root keys: if %s is from an old backup, restore the latest one", n.Name, kept, number, trustFile)
	}
	// What an interrupted rotation has left was never announced to anybody.
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rotate the root key of %q: %w", n.Name, err)
	}
	key, now := identity.GenerateKey(), n.clock.Now().UTC().Truncate(time.Second)
	statement, err := identity.Sign(old, identity.Rotation{
		Network: n.Verifier.Network(), Number: uint64(number), Old: old.Public(), New: key.Public(),
		Issued: now, OverlapUntil: now.Add(overlap),
	})
	if err == nil {
		err = identity.WriteKey(fresh, key, recipients...)
	}
	if err == nil {
		err = n.Verifier.AddRotation(statement)
	}
	if err == nil {
		err = n.finishRotation()
	}
	if err != nil {
		return fmt.Errorf("rotate the root key of %q: %w", n.Name, err)
	}
	if err := n.Delegate(key, n.Issuer.Delegation().Count); err != nil {
		return err
	}
	if d, gone := n.ServersDelegation(); d != nil && !gone { // the next server gets one that outlives the overlap
		return n.DelegateServers(key, d.Count)
	}
	return nil
}

// finishRotation gives the new root key its name, once the network knows it.
func (n *Network) finishRotation() error {
	number := len(n.Roots())
	err := os.Rename(n.path(fmt.Sprintf(newRootFile, number)), n.path(fmt.Sprintf(rootFile, number)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, durable.SyncDir(n.Dir))
}

// Revoke takes back every certificate of a key, or the one with a serial number;
// serial counts when key is zero.
func (n *Network) Revoke(key identity.PublicKey, serial uint64) error {
	if n.Issuer == nil {
		return n.CanIssue()
	}
	d := n.Issuer.Delegation()
	next := d.FirstSerial + d.Count - n.Issuer.Left()
	var keys []identity.PublicKey
	var serials []uint64
	switch {
	case key == n.cert.Key || key == identity.PublicKey{} && serial == n.cert.Serial:
		return fmt.Errorf("revoke in %q: that is your own certificate: nothing could be done here without it", n.Name)
	case key == d.Issuer || n.servers != nil && key == n.servers.Issuer || slices.ContainsFunc(n.Roots(), func(r Root) bool { return r.Key == key }):
		return fmt.Errorf("revoke in %q: %s is no member's key: rotate the root key to replace it, found a new network to replace the issuer", n.Name, key)
	case key != identity.PublicKey{}:
		keys = []identity.PublicKey{key}
	case serial == 0 || serial >= next:
		return fmt.Errorf("revoke in %q: certificate %d does not exist, the last one is %d", n.Name, serial, next-1)
	default:
		serials = []uint64{serial}
	}
	if err := n.CanIssue(); err != nil && !errors.Is(err, identity.ErrDelegation) { // a quota is not for revocations
		return fmt.Errorf("revoke in %q: %w", n.Name, err)
	}
	if _, err := n.Issuer.Revoke(keys, serials); err != nil {
		return fmt.Errorf("revoke in %q: %w", n.Name, err)
	}
	return nil
}
