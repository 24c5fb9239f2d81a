package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/digital-mycelium/os/image/cache"
)

// fetcher is where files come from; tests replace its parts.
type fetcher struct {
	findArchive func(context.Context) (Archive, error)
	download    func(ctx context.Context, uri, dst string) error
}

func (f fetcher) orDefault() fetcher {
	if f.findArchive == nil {
		f.findArchive = FindArchive
	}
	if f.download == nil {
		f.download = download
	}
	return f
}

// Fetch returns the path of the pinned .deb of a binary package for arch, and
// what the lock says of it. The file lies in the build cache: do not write to
// it. The network is used only when the cache does not hold the file.
func (l *Lock) Fetch(ctx context.Context, name, arch string) (string, Package, error) {
	p, err := l.Find(name, arch)
	if err != nil {
		return "", Package{}, err
	}
	if len(p.Files) != 1 {
		return "", Package{}, fmt.Errorf("package %s is a source package: use FetchSource", p)
	}
	file, err := l.fetchFile(ctx, p, p.Files[0])
	return file, p, err
}

// FetchSource returns the paths of the pinned files of a source package by
// their names, e.g. "libmnl_1.0.5.orig.tar.bz2".
func (l *Lock) FetchSource(ctx context.Context, name string) (map[string]string, Package, error) {
	p, err := l.Find(name, SourceArch)
	if err != nil {
		return nil, Package{}, err
	}
	files := make(map[string]string)
	for _, f := range p.Files {
		file, err := l.fetchFile(ctx, p, f)
		if err != nil {
			return nil, Package{}, err
		}
		files[path.Base(f.Path)] = file
	}
	return files, p, nil
}

func (l *Lock) fetchFile(ctx context.Context, p Package, f File) (string, error) {
	name := path.Base(f.Path)
	key := cache.NewKey("deb", 1).Add("sha256", f.SHA256).Add("name", name)
	dir, err := cache.Do(ctx, key, func(ctx context.Context, dir string) error {
		return l.download(ctx, p, f, filepath.Join(dir, name))
	})
	if err != nil {
		return "", fmt.Errorf("fetch package %s %s: %w", p, p.Version, err)
	}
	file := filepath.Join(dir, name)
	if err := verify(file, f); err != nil {
		return "", fmt.Errorf("the build cache is damaged (remove %s): %w", dir, err)
	}
	return file, nil
}

func (l *Lock) download(ctx context.Context, p Package, f File, dst string) error {
	src := l.fetcher.orDefault()
	a, err := src.findArchive(ctx)
	if err != nil {
		return err
	}
	base, err := a.base(p.Suite)
	if err != nil {
		return err
	}
	if err := src.download(ctx, base+"/"+f.Path, dst); err != nil {
		return fmt.Errorf("%w\nthe archive may have moved on from this version: "+
			"`make bump-prereqs PACKAGES=%s` pins the newest", err, p.Name)
	}
	return verify(dst, f)
}

// verify checks a file's size and hash.
func verify(file string, f File) error {
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	if st.Size() != f.Size {
		return fmt.Errorf("%s has %d bytes, the lock file says %d", file, st.Size(), f.Size)
	}
	sum, err := cache.SumFile(file)
	if err != nil {
		return err
	}
	if sum != f.SHA256 {
		return errors.Join(ErrHash, fmt.Errorf("%s has SHA-256 %s, the lock file says %s", file, sum, f.SHA256))
	}
	return nil
}

// ErrHash says that a file's content is not what the lock file pins.
var ErrHash = errors.New("wrong SHA-256")
