package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/release"
)

// Add stages a release: the operating system's file, and its index unless that is
// empty. A version that is published keeps its file (ErrExists); adding the same
// file again changes what is said of it, such as its waves. The publication
// begins now unless a.Published says otherwise.
func (r *Repository) Add(a release.Attributes, osFile string, index []byte) error {
	if a.Published.IsZero() {
		a.Published = r.now()
	}
	a.Published = a.Published.UTC().Truncate(time.Second)
	if err := a.Check(); err != nil {
		return fmt.Errorf("add a release: %w", err)
	}
	content, err := readOS(osFile)
	if err != nil {
		return fmt.Errorf("add release %s: %w", a.Directory(), err)
	}
	custom, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("add release %s: %w", a.Directory(), err)
	}
	main, path := describe(a.OSTarget(), content)
	main.Custom = (*json.RawMessage)(&custom)
	if r.published.targets != nil {
		if old := r.published.targets.Signed.Targets[a.OSTarget()]; old != nil && !old.Equal(*main) {
			return fmt.Errorf("add release %s: it %w with another file: nodes may have that; choose a new version", a.Directory(), ErrExists)
		}
	}
	if err := r.writeTarget(path, content); err != nil {
		return fmt.Errorf("add release %s: %w", a.Directory(), err)
	}
	targets, err := r.nextTargets()
	if err != nil {
		return err
	}
	targets.Signed.Targets[a.OSTarget()] = main
	delete(targets.Signed.Targets, a.IndexTarget())
	if len(index) > 0 {
		file, path := describe(a.IndexTarget(), index)
		if err := r.writeTarget(path, index); err != nil {
			return fmt.Errorf("add release %s: %w", a.Directory(), err)
		}
		targets.Signed.Targets[a.IndexTarget()] = file
	}
	if err := stage(r, Targets, &r.staged.targets, targets); err != nil {
		return err
	}
	return r.advance()
}

// Withdraw stages that a release is not to be installed any more. Nodes that have
// it keep it. Its files stay in targets/.
func (r *Repository) Withdraw(board, version string) error {
	a := release.Attributes{Board: board, Version: version}
	targets, err := r.nextTargets()
	if err != nil {
		return err
	}
	if targets.Signed.Targets[a.OSTarget()] == nil {
		return fmt.Errorf("withdraw release %s: there is none", a.Directory())
	}
	delete(targets.Signed.Targets, a.OSTarget())
	delete(targets.Signed.Targets, a.IndexTarget())
	if err := stage(r, Targets, &r.staged.targets, targets); err != nil {
		return err
	}
	return r.advance()
}

// Renew stages the metadata of a role anew with a later expiry, and what must
// follow from it. Timestamps and snapshots are renewed regularly.
func (r *Repository) Renew(role string) error {
	if r.published.timestamp == nil {
		return fmt.Errorf("renew %s: nothing is published yet", role)
	}
	switch role {
	case Root:
		return r.Rotate(nil)
	case Targets:
		targets, err := r.nextTargets()
		if err != nil {
			return err
		}
		if err := stage(r, Targets, &r.staged.targets, targets); err != nil {
			return err
		}
	case Snapshot:
		if err := r.stageSnapshot(); err != nil {
			return err
		}
	case Timestamp:
		if r.staged.snapshot == nil {
			if err := r.stageTimestamp(); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("renew %q: there is no such role", role)
	}
	return r.advance()
}

// Rotate stages a new root in which the given roles have the given signers. It
// must be signed by those of the old root and those of the new one. Roles whose
// signers change are signed anew.
func (r *Repository) Rotate(signers map[string]Signers) error {
	if r.published.root == nil {
		return errors.New("rotate the root: nothing is published yet: create the repository anew")
	}
	root, err := clone(r.published.root)
	if err != nil {
		return err
	}
	root.Signed.Version++
	root.Signed.Expires = r.expires(Root)
	if err := setSigners(root, signers); err != nil {
		return fmt.Errorf("rotate the root: %w", err)
	}
	if err := stage(r, Root, &r.staged.root, root); err != nil {
		return err
	}
	return r.advance()
}

// nextTargets returns what the staged targets are to become, unsigned.
func (r *Repository) nextTargets() (*metadata.Metadata[metadata.TargetsType], error) {
	from := r.staged.targets
	if from == nil {
		from = r.published.targets
	}
	targets, err := clone(from)
	if err != nil {
		return nil, err
	}
	targets.Signed.Version = 1
	if p := r.published.targets; p != nil {
		targets.Signed.Version = p.Signed.Version + 1
	}
	targets.Signed.Expires = r.expires(Targets)
	return targets, nil
}

// clone returns metadata without its signatures.
func clone[T metadata.Roles](d *document[T]) (*metadata.Metadata[T], error) {
	if d == nil {
		return nil, errors.New("the repository is not whole: metadata is missing")
	}
	m, err := (&metadata.Metadata[T]{}).FromBytes(d.raw)
	if err != nil {
		return nil, err
	}
	m.ClearSignatures()
	return m, nil
}

func readOS(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxOS+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(content) == 0 || len(content) > maxOS {
		return nil, fmt.Errorf("%s has %d bytes: it is no OS file", path, len(content))
	}
	return content, nil
}

// describe returns a file as a target, and its place below the repository.
func describe(name string, content []byte) (*metadata.TargetFiles, string) {
	sum := sha256.Sum256(content)
	file := metadata.TargetFile()
	file.Length = int64(len(content))
	file.Hashes["sha256"] = sum[:]
	return file, release.TargetPath(name, hex.EncodeToString(sum[:]))
}

func (r *Repository) writeTarget(path string, content []byte) error {
	full := r.path(filepath.FromSlash(path))
	if err := durable.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	return durable.WriteFile(full, content, 0o644)
}

// advance stages what must be made because of what is staged already.
func (r *Repository) advance() error {
	s, p := &r.staged, &r.published
	if s.targets == nil && !valid(r.root(), Targets, p.targets) {
		targets, err := r.nextTargets()
		if err != nil {
			return err
		}
		if err := stage(r, Targets, &s.targets, targets); err != nil {
			return err
		}
	}
	targets := p.targets
	if s.targets != nil {
		targets = s.targets
		if !valid(r.root(), Targets, targets) { // what was made from it is of no use any more
			return errors.Join(unstage(r, Snapshot, &s.snapshot), unstage(r, Timestamp, &s.timestamp))
		}
	}
	snapshot := p.snapshot
	if s.snapshot != nil {
		snapshot = s.snapshot
	}
	if snapshot == nil || !names(snapshot.Signed.Meta["targets.json"], targets.Signed.Version, targets.raw) ||
		s.snapshot == nil && !valid(r.root(), Snapshot, p.snapshot) {
		if err := r.stageSnapshot(); err != nil {
			return err
		}
	}
	if s.snapshot != nil {
		snapshot = s.snapshot
		if !valid(r.root(), Snapshot, snapshot) {
			return unstage(r, Timestamp, &s.timestamp)
		}
	}
	timestamp := p.timestamp
	if s.timestamp != nil {
		timestamp = s.timestamp
	}
	if timestamp == nil || !names(timestamp.Signed.Meta["snapshot.json"], snapshot.Signed.Version, snapshot.raw) ||
		s.timestamp == nil && s.root != nil {
		return r.stageTimestamp()
	}
	return nil
}

// root is the one that is to be in force.
func (r *Repository) root() *document[metadata.RootType] {
	if r.staged.root != nil {
		return r.staged.root
	}
	return r.published.root
}

// valid says whether enough have signed.
func valid[T metadata.Roles](root *document[metadata.RootType], role string, d *document[T]) bool {
	return d != nil && root != nil && root.VerifyDelegate(role, d.Metadata) == nil
}

// names says whether metadata names that file.
func names(meta *metadata.MetaFiles, version int64, raw []byte) bool {
	return meta != nil && meta.Version == version && meta.VerifyLengthHashes(raw) == nil
}

func metaOf(version int64, raw []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(raw)
	meta := metadata.MetaFile(version)
	meta.Length = int64(len(raw))
	meta.Hashes["sha256"] = sum[:]
	return meta
}

func (r *Repository) stageSnapshot() error {
	targets := r.published.targets
	if r.staged.targets != nil {
		targets = r.staged.targets
	}
	m := metadata.Snapshot(r.expires(Snapshot))
	if p := r.published.snapshot; p != nil {
		m.Signed.Version = p.Signed.Version + 1
	}
	m.Signed.Meta["targets.json"] = metaOf(targets.Signed.Version, targets.raw)
	return stage(r, Snapshot, &r.staged.snapshot, m)
}

func (r *Repository) stageTimestamp() error {
	snapshot := r.published.snapshot
	if r.staged.snapshot != nil {
		snapshot = r.staged.snapshot
	}
	m := metadata.Timestamp(r.expires(Timestamp))
	if p := r.published.timestamp; p != nil {
		m.Signed.Version = p.Signed.Version + 1
	}
	m.Signed.Meta["snapshot.json"] = metaOf(snapshot.Signed.Version, snapshot.raw)
	return stage(r, Timestamp, &r.staged.timestamp, m)
}

// Releases returns what is released, or will be once what is staged is published,
// by the names of their directories.
func (r *Repository) Releases() []string {
	targets := r.published.targets
	if r.staged.targets != nil {
		targets = r.staged.targets
	}
	var list []string
	if targets == nil {
		return nil
	}
	for name, file := range targets.Signed.Targets {
		if file.Custom != nil {
			list = append(list, filepath.Dir(name))
		}
	}
	slices.Sort(list)
	return list
}
