package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Limits of a log in bytes.
const (
	RingSize = 256 << 10
	FileSize = 8 << 20
)

// Set is the logs of a node by name. Its methods are safe for concurrent use.
type Set struct {
	mu    sync.Mutex
	rings map[string]*Ring
	files map[string]*File
	dir   string // "" until there is a disk
}

// NewSet returns a set without logs.
func NewSet() *Set {
	return &Set{rings: map[string]*Ring{}, files: map[string]*File{}}
}

// Get returns the log called name, a new one when there is none.
func (s *Set) Get(name string) *Ring {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rings[name]; r != nil {
		return r
	}
	r := NewRing(RingSize)
	s.rings[name] = r
	if s.dir != "" {
		// A log that cannot be kept on disk is still kept in memory.
		_ = s.attach(name, r)
	}
	return r
}

// Lookup returns the log called name if there is one.
func (s *Set) Lookup(name string) (*Ring, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.rings[name]
	return r, ok
}

// Names returns the names of all logs, sorted.
func (s *Set) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.rings))
	for n := range s.rings {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Persist keeps all logs in files in dir from now on, with what they hold.
func (s *Set) Persist(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("keep the logs: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dir = dir
	var errs []error
	for name, r := range s.rings {
		errs = append(errs, s.attach(name, r))
	}
	return errors.Join(errs...)
}

func (s *Set) attach(name string, r *Ring) error {
	f, err := OpenFile(filepath.Join(s.dir, name+".log"), FileSize)
	if err != nil {
		return err
	}
	s.files[name] = f
	r.sink(f.Line)
	return nil
}

// Close flushes the files and closes them; the rings go on.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dir = ""
	for _, r := range s.rings {
		r.mu.Lock()
		r.sinks = nil
		r.mu.Unlock()
	}
	var errs []error
	for name, f := range s.files {
		errs = append(errs, f.Close())
		delete(s.files, name)
	}
	return errors.Join(errs...)
}

// FreeOld deletes the rotated files in dir, for a disk that is full. It returns
// the bytes that this frees.
func FreeOld(dir string) (int64, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.log.1"))
	if err != nil {
		return 0, err
	}
	var freed int64
	var errs []error
	for _, p := range paths {
		info, err := os.Stat(p)
		if err == nil {
			err = os.Remove(p)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		freed += info.Size()
	}
	return freed, errors.Join(errs...)
}
