package rootfs

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"github.com/digital-mycelium/os/image/component"
)

// files are the static files of the root, at the paths that they have there.
//
//go:embed files
var files embed.FS

// The parts of the root that are the same on every board.
var (
	// mountPoints are empty directories that init mounts something on.
	mountPoints = []string{"/dev", "/proc", "/sys", "/run", "/tmp", "/state", "/var", "/boot", "/opt", "/lib/firmware"}

	// links are symbolic links, as path and target.
	links = [][2]string{
		{"/bin/containerd", "k3s"},
		{"/bin/runc", "rt"},
		{"/bin/containerd-shim-runc-v2", "rt"},
		{"/bin/mount", "rt"},
		{"/bin/umount", "rt"},
		{"/libexec/cni/bridge", "/bin/rt"},
		{"/libexec/cni/host-local", "/bin/rt"},
		{"/libexec/cni/loopback", "/bin/rt"},
		{"/libexec/cni/portmap", "/bin/rt"},
		// What changes at run time but must stand in /etc.
		{"/etc/cni/net.d", "/run/cni/net.d"},
		{"/etc/machine-id", "/run/machine-id"},
		{"/etc/mtab", "/proc/self/mounts"},
		{"/etc/os-release", "/run/os-release"},
		{"/etc/rancher", "/state/rancher"},
		{"/etc/resolv.conf", "/run/resolv.conf"},
	}
)

// Assemble returns the root's tree: the fixed layout and the components, each
// at its Path. Programs (below a directory bin or sbin) are executable.
func Assemble(components []component.Component) (*Tree, error) {
	t := NewTree()
	for _, d := range mountPoints {
		if err := t.Dir(d, 0o755); err != nil {
			return nil, err
		}
	}
	for _, l := range links {
		if err := t.Link(l[0], l[1]); err != nil {
			return nil, err
		}
	}
	err := fs.WalkDir(files, "files", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := files.ReadFile(p)
		if err != nil {
			return err
		}
		return t.Bytes(strings.TrimPrefix(p, "files"), 0o444, data)
	})
	if err != nil {
		return nil, fmt.Errorf("add the static files: %w", err)
	}
	for _, c := range components {
		mode := fs.FileMode(0o444)
		if strings.Contains(c.Path, "bin/") {
			mode = 0o555
		}
		if err := t.File(c.Path, mode, c.File); err != nil {
			return nil, fmt.Errorf("component %s: %w", c.Name, err)
		}
	}
	return t, nil
}
