// Package debian fetches pinned packages from Debian's archive, of any suite
// and architecture, as prerequisites of a build: kernel source, boot loaders,
// firmware, tools.
//
// A lock file names every file with its size and SHA-256. What matches is kept
// by content in the build cache, so that a build needs the network only once.
// Where the archive is, which proxy leads to it and what its keyring is, the
// machine's own apt configuration says; this package changes nothing on the
// machine, needs no root, and keeps its own apt state in the build cache.
//
//	lock, err := debian.Load(filepath.Join(repoRoot, debian.LockPath))
//	deb, pkg, err := lock.Fetch(ctx, "e2fsck-static", "arm64")
//	files, err := debian.ExtractDir(ctx, deb)
//
// Trust: Bump verifies the archive's signed indices with Debian's keyring and
// writes the hashes that they vouch for; Fetch trusts the lock file alone.
package debian
