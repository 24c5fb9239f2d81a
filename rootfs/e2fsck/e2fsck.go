// Package e2fsck provides the static e2fsck that repairs a node's file systems
// before they are mounted, from Debian's package e2fsck-static.
package e2fsck

import (
	"context"
	"path/filepath"

	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/image/debian"
)

// Path is where the program stands in the root.
const Path = "/sbin/e2fsck"

// Build returns the program for arch ("amd64", "arm64").
func Build(ctx context.Context, repoRoot, arch string) (component.Component, error) {
	lock, err := debian.Load(filepath.Join(repoRoot, debian.LockPath))
	if err != nil {
		return component.Component{}, err
	}
	deb, pkg, err := lock.Fetch(ctx, "e2fsck-static", arch)
	if err != nil {
		return component.Component{}, err
	}
	file, err := debian.Extract(ctx, deb, "usr/sbin/e2fsck.static")
	if err != nil {
		return component.Component{}, err
	}
	sum, err := cache.SumFile(file)
	if err != nil {
		return component.Component{}, err
	}
	return component.Component{
		Name:    "e2fsck",
		Version: pkg.Version,
		Source:  pkg.PURL(),
		SHA256:  sum,
		License: "GPL-2.0-only AND LGPL-2.0-only AND LGPL-2.1-or-later",
		Path:    Path,
		File:    file,
	}, nil
}
