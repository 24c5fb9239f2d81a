package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/digital-mycelium/os/pkg/durable"
)

// Options are what a Client needs.
type Options struct {
	// Dir keeps what the client trusts. It must exist, and belong to this client
	// alone. If it is empty, nothing is kept.
	Dir string
	// Root is the digest of the file 1.root.json that the owner configured,
	// "sha256:" and 64 hexadecimal digits. Another one than before makes the client
	// forget what it trusted.
	Root string
	// RootFile is that file's content. With it the file need not be fetched; Root may
	// be empty then.
	RootFile []byte
	// Fetch reaches the server.
	Fetch Fetch
	// Now is the time, as far as the machine knows it; time.Now if it is nil.
	Now func() time.Time
	// Board chooses the releases; all boards' if it is empty.
	Board string
}

// Client knows what has been released. Its methods may be called at the same time.
type Client struct {
	o      Options
	anchor string // hexadecimal digest of the first root file
	lost   error
	write  func(path string, data []byte) error // durable.WriteFile, but for tests

	refreshing sync.Mutex // held by the one that changes state
	unsaved    bool       // state is not on the disk as it is here
	whole      bool       // state is a whole set, the one in current

	mu      sync.Mutex // for what follows
	state   state
	current trusted
}

// trusted is a whole set of metadata that was verified, or the zero value.
type trusted struct {
	releases []Release
	problems []error
	roles    []Role
	expires  time.Time // the earliest expiry in the set
}

// Role is one kind of metadata as it is trusted.
type Role struct {
	// Name is root, timestamp, snapshot or targets.
	Name string `json:"name"`
	// Version counts from 1 and never goes back.
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
}

// Open takes up what was kept in o.Dir. What of it cannot be read back is not
// trusted: one of the two copies is enough; without any the client begins anew
// from the configured root, and Lost says so.
func Open(o Options) (*Client, error) {
	c := &Client{o: o, write: func(path string, data []byte) error { return durable.WriteFile(path, data, 0o600) }}
	if o.Now == nil {
		c.o.Now = time.Now
	}
	if o.Fetch == nil {
		return nil, errors.New("open the release client: no server is given")
	}
	var err error
	if c.anchor, err = anchorOf(o); err != nil {
		return nil, fmt.Errorf("open the release client: %w", err)
	}
	if o.Dir != "" {
		s, same, err := load(o.Dir)
		c.state, c.unsaved, c.lost = s, !same, err
	}
	if c.state.Anchor != c.anchor {
		c.unsaved = c.unsaved || c.state.Anchor != ""
		c.state = state{Anchor: c.anchor, Count: c.state.Count}
	}
	c.current = trustedOf(&c.state, o.Board)
	c.whole = len(c.current.roles) > 0
	return c, nil
}

// anchorOf returns the digest that all trust begins with.
func anchorOf(o Options) (string, error) {
	digest := ""
	if len(o.RootFile) > 0 {
		sum := sha256.Sum256(o.RootFile)
		digest = hex.EncodeToString(sum[:])
	}
	if o.Root != "" {
		configured, ok := strings.CutPrefix(o.Root, "sha256:")
		if b, err := hex.DecodeString(configured); !ok || err != nil || len(b) != sha256.Size {
			return "", fmt.Errorf("%w: root %.80q: want \"sha256:\" and the 64 hexadecimal digits of 1.root.json's digest", ErrMalformed, o.Root)
		}
		configured = strings.ToLower(configured)
		if digest != "" && digest != configured {
			return "", fmt.Errorf("%w: the given root file has the digest sha256:%s", ErrRoot, digest)
		}
		digest = configured
	}
	if digest == "" {
		return "", errors.New("no root is configured: \"sha256:\" and the digest of the repository's 1.root.json")
	}
	return digest, nil
}

// Lost says why what had been kept could not be used, if that was so when the
// client was opened: nil, or an error for the log. The client then accepts any metadata
// that is signed and not expired, as a new machine does.
func (c *Client) Lost() error { return c.lost }

// Releases returns the releases for the board, the newest version first; none
// when the metadata that they stand in has expired.
func (c *Client) Releases() []Release {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.o.Now().After(c.current.expires) {
		return nil
	}
	return slices.Clone(c.current.releases)
}

// Problems returns what is wrong with releases of the board that Releases leaves out.
func (c *Client) Problems() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.current.problems)
}

// Roles returns the metadata that is trusted now, expired or not: the root, the
// timestamp, the snapshot and the targets, or nothing.
func (c *Client) Roles() []Role {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.current.roles)
}

// Index fetches the index of a release. It is ErrNotFound if the release has none.
func (c *Client) Index(ctx context.Context, r Release) ([]byte, error) {
	if r.Index.Size == 0 {
		return nil, fmt.Errorf("index of release %s: %w: it was released without", r.Version, ErrNotFound)
	}
	if r.Index.Size > maxIndex {
		return nil, fmt.Errorf("index of release %s: %w: %d bytes", r.Version, ErrTooLarge, r.Index.Size)
	}
	body, _, _, err := c.get(ctx, r.Index.Path, r.Index.Size, "")
	if err != nil {
		return nil, fmt.Errorf("index of release %s: %w", r.Version, err)
	}
	sum := sha256.Sum256(body)
	if int64(len(body)) != r.Index.Size || hex.EncodeToString(sum[:]) != r.Index.Digest {
		return nil, fmt.Errorf("index of release %s: %w: %d bytes with the SHA-256 %x", r.Version, ErrTampered, len(body), sum)
	}
	return body, nil
}

// requestTime is how long one file may take.
const requestTime = time.Minute

func (c *Client) get(ctx context.Context, path string, most int64, etag string) ([]byte, string, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	body, tag, same, err := c.o.Fetch.Get(ctx, path, most, etag)
	if err == nil && int64(len(body)) > most {
		err = fmt.Errorf("%s: %w: %d bytes", path, ErrTooLarge, len(body))
	}
	return body, tag, same, err
}

// save writes both copies of the state.
func (c *Client) save() error {
	if c.o.Dir == "" || !c.unsaved || c.state.Root == nil { // damage shows until there is something better
		return nil
	}
	s := c.state
	s.Count++
	data, err := encodeState(s)
	if err != nil {
		return err
	}
	for _, name := range []string{firstCopy, secondCopy} {
		if err := c.write(filepath.Join(c.o.Dir, name), data); err != nil {
			return fmt.Errorf("keep the release metadata: %w", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Count, c.unsaved = s.Count, false
	return nil
}

// trustedOf verifies a state without regard to expiry. Metadata that does not
// follow from what is before it is taken out of the state.
func trustedOf(s *state, board string) trusted {
	set, err := setOf(s.Root, time.Time{})
	if err != nil {
		s.Root, s.Timestamp, s.Snapshot, s.Targets, s.ETag = nil, nil, nil, nil, ""
		return trusted{}
	}
	if s.Timestamp == nil || updateTimestamp(set, s.Timestamp) != nil {
		s.Timestamp, s.ETag = nil, ""
		return trusted{}
	}
	if s.Snapshot == nil || updateSnapshot(set, s.Snapshot, false) != nil {
		return trusted{} // an old one is the floor of the next
	}
	if s.Targets == nil || updateTargets(set, s.Targets) != nil {
		return trusted{}
	}
	return read(set, board)
}

// read returns what a whole set says.
func read(set *trustedmetadata.TrustedMetadata, board string) trusted {
	targets := set.Targets["targets"].Signed
	t := trusted{}
	t.releases, t.problems = readTargets(&targets, board)
	t.roles = []Role{
		{"root", set.Root.Signed.Version, set.Root.Signed.Expires},
		{"timestamp", set.Timestamp.Signed.Version, set.Timestamp.Signed.Expires},
		{"snapshot", set.Snapshot.Signed.Version, set.Snapshot.Signed.Expires},
		{"targets", targets.Version, targets.Expires},
	}
	t.expires = slices.MinFunc(t.roles, func(a, b Role) int { return a.Expires.Compare(b.Expires) }).Expires
	return t
}
