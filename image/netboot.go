package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/digital-mycelium/os/image/debian"
	"github.com/digital-mycelium/os/pkg/durable"
	"github.com/digital-mycelium/os/pkg/netboot"
)

// netbootPackage is a package with files that network boot needs.
type netbootPackage struct {
	name, arch string
	// files are their paths, by the names that pkg/netboot knows them by.
	files map[string]string
	// note says of the files what their licence wants.
	note string
}

func netbootPackages() []netbootPackage {
	return []netbootPackage{
		{"ipxe", "all", map[string]string{
			"undionly.kpxe":  "usr/lib/ipxe/undionly.kpxe",
			"snponly.efi":    "usr/lib/ipxe/snponly.efi",
			"ipxe-arm64.efi": "usr/lib/ipxe/ipxe-arm64.efi",
			"copyright":      "usr/share/doc/ipxe/copyright",
		}, "Its source is Debian's source package of that name and version.\nLicence: GPL-2+, see copyright.\n"},
		{"raspi-firmware", "arm64", map[string]string{
			netboot.PiLoader: "usr/lib/raspi-firmware/bootcode.bin",
			"LICENCE.txt":    "usr/share/doc/raspi-firmware/copyright",
		}, "For use on a Raspberry Pi alone, see LICENCE.txt.\n"},
	}
}

// Netboot puts what firmware starts first over the network (iPXE, and the Raspberry Pi
// 3's bootcode.bin, from the pinned packages of the repository at repoRoot) into the
// directory out, which is created, together with the licences and where the sources
// are. It returns the packages with their versions.
func Netboot(ctx context.Context, repoRoot, out string) (versions []string, err error) {
	lock, err := debian.Load(filepath.Join(repoRoot, debian.LockPath))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, fmt.Errorf("create the output directory: %w", err)
	}
	readme := ""
	for _, p := range netbootPackages() {
		deb, pkg, err := lock.Fetch(ctx, p.name, p.arch)
		if err != nil {
			return nil, err
		}
		for name, path := range p.files {
			if err := netbootFile(ctx, deb, path, filepath.Join(out, name)); err != nil {
				return nil, err
			}
		}
		versions = append(versions, p.name+" "+pkg.Version)
		readme += fmt.Sprintf("Unchanged from Debian's package %s %s (%s).\n%s\n", p.name, pkg.Version, pkg.PURL(), p.note)
	}
	return versions, durable.WriteFile(filepath.Join(out, "README"), []byte(readme), 0o644)
}

// netbootFile copies a file out of a package.
func netbootFile(ctx context.Context, deb, path, to string) error {
	file, err := debian.Extract(ctx, deb, path)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(to, data, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	return nil
}
