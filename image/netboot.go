package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/digital-mycelium/os/image/debian"
	"github.com/digital-mycelium/os/pkg/durable"
)

// netbootFiles are what network boot needs of the package ipxe, and the names
// that pkg/netboot knows them by.
func netbootFiles() map[string]string {
	return map[string]string{
		"undionly.kpxe":  "usr/lib/ipxe/undionly.kpxe",
		"snponly.efi":    "usr/lib/ipxe/snponly.efi",
		"ipxe-arm64.efi": "usr/lib/ipxe/ipxe-arm64.efi",
		"copyright":      "usr/share/doc/ipxe/copyright",
	}
}

// Netboot puts the loaders of network boot (iPXE, from the pinned package of the
// repository at repoRoot) into the directory out, which is created, together with
// their licence and where their source is. It returns their version.
func Netboot(ctx context.Context, repoRoot, out string) (version string, err error) {
	lock, err := debian.Load(filepath.Join(repoRoot, debian.LockPath))
	if err != nil {
		return "", err
	}
	deb, pkg, err := lock.Fetch(ctx, "ipxe", "all")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", fmt.Errorf("create the output directory: %w", err)
	}
	for name, path := range netbootFiles() {
		file, err := debian.Extract(ctx, deb, path)
		if err != nil {
			return "", err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		if err := durable.WriteFile(filepath.Join(out, name), data, 0o644); err != nil {
			return "", fmt.Errorf("write %s: %w", name, err)
		}
	}
	source := fmt.Sprintf("iPXE, unchanged from Debian's package ipxe %s (%s).\nIts source is Debian's source package of that name and version.\nLicence: GPL-2+, see copyright.\n", pkg.Version, pkg.PURL())
	return pkg.Version, durable.WriteFile(filepath.Join(out, "README"), []byte(source), 0o644)
}
