// Package cacerts makes the bundle of certificate authorities that a node
// trusts for registries and downloads, from Debian's package ca-certificates.
package cacerts

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/image/debian"
)

// Path is where the bundle stands in the root.
const Path = "/etc/ssl/certs/ca-certificates.crt"

// fewest is how many authorities the bundle must hold: far fewer than Mozilla
// has ever listed, more than an empty or cut package has.
const fewest = 80

// Build returns the bundle, the same for every architecture.
func Build(ctx context.Context, repoRoot string) (component.Component, error) {
	lock, err := debian.Load(filepath.Join(repoRoot, debian.LockPath))
	if err != nil {
		return component.Component{}, err
	}
	deb, pkg, err := lock.Fetch(ctx, "ca-certificates", "all")
	if err != nil {
		return component.Component{}, err
	}
	key := cache.NewKey("cacerts", 1).Add("deb", pkg.Files[0].SHA256)
	dir, err := cache.Do(ctx, key, func(ctx context.Context, dir string) error {
		tree, err := debian.ExtractDir(ctx, deb)
		if err != nil {
			return err
		}
		bundle, err := bundle(filepath.Join(tree, "usr/share/ca-certificates/mozilla"))
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, filepath.Base(Path)), bundle, 0o644)
	})
	if err != nil {
		return component.Component{}, err
	}
	file := filepath.Join(dir, filepath.Base(Path))
	sum, err := cache.SumFile(file)
	if err != nil {
		return component.Component{}, err
	}
	return component.Component{
		Name:    "ca-certificates",
		Version: pkg.Version,
		Source:  pkg.PURL(),
		SHA256:  sum,
		License: "MPL-2.0",
		Path:    Path,
		File:    file,
	}, nil
}

// bundle concatenates the certificates of dir in the order of their names.
// Only the certificates are kept, without the text around them.
func bundle(dir string) ([]byte, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.crt"))
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	var out bytes.Buffer
	count := 0
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(b)
		if block == nil {
			return nil, fmt.Errorf("certificate %s: not PEM", filepath.Base(name))
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, fmt.Errorf("certificate %s: %w", filepath.Base(name), err)
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}); err != nil {
			return nil, err
		}
		count++
	}
	if count < fewest {
		return nil, errors.New("the package ca-certificates holds too few certificates")
	}
	return out.Bytes(), nil
}
