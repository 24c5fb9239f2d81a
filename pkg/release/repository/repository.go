package repository

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/identity"
	"github.com/digital-mycelium/os/pkg/release"
)

// The roles, in the order in which they are signed.
const (
	Root      = metadata.ROOT
	Targets   = metadata.TARGETS
	Snapshot  = metadata.SNAPSHOT
	Timestamp = metadata.TIMESTAMP
)

// Roles returns all roles in the order in which they are signed.
func Roles() []string { return []string{Root, Targets, Snapshot, Timestamp} }

const (
	metadataDir  = "metadata"
	stagedDir    = "staged"
	settingsFile = "repository.json"
	maxOS        = 512 << 20 // bytes
)

// Errors that a caller may want to tell from others.
var (
	// ErrExists says that there is a repository already, or a release of that version.
	ErrExists = errors.New("exists already")
	// ErrUnsigned says that signatures are missing.
	ErrUnsigned = errors.New("signatures are missing")
	// ErrNothing says that there is nothing to sign or to publish.
	ErrNothing = errors.New("there is nothing to do")
)

// Signers are the keys of a role, and how many of them must sign.
type Signers struct {
	Keys      []identity.PublicKey
	Threshold int
}

// Settings are how a repository is to be.
type Settings struct {
	// Signers of each role.
	Signers map[string]Signers
	// Expiry is for how long each role's metadata is valid after it was made; the
	// default's where it is 0.
	Expiry map[string]time.Duration
}

// DefaultExpiry returns for how long a role's metadata is valid. A timestamp that
// lasts long lets an attacker hold releases back for as long; one that is short must
// be renewed as often, or the nodes stop taking releases.
func DefaultExpiry(role string) time.Duration {
	const day = 24 * time.Hour
	switch role {
	case Root:
		return 2 * 365 * day
	case Targets:
		return 365 * day
	case Snapshot:
		return 90 * day
	}
	return 30 * day
}

// Repository is one that is being made. It is not safe for concurrent use.
type Repository struct {
	dir    string
	now    func() time.Time
	write  func(path string, data []byte) error // a file that is served; durable, but for tests
	expiry map[string]time.Duration

	published, staged level
}

// level is the metadata that is published, or that is staged; nil is none.
type level struct {
	root      *document[metadata.RootType]
	targets   *document[metadata.TargetsType]
	snapshot  *document[metadata.SnapshotType]
	timestamp *document[metadata.TimestampType]
}

// document is metadata with the bytes in which it stands in its file.
type document[T metadata.Roles] struct {
	*metadata.Metadata[T]
	raw []byte
}

// settings is the content of repository.json: what is not told by the metadata.
type settings struct {
	Expiry map[string]release.Duration `json:"expiry"`
}

// Create begins a repository in dir, which must not hold one (ErrExists): a root of
// version 1 that is to be signed, and targets without a release.
func Create(dir string, s Settings, now func() time.Time) (*Repository, error) {
	for _, name := range []string{settingsFile, metadataDir, stagedDir} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("create a repository: %s %w in %s: choose another directory", name, ErrExists, dir)
		}
	}
	r := &Repository{dir: dir, now: now, write: writeFile, expiry: map[string]time.Duration{}}
	kept := settings{Expiry: map[string]release.Duration{}}
	for _, role := range Roles() {
		r.expiry[role] = DefaultExpiry(role)
		if d := s.Expiry[role]; d != 0 {
			r.expiry[role] = d
		}
		if r.expiry[role] < time.Minute {
			return nil, fmt.Errorf("create a repository: %s expires after %v: give it more time", role, r.expiry[role])
		}
		kept.Expiry[role] = release.Duration(r.expiry[role])
	}
	root := metadata.Root(r.expires(Root))
	if err := setSigners(root, s.Signers); err != nil {
		return nil, fmt.Errorf("create a repository: %w", err)
	}
	data, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{metadataDir, stagedDir, "targets"} {
		if err := durable.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return nil, fmt.Errorf("create a repository: %w", err)
		}
	}
	if err := stage(r, Root, &r.staged.root, root); err != nil {
		return nil, err
	}
	if err := stage(r, Targets, &r.staged.targets, metadata.Targets(r.expires(Targets))); err != nil {
		return nil, err
	}
	return r, durable.WriteFile(filepath.Join(dir, settingsFile), append(data, '\n'), 0o644) // with it, it is one
}

// Open takes up the repository in dir.
func Open(dir string, now func() time.Time) (*Repository, error) {
	data, err := os.ReadFile(filepath.Join(dir, settingsFile))
	if err != nil {
		return nil, fmt.Errorf("open the repository (\"create\" makes one): %w", err)
	}
	var s settings
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("open the repository: %s: %w", settingsFile, err)
	}
	r := &Repository{dir: dir, now: now, write: writeFile, expiry: map[string]time.Duration{}}
	for _, role := range Roles() {
		r.expiry[role] = time.Duration(s.Expiry[role])
		if r.expiry[role] <= 0 {
			r.expiry[role] = DefaultExpiry(role)
		}
	}
	if err := r.load(); err != nil {
		return nil, fmt.Errorf("open the repository: %w", err)
	}
	return r, nil
}

// load reads what is published and what is staged.
func (r *Repository) load() (err error) {
	p, s := &r.published, &r.staged
	*p, *s = level{}, level{}
	if err := r.loadStaged(); err != nil {
		return err
	}
	for version := int64(1); s.root == nil || version < s.root.Signed.Version; version++ {
		next, err := read[metadata.RootType](r.path(rootFile(version)))
		if err != nil {
			return err
		}
		if next == nil {
			break
		}
		p.root = next
	}
	if p.timestamp, err = read[metadata.TimestampType](r.path(metadataDir, "timestamp.json")); err != nil {
		return err
	}
	if p.timestamp != nil {
		meta := p.timestamp.Signed.Meta["snapshot.json"]
		if meta == nil {
			return errors.New("timestamp.json does not name a snapshot")
		}
		if p.snapshot, err = need[metadata.SnapshotType](r.path(versioned(Snapshot, meta.Version))); err != nil {
			return err
		}
		if meta = p.snapshot.Signed.Meta["targets.json"]; meta == nil {
			return errors.New("the snapshot does not name the targets")
		}
		if p.targets, err = need[metadata.TargetsType](r.path(versioned(Targets, meta.Version))); err != nil {
			return err
		}
	}
	return r.resume()
}

func (r *Repository) loadStaged() (err error) {
	s := &r.staged
	if s.root, err = read[metadata.RootType](r.path(stagedDir, "root.json")); err != nil {
		return err
	}
	if s.targets, err = read[metadata.TargetsType](r.path(stagedDir, "targets.json")); err != nil {
		return err
	}
	if s.snapshot, err = read[metadata.SnapshotType](r.path(stagedDir, "snapshot.json")); err != nil {
		return err
	}
	s.timestamp, err = read[metadata.TimestampType](r.path(stagedDir, "timestamp.json"))
	return err
}

// resume takes away what a publication has left in staged/ that was cut short after its
// last step, and makes anew what another publication has overtaken.
func (r *Repository) resume() error {
	p, s := &r.published, &r.staged
	if r.root() == nil {
		return errors.New("there is no root: restore the directory from a backup")
	}
	if s.timestamp == nil || p.timestamp == nil || s.timestamp.Signed.Version > p.timestamp.Signed.Version {
		return nil
	}
	if !bytes.Equal(s.timestamp.raw, p.timestamp.raw) {
		return errors.Join(unstage(r, Snapshot, &s.snapshot), unstage(r, Timestamp, &s.timestamp), r.advance())
	}
	if err := r.clearStaged(); err != nil {
		return err
	}
	return r.load()
}

func read[T metadata.Roles](path string) (*document[T], error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := (&metadata.Metadata[T]{}).FromBytes(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &document[T]{m, data}, nil
}

func need[T metadata.Roles](path string) (*document[T], error) {
	d, err := read[T](path)
	if err == nil && d == nil {
		err = fmt.Errorf("%s is missing: restore it from a backup or from the server", path)
	}
	return d, err
}

// stage makes m the staged metadata of a role.
func stage[T metadata.Roles](r *Repository, role string, at **document[T], m *metadata.Metadata[T]) error {
	raw, err := m.ToBytes(false)
	if err != nil {
		return fmt.Errorf("encode %s: %w", role, err)
	}
	if err := durable.WriteFile(r.path(stagedDir, role+".json"), raw, 0o644); err != nil {
		return fmt.Errorf("stage %s: %w", role, err)
	}
	*at = &document[T]{m, raw}
	return nil
}

// unstage takes back what is staged of a role.
func unstage[T metadata.Roles](r *Repository, role string, at **document[T]) error {
	*at = nil
	err := os.Remove(r.path(stagedDir, role+".json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (r *Repository) clearStaged() error {
	s := &r.staged
	// The timestamp last: as long as it is there, Open goes on with this.
	return errors.Join(
		unstage(r, Root, &s.root), unstage(r, Targets, &s.targets), unstage(r, Snapshot, &s.snapshot), unstage(r, Timestamp, &s.timestamp),
		durable.SyncDir(r.path(stagedDir)),
	)
}

func writeFile(path string, data []byte) error { return durable.WriteFile(path, data, 0o644) }

func (r *Repository) path(parts ...string) string {
	return filepath.Join(append([]string{r.dir}, parts...)...)
}

func versioned(role string, version int64) string {
	return fmt.Sprintf("%s/%d.%s.json", metadataDir, version, role)
}

func rootFile(version int64) string { return versioned(Root, version) }

// expires returns when metadata of a role that is made now is to expire.
func (r *Repository) expires(role string) time.Time {
	return r.now().Add(r.expiry[role]).UTC().Truncate(time.Second)
}

// setSigners replaces the keys of the roles that are given.
func setSigners(root *metadata.Metadata[metadata.RootType], roles map[string]Signers) error {
	for name, s := range roles {
		role, ok := root.Signed.Roles[name]
		if !ok {
			return fmt.Errorf("there is no role %q", name)
		}
		role.KeyIDs = nil
		for _, public := range s.Keys {
			key, err := metadata.KeyFromPublicKey(ed25519.PublicKey(public[:]))
			if err != nil {
				return fmt.Errorf("role %s: %w", name, err)
			}
			if err := root.Signed.AddKey(key, name); err != nil {
				return fmt.Errorf("role %s: %w", name, err)
			}
		}
		role.Threshold = s.Threshold
	}
	used := map[string]bool{}
	for _, name := range Roles() {
		role := root.Signed.Roles[name]
		if role.Threshold < 1 || role.Threshold > len(role.KeyIDs) {
			return fmt.Errorf("role %s: %d of %d keys must sign: give it more keys or another threshold", name, role.Threshold, len(role.KeyIDs))
		}
		for _, id := range role.KeyIDs {
			used[id] = true
		}
	}
	for id := range root.Signed.Keys {
		if !used[id] {
			delete(root.Signed.Keys, id)
		}
	}
	return nil
}

// Digest returns the digest of the first root file as nodes are configured with
// it, "sha256:…"; empty as long as that file is not signed by all that must.
func (r *Repository) Digest() string {
	data, err := os.ReadFile(r.path(rootFile(1)))
	if err != nil {
		if r.staged.root == nil || r.published.root != nil || r.rootMissing() > 0 {
			return ""
		}
		data = r.staged.root.raw
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
