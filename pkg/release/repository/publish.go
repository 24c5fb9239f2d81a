package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/release"
)

// file is one file of a publication.
type file struct {
	path string // relative, with slashes
	data []byte
}

// Publish makes what is staged what the repository serves, if enough have signed it
// all (ErrUnsigned) and nodes will take it: a new one, and one that knows what is
// published now. ErrNothing says that nothing is staged.
func (r *Repository) Publish(ctx context.Context) error {
	s := &r.staged
	if s.root == nil && s.targets == nil && s.snapshot == nil && s.timestamp == nil {
		return fmt.Errorf("publish: %w: nothing is staged", ErrNothing)
	}
	for _, st := range r.Status() {
		if st.Staged > 0 && !st.Complete {
			return fmt.Errorf("publish: %w: %s version %d has %d, it needs %d: have others sign", ErrUnsigned, st.Role, st.Staged, len(st.Signed), st.Threshold)
		}
	}
	if s.timestamp == nil {
		return fmt.Errorf("publish: %w: sign the snapshot and the timestamp with their keys", ErrUnsigned)
	}
	var files []file
	if s.targets != nil {
		files = append(files, file{versioned(Targets, s.targets.Signed.Version), s.targets.raw})
	}
	if s.snapshot != nil {
		files = append(files, file{versioned(Snapshot, s.snapshot.Signed.Version), s.snapshot.raw})
	}
	if s.root != nil {
		files = append(files, file{rootFile(s.root.Signed.Version), s.root.raw})
	}
	files = append(files, file{metadataDir + "/timestamp.json", s.timestamp.raw})
	if err := r.rehearse(ctx, files); err != nil {
		return fmt.Errorf("publish: nodes would refuse it: %w", err)
	}
	for _, f := range files {
		if err := r.write(r.path(filepath.FromSlash(f.path)), f.data); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	if err := r.clearStaged(); err != nil {
		return fmt.Errorf("publish: clear what was staged: %w", err)
	}
	return r.load()
}

// rehearse lets clients look at the repository as it will be.
func (r *Repository) rehearse(ctx context.Context, files []file) error {
	view := &overlay{files: files, under: release.Directory(r.dir)}
	options := release.Options{Root: r.Digest(), Fetch: view, Now: r.now}
	if r.published.timestamp != nil {
		known := options
		known.Now = func() time.Time { return time.Time{} } // what is published may have expired; a node remembers it all the same
		client, err := release.Open(known)
		if err != nil {
			return err
		}
		if _, err := client.Refresh(ctx); err != nil {
			return fmt.Errorf("what is published now: %w", err)
		}
		view.shown = true
		if _, err := client.Refresh(ctx); err != nil {
			return fmt.Errorf("a node that knows what is published now: %w", err)
		}
	}
	view.shown = true
	_, err := verify(ctx, options)
	return err
}

// overlay shows a directory as it will be, or as it was before a publication that
// may have begun.
type overlay struct {
	files []file
	shown bool
	under release.Fetch
}

// Get implements release.Fetch.
func (o *overlay) Get(ctx context.Context, path string, most int64, etag string) ([]byte, string, bool, error) {
	for _, f := range o.files {
		switch {
		case f.path != path:
		case o.shown:
			return f.data, "", false, nil
		case path != metadataDir+"/timestamp.json":
			return nil, "", false, release.ErrNotFound
		}
	}
	return o.under.Get(ctx, path, most, etag)
}

// Report is what a node would know of a repository.
type Report struct {
	Root     string            `json:"root"`
	Roles    []release.Role    `json:"roles"`
	Releases []release.Release `json:"releases"`
	// Problems are releases that nodes pass over, and why.
	Problems []string `json:"problems,omitempty"`
}

// Verify looks at a repository as a new node does that is configured with the root digest:
// the metadata, and each file of each release.
func Verify(ctx context.Context, from release.Fetch, root string, now func() time.Time) (Report, error) {
	return verify(ctx, release.Options{Root: root, Fetch: from, Now: now})
}

func verify(ctx context.Context, o release.Options) (Report, error) {
	report, client, err := look(ctx, o)
	if err != nil {
		return report, err
	}
	for _, one := range report.Releases {
		if one.Index.Size > 0 {
			if _, err := client.Index(ctx, one); err != nil {
				return report, err
			}
		}
		body, _, _, err := o.Fetch.Get(ctx, one.OS.Path, one.OS.Size, "")
		if err != nil {
			return report, fmt.Errorf("release %s: %w", one.Directory(), err)
		}
		sum := sha256.Sum256(body)
		if int64(len(body)) != one.OS.Size || hex.EncodeToString(sum[:]) != one.OS.Digest {
			return report, fmt.Errorf("release %s: %s: %w", one.Directory(), one.OS.Path, release.ErrTampered)
		}
	}
	return report, nil
}

// Look is Verify for the metadata alone.
func Look(ctx context.Context, from release.Fetch, root string, now func() time.Time) (Report, error) {
	report, _, err := look(ctx, release.Options{Root: root, Fetch: from, Now: now})
	return report, err
}

func look(ctx context.Context, o release.Options) (Report, *release.Client, error) {
	client, err := release.Open(o)
	if err != nil {
		return Report{}, nil, err
	}
	if _, err := client.Refresh(ctx); err != nil {
		return Report{}, nil, err
	}
	report := Report{Root: o.Root, Roles: client.Roles(), Releases: client.Releases()}
	for _, p := range client.Problems() {
		report.Problems = append(report.Problems, p.Error())
	}
	return report, client, nil
}

// CopyTo brings what is published to another directory, such as a web server's or a
// USB stick's, in the order in which a reader never sees a mix.
func (r *Repository) CopyTo(ctx context.Context, dir string) error {
	if r.published.timestamp == nil {
		return fmt.Errorf("copy the repository: %w: nothing is published", ErrNothing)
	}
	there, err := timestampOf(filepath.Join(dir, metadataDir, "timestamp.json"))
	if err != nil {
		return fmt.Errorf("copy the repository: %w", err)
	}
	if there > r.published.timestamp.Signed.Version {
		return fmt.Errorf("copy the repository: %s is newer (timestamp %d, here %d): bring this one up to date first", dir, there, r.published.timestamp.Signed.Version)
	}
	var paths []string
	for name, target := range r.published.targets.Signed.Targets {
		paths = append(paths, release.TargetPath(name, hex.EncodeToString(target.Hashes["sha256"])))
	}
	paths = append(paths, versioned(Targets, r.published.targets.Signed.Version), versioned(Snapshot, r.published.snapshot.Signed.Version))
	for version := int64(1); version <= r.published.root.Signed.Version; version++ {
		paths = append(paths, rootFile(version))
	}
	for _, path := range append(paths, metadataDir+"/timestamp.json") {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := copyFile(r.path(filepath.FromSlash(path)), filepath.Join(dir, filepath.FromSlash(path))); err != nil {
			return fmt.Errorf("copy the repository: %w", err)
		}
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if there, err := os.ReadFile(to); err == nil && bytes.Equal(there, data) {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := durable.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return durable.WriteFile(to, data, 0o644)
}

// timestampOf returns the version of a timestamp file, 0 if there is none.
func timestampOf(path string) (int64, error) {
	d, err := read[metadata.TimestampType](path)
	if err != nil || d == nil {
		return 0, err
	}
	return d.Signed.Version, nil
}
