package debian

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// LockPath is where the repository keeps its lock file.
const LockPath = "image/debian/lock.json"

// ErrNotLocked says that a package is not in the lock file.
var ErrNotLocked = errors.New("not in the lock file")

// Lock lists the packages that a build may use.
type Lock struct {
	Packages []Package `json:"packages"`

	fetcher fetcher
}

// Package is one binary package for one architecture, or one source package.
// Name, Arch, Suite and Component are asked for; the rest is what Bump found.
type Package struct {
	Name string `json:"name"`
	// Arch is Debian's name of the architecture, "all", or "source".
	Arch string `json:"arch"`
	// Suite is the archive's suite, e.g. "trixie" or "bookworm-backports".
	Suite string `json:"suite"`
	// Component is "main", "non-free-firmware", ...
	Component string `json:"component"`
	Version   string `json:"version,omitempty"`
	// Files are one .deb, or the parts of a source package.
	Files []File `json:"files,omitempty"`
}

// File is a file of the archive.
type File struct {
	// Path is relative to the archive's base, e.g. "pool/main/e/e2fsprogs/...".
	Path string `json:"path"`
	// Size is in bytes.
	Size int64 `json:"size"`
	// SHA256 is in hexadecimal.
	SHA256 string `json:"sha256"`
}

// SourceArch is the Arch of source packages.
const SourceArch = "source"

// String names the package for messages, e.g. "e2fsck-static/arm64 (trixie)".
func (p Package) String() string {
	return fmt.Sprintf("%s/%s (%s)", p.Name, p.Arch, p.Suite)
}

// PURL returns the package as a package URL for a bill of materials.
func (p Package) PURL() string {
	return fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s&distro=%s", p.Name,
		strings.ReplaceAll(p.Version, "+", "%2B"), p.Arch, p.Suite)
}

// Load reads the lock file at path. Unknown fields are errors.
func Load(path string) (*Lock, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the lock file: %w", err)
	}
	l, err := parseLock(b)
	if err != nil {
		return nil, fmt.Errorf("read the lock file %s: %w", path, err)
	}
	return l, nil
}

func parseLock(b []byte) (*Lock, error) {
	var l Lock
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	for _, p := range l.Packages {
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("package %s: %w", p, err)
		}
		id := p.Name + "/" + p.Arch
		if seen[id] {
			return nil, fmt.Errorf("package %s is listed twice", id)
		}
		seen[id] = true
	}
	return &l, nil
}

func (p Package) check() error {
	if p.Name == "" || p.Arch == "" || p.Suite == "" || p.Component == "" {
		return errors.New("name, arch, suite and component are all required")
	}
	for _, f := range p.Files {
		if err := f.check(); err != nil {
			return fmt.Errorf("file %q: %w", f.Path, err)
		}
	}
	return nil
}

func (f File) check() error {
	if !filepath.IsLocal(f.Path) || path.Clean(f.Path) != f.Path {
		return errors.New("path is not a clean path below the archive")
	}
	if b, err := hex.DecodeString(f.SHA256); err != nil || len(b) != 32 {
		return errors.New("sha256 is not 64 hexadecimal digits")
	}
	if f.Size <= 0 {
		return errors.New("size is missing")
	}
	return nil
}

// Save writes the lock file to path, whole or not at all.
func (l *Lock) Save(path string) error {
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".lock*")
	if err != nil {
		return fmt.Errorf("write the lock file: %w", err)
	}
	_, werr := tmp.Write(append(b, '\n'))
	if err := errors.Join(werr, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return errors.Join(fmt.Errorf("write the lock file: %w", err), os.Remove(tmp.Name()))
	}
	return os.Rename(tmp.Name(), path)
}

// Find returns the package of that name for arch: an exact match, or one for
// "all" architectures. The error wraps ErrNotLocked when there is none.
func (l *Lock) Find(name, arch string) (Package, error) {
	for _, p := range l.Packages {
		if p.Name != name || p.Arch != arch && (p.Arch != "all" || arch == SourceArch) {
			continue
		}
		if len(p.Files) == 0 {
			return Package{}, fmt.Errorf("package %s has no pinned version: run `make bump-prereqs PACKAGES=%s`", p, p.Name)
		}
		return p, nil
	}
	return Package{}, fmt.Errorf("package %s/%s: %w: add it to %s (name, arch, suite, component), then run `make bump-prereqs PACKAGES=%s`",
		name, arch, ErrNotLocked, LockPath, name)
}
