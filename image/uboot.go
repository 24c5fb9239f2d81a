package image

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/image/debian"
	"github.com/digital-mycelium/os/image/disk"
)

// checkVariant fails for a variant that the board has not.
func (b *builder) checkVariant() error {
	u := b.board.Firmware.UBoot
	if u == nil {
		if b.variant != "" {
			return fmt.Errorf("board %s has no variants, so none is called %q", b.board.Name, b.variant)
		}
		return nil
	}
	v, err := u.Variant(b.variant)
	if err != nil {
		return fmt.Errorf("board %s: %w", b.board.Name, err)
	}
	b.variant = v.Name
	return nil
}

// fetchUBoot returns the parts of U-Boot of the chosen variant, in the order of the
// board's files; none for a board without.
func (b *builder) fetchUBoot(ctx context.Context) ([]component.Component, error) {
	u := b.board.Firmware.UBoot
	if u == nil {
		return nil, nil
	}
	v, err := u.Variant(b.variant)
	if err != nil {
		return nil, err
	}
	lock, err := debian.Load(filepath.Join(b.repo, debian.LockPath))
	if err != nil {
		return nil, err
	}
	deb, pkg, err := lock.Fetch(ctx, u.Package, b.board.Arch)
	if err != nil {
		return nil, err
	}
	var cs []component.Component
	for _, f := range u.Files {
		c := component.Component{
			Name: "u-boot-" + v.Name + "-" + f.Name, Version: pkg.Version, Source: pkg.PURL(),
			License: "GPL-2.0-or-later AND BSD-3-Clause", Path: fmt.Sprintf("sector %d", f.Sector),
		}
		if c.File, err = debian.Extract(ctx, deb, u.File(v, f).Path); err != nil {
			return nil, err
		}
		cs = append(cs, c)
	}
	_, err = measure(cs)
	return cs, err
}

// placedUBoot says where on the disk U-Boot's parts go.
func (b *builder) placedUBoot(cs []component.Component) []disk.Placed {
	var files []disk.Placed
	for i, c := range cs {
		files = append(files, disk.Placed{Path: c.File, Sector: b.board.Firmware.UBoot.Files[i].Sector})
	}
	return files
}
