// Package cache keeps build results outside the work tree, keyed by the
// content of everything that they were made from.
//
// A result is a directory. It is built in a temporary directory beside its
// final place and renamed there when it is whole, so that an interrupted build
// leaves nothing that a later one would take for a result.
package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"syscall"
)

// Dir returns the cache's directory: $MYCELIUM_CACHE, or "mycelium-os" in the
// user's cache directory.
func Dir() (string, error) {
	if d := os.Getenv("MYCELIUM_CACHE"); d != "" {
		return filepath.Abs(d)
	}
	d, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache directory (set MYCELIUM_CACHE instead): %w", err)
	}
	return filepath.Join(d, "mycelium-os"), nil
}

// Key identifies a result by what it is made from. The zero Key is not usable;
// call NewKey. Each Add frames its value with its name and length, so that no
// two sequences of inputs share a key by concatenation.
type Key struct {
	name string
	sum  interface {
		io.Writer
		Sum([]byte) []byte
	}
}

// NewKey starts a key for a result of the kind name (a path element, e.g.
// "kernel"); change version when the code that builds it changes its output.
func NewKey(name string, version int) *Key {
	k := &Key{name: name, sum: sha256.New()}
	k.Add("kind", fmt.Sprintf("%s/%d", name, version))
	return k
}

// Add mixes a named input value into the key.
func (k *Key) Add(name, value string) *Key {
	fmt.Fprintf(k.sum, "%d:%s=%d:%s\n", len(name), name, len(value), value)
	return k
}

// AddFile mixes the content of the file at path into the key.
func (k *Key) AddFile(name, path string) error {
	sum, err := SumFile(path)
	if err != nil {
		return err
	}
	k.Add(name, sum)
	return nil
}

// AddTree mixes every regular file below dir, by relative path and content,
// into the key.
func (k *Key) AddTree(name, dir string) error {
	var paths []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() {
			paths = append(paths, p)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	sort.Strings(paths)
	for _, p := range paths {
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if err := k.AddFile(name+"/"+rel, p); err != nil {
			return err
		}
	}
	return nil
}

// String returns the key as name-hex, usable as a file name.
func (k *Key) String() string {
	return k.name + "-" + hex.EncodeToString(k.sum.Sum(nil))[:40]
}

// SumFile returns the hex SHA-256 of the file at path.
func SumFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Do returns the directory that holds the result for key. When there is none,
// it calls build with an empty directory to fill; two processes that ask for
// the same key wait for each other. The caller must not write to the result.
func Do(ctx context.Context, key *Key, build func(ctx context.Context, dir string) error) (string, error) {
	root, err := Dir()
	if err != nil {
		return "", err
	}
	name := key.String()
	final := filepath.Join(root, name)
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("create the build cache: %w", err)
	}
	lock, err := os.OpenFile(final+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", fmt.Errorf("create the lock for %s: %w", name, err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	tmp, err := os.MkdirTemp(root, name+".tmp")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	if err := build(ctx, tmp); err != nil {
		return "", errors.Join(fmt.Errorf("build %s: %w", key.name, err), os.RemoveAll(tmp))
	}
	if err := os.Rename(tmp, final); err != nil {
		return "", errors.Join(fmt.Errorf("keep the result of %s: %w", key.name, err), os.RemoveAll(tmp))
	}
	return final, nil
}
