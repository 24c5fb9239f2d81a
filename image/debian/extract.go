package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/digital-mycelium/os/image/cache"
)

// ErrNoMember says that a package does not hold a file.
var ErrNoMember = errors.New("no such file in the package")

// ExtractDir returns a directory that holds the files of the .deb at path. It
// lies in the build cache: do not write to it. Owners are not kept.
func ExtractDir(ctx context.Context, deb string) (string, error) {
	key := cache.NewKey("deb-tree", 1)
	if err := key.AddFile("deb", deb); err != nil {
		return "", err
	}
	return cache.Do(ctx, key, func(ctx context.Context, dir string) error {
		return unpack(ctx, deb, dir)
	})
}

// Extract returns the path of one file of the .deb at path; member is relative
// to the root, e.g. "sbin/e2fsck.static".
func Extract(ctx context.Context, deb, member string) (string, error) {
	if !filepath.IsLocal(member) {
		return "", fmt.Errorf("file %q of a package: not a path below its root", member)
	}
	dir, err := ExtractDir(ctx, deb)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, member)
	st, err := os.Lstat(file)
	if err != nil || !st.Mode().IsRegular() {
		return "", fmt.Errorf("%s: %s: %w", filepath.Base(deb), member, ErrNoMember)
	}
	return file, nil
}

// unpack extracts a .deb with dpkg-deb, which every Debian machine has.
func unpack(ctx context.Context, deb, dir string) error {
	out, err := exec.CommandContext(ctx, "dpkg-deb", "--extract", deb, dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("unpack %s: dpkg-deb: %w: %s", filepath.Base(deb), err, strings.TrimSpace(string(out)))
	}
	return nil
}
