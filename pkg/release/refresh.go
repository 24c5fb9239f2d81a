package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// Bounds of what is read from a server, in bytes.
const (
	maxRoot      = 256 << 10
	maxTimestamp = 16 << 10
	maxSnapshot  = 64 << 10
	maxTargets   = 4 << 20
	// maxRotations bounds how many roots one refresh goes through.
	maxRotations = 256
)

// Refresh asks the server for newer metadata, and says whether what is released
// has changed. It is one request if there is none; whatever is published anew
// comes with a new timestamp, so nothing else need be asked for.
// After an error the client trusts what it did before, and asks for the rest next time.
func (c *Client) Refresh(ctx context.Context) (changed bool, err error) {
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	next := c.state
	latest, err := c.advance(ctx, &next)
	if !same(next, c.state) {
		c.unsaved, c.whole = true, false
	}
	c.whole = c.whole || err == nil
	c.mu.Lock()
	before := c.state
	switch {
	case err == nil && latest != nil:
		c.current = *latest
	case !bytes.Equal(next.Root, before.Root):
		// What was trusted before must still be so under the new root.
		c.current = trustedOf(&next, c.o.Board)
	}
	c.state = next
	changed = !bytes.Equal(before.Targets, next.Targets)
	c.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("refresh the releases: %w", err)
	}
	return changed, errors.Join(err, c.save())
}

// same says whether two states have the same metadata. Another entity tag alone
// is not worth a write.
func same(a, b state) bool {
	return bytes.Equal(a.Root, b.Root) && bytes.Equal(a.Timestamp, b.Timestamp) &&
		bytes.Equal(a.Snapshot, b.Snapshot) && bytes.Equal(a.Targets, b.Targets)
}

// advance brings s as far forward as the server allows, by the client workflow of
// the TUF specification (5.3 to 5.6) but for the order: the timestamp is asked
// for before a new root, and judged after it. It returns nil if there is nothing new.
func (c *Client) advance(ctx context.Context, s *state) (latest *trusted, err error) {
	defer func() { // what strangers send must not end PID 1, whatever a library makes of it
		if p := recover(); p != nil {
			latest, err = nil, fmt.Errorf("%w: verifying it panics: %v", ErrMalformed, p)
		}
	}()
	now := c.o.Now()
	if s.Root == nil {
		if err := c.firstRoot(ctx, s); err != nil {
			return nil, err
		}
	}
	etag := s.ETag
	if s.Timestamp == nil {
		etag = ""
	}
	body, tag, notModified, err := c.get(ctx, "metadata/timestamp.json", maxTimestamp, etag)
	if err != nil {
		return nil, err
	}
	if notModified {
		body, tag = s.Timestamp, s.ETag
	}
	if bytes.Equal(body, s.Timestamp) {
		s.ETag = tag
		if c.whole && !now.After(c.current.expires) {
			return nil, nil
		}
	}
	set, err := c.rotate(ctx, s, now)
	if err != nil {
		return nil, err
	}
	if err := c.timestamp(set, s, body, tag); err != nil {
		return nil, err
	}
	if err := c.snapshot(ctx, set, s); err != nil {
		return nil, err
	}
	if err := c.targets(ctx, set, s); err != nil {
		return nil, err
	}
	t := read(set, c.o.Board)
	return &t, nil
}

// firstRoot gets the root that the owner configured.
func (c *Client) firstRoot(ctx context.Context, s *state) error {
	body := c.o.RootFile
	if len(body) == 0 {
		var err error
		if body, _, _, err = c.get(ctx, rootPath(1), maxRoot, ""); err != nil {
			return err
		}
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != c.anchor {
		return fmt.Errorf("1.root.json: %w: its digest is sha256:%x, configured is sha256:%s", ErrRoot, sum, c.anchor)
	}
	if _, err := setOf(body, time.Time{}); err != nil {
		return err
	}
	s.Root = body
	return nil
}

func rootPath(version int64) string { return fmt.Sprintf("metadata/%d.root.json", version) }

// rotate goes forward to the newest root. When it takes a key away from the timestamp's
// or the snapshot's role, what such keys have signed is forgotten: that is how a
// repository recovers from a fast-forward attack (TUF specification, 5.3.11).
func (c *Client) rotate(ctx context.Context, s *state, now time.Time) (*trustedmetadata.TrustedMetadata, error) {
	set, err := setOf(s.Root, now)
	if err != nil {
		return nil, err
	}
	for range maxRotations {
		version := set.Root.Signed.Version + 1
		body, _, _, err := c.get(ctx, rootPath(version), maxRoot, "")
		if errors.Is(err, ErrNotFound) {
			return set, nil
		}
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("%d.root.json", version)
		if err := rootShape(body); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		old := set.Root
		if _, err := set.UpdateRoot(body); err != nil {
			return nil, classify(name, err, ErrRollback)
		}
		s.Root = body
		if revoked(old, set.Root, metadata.TIMESTAMP) || revoked(old, set.Root, metadata.SNAPSHOT) {
			s.Timestamp, s.ETag, s.Snapshot = nil, "", nil
		}
	}
	return nil, fmt.Errorf("%w: more than %d new roots", ErrTooLarge, maxRotations)
}

// revoked says whether a key counted for a role and does not any more.
func revoked(old, current *metadata.Metadata[metadata.RootType], role string) bool {
	for _, id := range old.Signed.Roles[role].KeyIDs {
		if !slices.Contains(current.Signed.Roles[role].KeyIDs, id) {
			return true
		}
	}
	return false
}

func (c *Client) timestamp(set *trustedmetadata.TrustedMetadata, s *state, body []byte, tag string) error {
	if s.Timestamp != nil {
		// That it may have expired does not matter: it is the floor.
		if err := updateTimestamp(set, s.Timestamp); err != nil && set.Timestamp == nil {
			if set.Root.Signed.IsExpired(set.RefTime) {
				return err
			}
			s.Timestamp, s.ETag = nil, "" // of keys that do not count any more
		}
	}
	if bytes.Equal(body, s.Timestamp) {
		if set.Timestamp.Signed.IsExpired(set.RefTime) {
			return fmt.Errorf("timestamp.json: %w on %s", ErrExpired, set.Timestamp.Signed.Expires)
		}
		return nil
	}
	err := updateTimestamp(set, body)
	if errors.Is(err, errEqual) { // the one that was first with a version stays
		return nil
	}
	if err != nil {
		return err
	}
	s.Timestamp, s.ETag = body, tag
	return nil
}

func (c *Client) snapshot(ctx context.Context, set *trustedmetadata.TrustedMetadata, s *state) error {
	meta := set.Timestamp.Signed.Meta["snapshot.json"]
	if s.Snapshot != nil {
		err := updateSnapshot(set, s.Snapshot, true) // the floor
		if err == nil && meta.VerifyLengthHashes(s.Snapshot) == nil {
			return nil
		}
	}
	body, err := c.named(ctx, "snapshot.json", meta, maxSnapshot)
	if err != nil {
		return err
	}
	if err := updateSnapshot(set, body, false); err != nil {
		return err
	}
	s.Snapshot = body
	return nil
}

func (c *Client) targets(ctx context.Context, set *trustedmetadata.TrustedMetadata, s *state) error {
	if s.Targets != nil {
		err := updateTargets(set, s.Targets)
		if err == nil {
			return nil
		}
	}
	body, err := c.named(ctx, "targets.json", set.Snapshot.Signed.Meta["targets.json"], maxTargets)
	if err != nil {
		return err
	}
	if err := updateTargets(set, body); err != nil {
		return err
	}
	s.Targets = body
	return nil
}

// named gets the version of a file that other metadata names.
func (c *Client) named(ctx context.Context, name string, meta *metadata.MetaFiles, most int64) ([]byte, error) {
	if meta.Length > most {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d", name, ErrTooLarge, meta.Length, most)
	}
	if meta.Length > 0 {
		most = meta.Length
	}
	body, _, _, err := c.get(ctx, fmt.Sprintf("metadata/%d.%s", meta.Version, name), most, "")
	return body, err
}

// errEqual says that a timestamp has the version of the one that is trusted.
var errEqual = errors.New("the version is that of the trusted one")

// setOf begins a set of metadata with a root.
func setOf(root []byte, now time.Time) (*trustedmetadata.TrustedMetadata, error) {
	if err := rootShape(root); err != nil {
		return nil, fmt.Errorf("root.json: %w", err)
	}
	set, err := trustedmetadata.New(root)
	if err != nil {
		return nil, classify("root.json", err, ErrMalformed)
	}
	set.RefTime = now
	return set, nil
}

func updateTimestamp(set *trustedmetadata.TrustedMetadata, data []byte) error {
	if err := timestampShape(data); err != nil {
		return fmt.Errorf("timestamp.json: %w", err)
	}
	_, err := set.UpdateTimestamp(data)
	if errors.Is(err, &metadata.ErrEqualVersionNumber{}) {
		return errEqual
	}
	if err != nil {
		return classify("timestamp.json", err, ErrRollback)
	}
	return nil
}

func updateSnapshot(set *trustedmetadata.TrustedMetadata, data []byte, kept bool) error {
	if err := snapshotShape(data); err != nil {
		return fmt.Errorf("snapshot.json: %w", err)
	}
	before := set.Snapshot
	if _, err := set.UpdateSnapshot(data, kept); err != nil {
		kind := ErrRollback
		if set.Snapshot != before { // it was taken, but the timestamp names another
			kind = ErrMix
		}
		return classify("snapshot.json", err, kind)
	}
	return nil
}

func updateTargets(set *trustedmetadata.TrustedMetadata, data []byte) error {
	if err := targetsShape(data); err != nil {
		return fmt.Errorf("targets.json: %w", err)
	}
	if _, err := set.UpdateTargets(data); err != nil {
		return classify("targets.json", err, ErrMix)
	}
	return nil
}
