package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/pkg/fat"
	"github.com/digital-mycelium/os/pkg/gpt"
)

//go:embed debian
var debianFiles embed.FS

const (
	espSize        = 128 << 20
	debianRootSize = 6 << 30
	diskSlack      = 4 << 20
)

// linuxRoot is the partition type "Linux root (x86-64)" of the Discoverable
// Partitions Specification.
var linuxRoot = gpt.MustParseGUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")

// debianInputs are what the baseline's disk is made from.
type debianInputs struct {
	// Root is a tar archive of Debian.
	Root string
	// K3s is the directory that buildUpstream returned; empty for a machine
	// without K3s.
	K3s string
	// Images are archives put where K3s imports images from.
	Images []string
	// PauseImage is the name of the sandbox image, which one of Images holds.
	PauseImage string
}

// key names the disk that in gives.
func (in debianInputs) key() (*cache.Key, error) {
	key := cache.NewKey("bench-debian-disk", 1).
		Add("root", in.Root).Add("k3s", in.K3s).Add("pause", in.PauseImage)
	for _, image := range in.Images {
		if err := key.AddFile("image/"+filepath.Base(image), image); err != nil {
			return nil, err
		}
	}
	entries, err := debianFiles.ReadDir("debian")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		b, err := debianFiles.ReadFile("debian/" + e.Name())
		if err != nil {
			return nil, err
		}
		key.Add(e.Name(), string(b))
	}
	return key, nil
}

// buildDebianDisk returns the path of a bootable raw disk image: an EFI system
// partition with systemd-boot, the kernel and its initramfs, and an ext4 root.
func buildDebianDisk(ctx context.Context, in debianInputs) (string, error) {
	if os.Geteuid() != 0 {
		return "", errors.New("the Debian side keeps the owners of its files: run the benchmark as root " +
			"or under `unshare --map-root-user --map-auto`")
	}
	key, err := in.key()
	if err != nil {
		return "", err
	}
	dir, err := cache.Do(ctx, key, func(ctx context.Context, dir string) error {
		root := filepath.Join(dir, "root")
		if err := installDebian(ctx, root, in); err != nil {
			return err
		}
		if err := writeDebianDisk(ctx, filepath.Join(dir, "disk.img"), root); err != nil {
			return err
		}
		return os.RemoveAll(root)
	})
	if err != nil {
		return "", fmt.Errorf("build the Debian disk: %w", err)
	}
	return filepath.Join(dir, "disk.img"), nil
}

// installDebian unpacks Debian into root and does there what an administrator
// and K3s' install script would do.
func installDebian(ctx context.Context, root string, in debianInputs) error {
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := run(ctx, root, "tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", in.Root); err != nil {
		return err
	}
	config, err := debianFiles.ReadFile("debian/config.yaml")
	if err != nil {
		return err
	}
	config = bytes.ReplaceAll(config, []byte("PAUSE_IMAGE"), []byte(in.PauseImage))
	files := map[string]string{
		"etc/hostname":                        "debian\n",
		"etc/hosts":                           "127.0.0.1 localhost\n127.0.1.1 debian\n",
		"etc/machine-id":                      debianMachineID + "\n",
		"etc/resolv.conf":                     "nameserver 10.0.2.3\n",
		"etc/fstab":                           "LABEL=root / ext4 errors=remount-ro 0 1\n",
		"etc/rancher/k3s/config.yaml":         string(config),
		"usr/local/sbin/bench-probe":          "debian/probe.sh",
		unitDir + "bench-probe.service":       "debian/bench-probe.service",
		"etc/systemd/network/80-dhcp.network": "debian/80-dhcp.network",
	}
	if err := writeFiles(root, files); err != nil {
		return err
	}
	units := []string{"bench-probe.service", "systemd-networkd.service"}
	if in.K3s != "" {
		if err := installK3s(ctx, root, in); err != nil {
			return err
		}
		units = append(units, "k3s.service")
	}
	return run(ctx, "", "systemctl", append([]string{"--root=" + root, "--quiet", "enable"}, units...)...)
}

// debianMachineID makes the machine one that was installed, not one that starts
// for the first time ever.
const debianMachineID = "6b1f3e0d2c5a4978861d0e4f9a7b3c25"

// unitDir is where an administrator's units stand.
const unitDir = "etc/systemd/system/"

// writeFiles writes files by path; a content that names an embedded file
// stands for that file.
func writeFiles(root string, files map[string]string) error {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		content := []byte(files[name])
		if strings.HasPrefix(files[name], "debian/") {
			b, err := debianFiles.ReadFile(files[name])
			if err != nil {
				return err
			}
			content = b
		}
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// installK3s does what K3s' install script does, then unpacks the program's
// payload as its first start would, so that the measured boot does not pay for it.
func installK3s(ctx context.Context, root string, in debianInputs) error {
	bin := filepath.Join(root, "usr/local/bin")
	if err := copyFile(filepath.Join(bin, "k3s"), filepath.Join(in.K3s, "k3s"), 0o755); err != nil {
		return err
	}
	for _, name := range []string{"kubectl", "crictl", "ctr"} {
		if err := os.Symlink("k3s", filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	unit := filepath.Join(root, unitDir, "k3s.service")
	if err := copyFile(unit, filepath.Join(in.K3s, "k3s.service"), 0o644); err != nil {
		return err
	}
	for _, image := range in.Images {
		to := filepath.Join(root, "var/lib/rancher/k3s/agent/images", filepath.Base(image))
		if err := copyFile(to, image, 0o644); err != nil {
			return err
		}
	}
	return run(ctx, "", "chroot", root, "/usr/local/bin/k3s", "crictl", "--version")
}

// writeDebianDisk makes the disk image at path from the directory root.
func writeDebianDisk(ctx context.Context, path, root string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	const size = diskSlack + espSize + debianRootSize
	if err := f.Truncate(size); err != nil {
		return err
	}
	table, err := gpt.New(gpt.DeriveGUID("bench", "debian"), 512, size)
	if err != nil {
		return err
	}
	esp, err := table.AddPartition(gpt.Partition{Type: gpt.ESP, Name: "EFI"}, espSize)
	if err != nil {
		return err
	}
	part, err := table.AddPartition(gpt.Partition{Type: linuxRoot, Name: "root"}, debianRootSize)
	if err != nil {
		return err
	}
	if err := table.Write(f); err != nil {
		return err
	}
	if err := writeESP(io.NewOffsetWriter(f, table.Offset(esp)), table.Bytes(esp), table.Offset(esp), root); err != nil {
		return err
	}
	return run(ctx, "", "mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", root,
		"-E", fmt.Sprintf("offset=%d", table.Offset(part)), path, fmt.Sprintf("%dk", table.Bytes(part)>>10))
}

// writeESP writes an EFI system partition that boots the kernel of root.
func writeESP(w io.WriterAt, size, start int64, root string) error {
	fs, err := fat.New(fat.Config{Size: size, Label: "EFI", ID: 0xdeb1a12, Start: start})
	if err != nil {
		return err
	}
	kernel, err := newest(filepath.Join(root, "boot/vmlinuz-*"))
	if err != nil {
		return err
	}
	initrd, err := newest(filepath.Join(root, "boot/initrd.img-*"))
	if err != nil {
		return err
	}
	loader := filepath.Join(root, "usr/lib/systemd/boot/efi/systemd-bootx64.efi")
	for name, path := range map[string]string{
		"EFI/BOOT/BOOTX64.EFI": loader, "vmlinuz": kernel, "initrd.img": initrd,
	} {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if err := fs.AddFile(name, info.Size(), func() (io.ReadCloser, error) { return os.Open(path) }); err != nil {
			return err
		}
	}
	for name, file := range map[string]string{
		"loader/loader.conf": "debian/loader.conf", "loader/entries/debian.conf": "debian/entry.conf",
	} {
		content, err := debianFiles.ReadFile(file)
		if err != nil {
			return err
		}
		if err := fs.AddBytes(name, content); err != nil {
			return err
		}
	}
	return fs.Write(w)
}

// newest returns the last of the files that match pattern.
func newest(pattern string) (string, error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", fmt.Errorf("no file matches %s", pattern)
	}
	return names[len(names)-1], nil
}

// copyFile copies from to the new file to and makes the directories above it.
func copyFile(to, from string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return errors.Join(fmt.Errorf("copy %s: %w", from, err), out.Close())
	}
	return out.Close()
}
