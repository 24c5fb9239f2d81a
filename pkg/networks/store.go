package networks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/digital-mycelium/os/pkg/durable"
)

// Store holds one operator's networks below the directory Dir.
type Store struct {
	Dir string
	// Now is the machine's clock, time.Now when nil.
	Now func() time.Time
	// Built is the earliest time that it can possibly be.
	Built time.Time
}

// ErrNotFound: the network is not in the store. It is fs.ErrNotExist.
var ErrNotFound = fmt.Errorf("no such network: %w", fs.ErrNotExist)

// building and deleted begin the names of directories that are not networks yet,
// or no longer. What a power cut leaves of them goes away with the next change.
const (
	building = ".new-"
	deleted  = ".deleted-"
)

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// CheckName says whether name can name a network or a member. No path can.
func CheckName(name string) error {
	ok := len(name) >= 1 && len(name) <= 63 && name[0] != '-'
	for i := range len(name) {
		c := name[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		return fmt.Errorf("the name %.80q must be 1 to 63 lower-case letters, digits and hyphens, and not begin with a hyphen", name)
	}
	return nil
}

// Path returns the directory of the network name.
func (s *Store) Path(name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	return filepath.Join(s.Dir, name), nil
}

// Find is Path for a network that exists (ErrNotFound).
func (s *Store) Find(name string) (string, error) {
	dir, err := s.Path(name)
	if err != nil {
		return "", err
	}
	fi, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %q in %s", ErrNotFound, name, s.Dir)
	}
	if err == nil && !fi.IsDir() {
		err = fmt.Errorf("%s is not a directory: move it away", dir)
	}
	if err != nil {
		return "", fmt.Errorf("find the network %q: %w", name, err)
	}
	return dir, nil
}

// Vacant says whether name can be given to a new network (fs.ErrExist).
func (s *Store) Vacant(name string) error {
	dir, err := s.Path(name)
	if err != nil {
		return err
	}
	_, err = os.Lstat(dir)
	if err == nil {
		return fmt.Errorf("there is a network %q in %s already: %w", name, s.Dir, fs.ErrExist)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for the network %q: %w", name, err)
	}
	return nil
}

// List returns the networks' names in order.
func (s *Store) List() ([]string, error) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the networks: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && CheckName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return slices.Sorted(slices.Values(names)), nil
}

// change locks the store and clears away what interrupted changes have left.
func (s *Store) change(ctx context.Context) (unlock func(), err error) {
	if err := durable.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, err
	}
	f, err := lock(ctx, filepath.Join(s.Dir, ".lock"))
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.Dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), building) || strings.HasPrefix(e.Name(), deleted) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.Dir, e.Name())))
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { f.Close() }, nil
}

// build lets fill make a new network's files in a directory of their own, then
// puts it in its place. Without an error the network is whole and durable, with
// one nothing is left of it.
func (s *Store) build(ctx context.Context, name string, fill func(dir string) error) error {
	if err := s.Vacant(name); err != nil {
		return err
	}
	err := s.place(ctx, name, fill)
	if errors.Is(err, fs.ErrExist) {
		return cmp.Or(s.Vacant(name), err) // another program was first
	}
	return err
}

// place is build for a name of the store's own.
func (s *Store) place(ctx context.Context, name string, fill func(dir string) error) error {
	unlock, err := s.change(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Lstat(filepath.Join(s.Dir, name)); err == nil {
		return fs.ErrExist
	}
	temp, err := os.MkdirTemp(s.Dir, building)
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := fill(temp); err != nil {
		return err
	}
	if err := errors.Join(ctx.Err(), durable.SyncDir(temp)); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(s.Dir, name)); err != nil {
		return err
	}
	return durable.SyncDir(s.Dir)
}

// Delete removes the network name with all its keys (ErrNotFound).
func (s *Store) Delete(ctx context.Context, name string) error {
	dir, err := s.Find(name)
	if err != nil {
		return err
	}
	unlock, err := s.change(ctx)
	if err != nil {
		return fmt.Errorf("delete the network %q: %w", name, err)
	}
	defer unlock()
	f, err := lock(ctx, filepath.Join(dir, lockFile)) // nobody is using it
	if err != nil {
		return fmt.Errorf("delete the network %q: %w", name, err)
	}
	defer f.Close()
	gone := filepath.Join(s.Dir, deleted+name)
	err = os.Rename(dir, gone)
	if err == nil {
		err = errors.Join(durable.SyncDir(s.Dir), os.RemoveAll(gone), durable.SyncDir(s.Dir))
	}
	if err != nil {
		return fmt.Errorf("delete the network %q: %w", name, err)
	}
	return nil
}
