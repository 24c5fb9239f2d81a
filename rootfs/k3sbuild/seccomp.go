package k3sbuild

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/digital-mycelium/os/image/debian"
)

// seccompPackage holds the static library that runc's filters are made with.
const seccompPackage = "libseccomp-dev"

// addSeccomp fetches libseccomp for the target's architecture and makes it
// known to cgo, which asks pkg-config for it.
func (t *target) addSeccomp(ctx context.Context, repoRoot string) error {
	if _, err := exec.LookPath("pkg-config"); err != nil {
		return fmt.Errorf("building runc needs pkg-config (Debian package pkg-config): %w", err)
	}
	lock, err := debian.Load(filepath.Join(repoRoot, debian.LockPath))
	if err != nil {
		return err
	}
	deb, pkg, err := lock.Fetch(ctx, seccompPackage, t.arch)
	if err != nil {
		return err
	}
	root, err := debian.ExtractDir(ctx, deb)
	if err != nil {
		return err
	}
	lib := filepath.Join("usr", "lib", strings.TrimSuffix(t.cc, "-gcc"))
	t.libs = pkg.String() + "@" + pkg.Version
	t.env = append(
		t.env,
		"PKG_CONFIG_LIBDIR="+filepath.Join(root, lib, "pkgconfig"),
		"PKG_CONFIG_SYSROOT_DIR="+root,
		"PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1", "PKG_CONFIG_ALLOW_SYSTEM_LIBS=1",
	)
	return nil
}
