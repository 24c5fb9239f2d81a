package k3sbuild

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/image/component"
)

// Options choose a variant.
type Options struct {
	// Inline lets the compiler inline everywhere: a larger and slightly
	// faster program.
	Inline bool
}

// resultVersion changes when this package's code changes what it builds.
const resultVersion = 1

// Build builds k3s and rt for Linux on arch ("amd64" or "arm64"), or takes
// them from the build cache. repoRoot is the repository's root folder.
func Build(ctx context.Context, repoRoot, arch string, opts Options) (k3s, rt component.Component, err error) {
	repoRoot, v, err := open(repoRoot)
	if err != nil {
		return k3s, rt, err
	}
	k3s, err = buildProgram(ctx, repoRoot, k3sProgram(repoRoot, v, opts), arch)
	if err != nil {
		return k3s, rt, err
	}
	rt, err = buildProgram(ctx, repoRoot, rtProgram(repoRoot, v), arch)
	return k3s, rt, err
}

// BuildRT builds rt alone.
func BuildRT(ctx context.Context, repoRoot, arch string) (component.Component, error) {
	repoRoot, v, err := open(repoRoot)
	if err != nil {
		return component.Component{}, err
	}
	return buildProgram(ctx, repoRoot, rtProgram(repoRoot, v), arch)
}

// open returns the absolute path of the repository and its versions.
func open(repoRoot string) (string, Versions, error) {
	abs, err := filepath.Abs(repoRoot)
	if err != nil {
		return "", Versions{}, err
	}
	v, err := ReadVersions(abs)
	return abs, v, err
}

func buildProgram(ctx context.Context, repoRoot string, p program, arch string) (component.Component, error) {
	c := component.Component{Name: p.name, Version: p.version, Source: p.purl, License: "Apache-2.0", Path: p.path}
	target, err := newTarget(ctx, repoRoot, arch, p.cgo)
	if err != nil {
		return c, err
	}
	key, err := p.key(ctx, target)
	if err != nil {
		return c, err
	}
	dir, err := cache.Do(ctx, key, func(ctx context.Context, dir string) error {
		work, err := os.MkdirTemp("", "mycelium-"+p.name)
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		t, err := layOut(ctx, p, work)
		if err != nil {
			return err
		}
		return t.compile(ctx, p, target, filepath.Join(dir, p.name))
	})
	if err != nil {
		return c, fmt.Errorf("build %s for %s: %w", p.name, arch, err)
	}
	c.File = filepath.Join(dir, p.name)
	if err := checkProgram(c.File, arch); err != nil {
		return c, err
	}
	if c.SHA256, err = cache.SumFile(c.File); err != nil {
		return c, err
	}
	info, err := os.Stat(c.File)
	if err != nil {
		return c, err
	}
	c.RawSize = info.Size()
	return c, nil
}
