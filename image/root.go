package image

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/image/component"
	"github.com/digital-mycelium/os/initramfs"
	"github.com/digital-mycelium/os/rootfs"
)

// packRoot returns the path of the packed root. It is kept in the build cache
// by its tree's content and the packer's version: nothing in it names the
// version of the system, so that most commits find it there.
func (b *builder) packRoot(ctx context.Context, components []component.Component) (string, error) {
	tree, err := rootfs.Assemble(components)
	if err != nil {
		return "", err
	}
	sum, err := tree.Sum()
	if err != nil {
		return "", err
	}
	tool, err := toolVersion(ctx, "mksquashfs", "-version")
	if err != nil {
		return "", err
	}
	key := cache.NewKey("root", rootfs.PackVersion).Add("tree", sum).Add("arch", b.board.Arch).Add("tool", tool)
	dir, err := cache.Do(ctx, key, func(ctx context.Context, dir string) error {
		return rootfs.Pack(ctx, tree, b.board.Arch, filepath.Join(dir, "root.img"))
	})
	return filepath.Join(dir, "root.img"), err
}

// share fills in how much of the OS file each component takes.
func (b *builder) share(p *parts, ramfs *initramfs.Result, root string) error {
	p.kernel.CompressedSize = p.kernel.RawSize
	p.stub.CompressedSize = p.stub.RawSize
	p.init.CompressedSize = ramfs.InitSize
	shareFirmware(p.firmware.components, ramfs.FirmwareSize)
	f, err := os.Open(root)
	if err != nil {
		return err
	}
	defer f.Close()
	usage, err := rootfs.Usage(f)
	if err != nil {
		return fmt.Errorf("measure the root: %w", err)
	}
	for i := range p.root {
		n, ok := usage[p.root[i].Path]
		if !ok {
			return fmt.Errorf("measure the root: %s is not in it", p.root[i].Path)
		}
		p.root[i].CompressedSize = n
	}
	return nil
}

// toolVersions returns the host's tools that decide the image's bytes.
func toolVersions(ctx context.Context) (tools []string, err error) {
	for _, t := range []struct{ name, arg string }{{"go", "version"}, {"gcc", "--version"}, {"mksquashfs", "-version"}, {"xz", "--version"}} {
		v, err := toolVersion(ctx, t.name, t.arg)
		if err != nil {
			return nil, err
		}
		tools = append(tools, v)
	}
	return tools, nil
}

// toolVersion returns "name-version" of a host tool that prints its version as
// a word with a digit and a dot in the first line.
func toolVersion(ctx context.Context, name, arg string) (string, error) {
	out, err := exec.CommandContext(ctx, name, arg).Output()
	if err != nil && len(out) == 0 {
		return "", fmt.Errorf("find the version of %s: %w", name, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	for word := range strings.FieldsSeq(line) {
		number := strings.Trim(strings.TrimPrefix(word, "go"), "()")
		if number != "" && number[0] >= '0' && number[0] <= '9' && strings.Contains(number, ".") {
			return name + "-" + number, nil
		}
	}
	return "", fmt.Errorf("find the version of %s: it says %q", name, line)
}

// isGo reports whether the file at path is a Go binary.
func isGo(path string) bool {
	_, err := buildinfo.ReadFile(path)
	return err == nil
}
