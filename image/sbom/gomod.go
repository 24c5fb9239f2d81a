package sbom

import (
	"context"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/licensecheck"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// Module is a Go module that is linked into a component.
type Module struct {
	Path, Version string
	// SHA256 is the hex form of the module's "h1" sum, which is a SHA-256 over
	// its file list; empty when the binary does not carry it.
	SHA256 string
	// License is an SPDX licence expression, NOASSERTION when no licence file
	// of the module is recognised.
	License string
}

// Modules returns the modules inside the Go binary at path, sorted, the Go
// standard library among them. Licences are read from the module cache.
func Modules(ctx context.Context, path string) ([]Module, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the modules inside %s: %w", path, err)
	}
	cache, err := moduleCache(ctx)
	if err != nil {
		return nil, err
	}
	mods := []Module{{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go"), License: "BSD-3-Clause"}}
	for _, m := range info.Deps {
		// A module that is replaced by a directory is a patched copy of itself.
		if m.Replace != nil && m.Replace.Version != "" && !modfile.IsDirectoryPath(m.Replace.Path) {
			m = m.Replace
		}
		mod := Module{Path: m.Path, Version: m.Version, License: noAssertion}
		if h, ok := strings.CutPrefix(m.Sum, "h1:"); ok {
			sum, err := base64.StdEncoding.DecodeString(h)
			if err != nil {
				return nil, fmt.Errorf("sum of module %s in %s: %w", m.Path, path, err)
			}
			mod.SHA256 = hex.EncodeToString(sum)
		}
		if dir, err := moduleDir(cache, m.Path, m.Version); err == nil {
			if mod.License, err = License(dir); err != nil {
				return nil, err
			}
		}
		mods = append(mods, mod)
	}
	slices.SortFunc(mods, func(a, b Module) int { return strings.Compare(a.Path+"@"+a.Version, b.Path+"@"+b.Version) })
	return mods, nil
}

func moduleCache(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE").Output()
	if err != nil {
		return "", fmt.Errorf("find the module cache: go env: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

func moduleDir(cache, path, version string) (string, error) {
	p, err := module.EscapePath(path)
	if err != nil {
		return "", err
	}
	v, err := module.EscapeVersion(version)
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, p+"@"+v), nil
}

// License returns the SPDX expression for the licence files in dir,
// NOASSERTION when none is recognised.
func License(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return noAssertion, nil
	}
	if err != nil {
		return "", fmt.Errorf("look for a licence: %w", err)
	}
	found := map[string]bool{}
	for _, e := range entries {
		upper := strings.ToUpper(e.Name())
		if !e.Type().IsRegular() || !strings.Contains(upper, "LICEN") && !strings.HasPrefix(upper, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", fmt.Errorf("read a licence: %w", err)
		}
		for _, m := range licensecheck.Scan(text).Match {
			if !m.IsURL && m.ID != "" {
				found[m.ID] = true
			}
		}
	}
	if len(found) == 0 {
		return noAssertion, nil
	}
	ids := make([]string, 0, len(found))
	for id := range found {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return strings.Join(ids, " AND "), nil
}
