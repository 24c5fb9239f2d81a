// Package ext4template makes the empty ext4 file systems that a node's
// partitions begin as.
//
// A node carries no mke2fs: it writes a template to the new partition, mounts
// it, grows it to the partition's size (EXT4_IOC_RESIZE_FS) and gives it a UUID
// of its own (EXT4_IOC_SETFSUUID), all of which the kernel does by itself. The
// templates are chosen for that: checksums that do not depend on the UUID
// (metadata_csum_seed), 64-bit block numbers, room for descriptors of a larger
// file system (resize_inode; beyond 256 GiB the kernel goes on with meta_bg by
// itself), and a journal large enough for the grown file system.
//
// Every template has at least one copy of its superblock.
package ext4template

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/digital-mycelium/os/image/cache"
	"github.com/digital-mycelium/os/image/component"
)

// template describes one empty file system.
type template struct {
	// path is where it stands in the root.
	path string
	// sizeMiB is the smallest partition that it fits on.
	sizeMiB int
	// journalMiB is fixed for the life of the file system.
	journalMiB int
	// blockSize is in bytes. With 1 KiB a group is 8 MiB, so that even a tiny
	// file system has copies of its superblock; with 4 KiB it is 128 MiB.
	blockSize int
	// bytesPerInode decides how many inodes a group has, and so how many files
	// fit into the grown file system: mke2fs counts the template's bytes and
	// divides by its groups, of which DATA's second is small, so that the grown
	// one has an inode every 30 KiB.
	bytesPerInode int
}

// templates are one for STATE (64 MiB, a few small files) and one for DATA
// (gigabytes to terabytes: images, containers, a database that syncs often).
var templates = []template{
	{path: "/share/ext4-state.img.zst", sizeMiB: 32, journalMiB: 4, blockSize: 1024, bytesPerInode: 8192},
	{path: "/share/ext4-data.img.zst", sizeMiB: 136, journalMiB: 64, blockSize: 4096, bytesPerInode: 16384},
}

const (
	// features are listed in full, so that the build machine's mke2fs.conf
	// and version decide nothing.
	features = "none,sparse_super,large_file,filetype,dir_index,ext_attr,has_journal,extent,huge_file," +
		"flex_bg,metadata_csum,metadata_csum_seed,64bit,dir_nlink,extra_isize,resize_inode"
	uuid     = "6d796365-6c69-756d-8000-000000000001"
	hashSeed = "6d796365-6c69-756d-8000-000000000002"
	// fakeTime is 2026-01-01 in seconds.
	fakeTime = "1767225600"
	config   = "[defaults]\n\tbase_features = sparse_super\n" +
		"[fs_types]\n\text4 = {\n\t\tinode_size = 256\n\t}\n\tsmall = {\n\t\tinode_size = 256\n\t}\n"
)

// Build returns the templates, compressed with zstd.
func Build(ctx context.Context) ([]component.Component, error) {
	version, err := mke2fsVersion(ctx)
	if err != nil {
		return nil, err
	}
	var all []component.Component
	for _, t := range templates {
		key := cache.NewKey("ext4template", 1).Add("template", fmt.Sprintf("%+v", t)).
			Add("features", features).Add("config", config).Add("mke2fs", version)
		dir, err := cache.Do(ctx, key, func(ctx context.Context, dir string) error {
			return t.build(ctx, dir)
		})
		if err != nil {
			return nil, err
		}
		c := component.Component{
			Name:    strings.TrimSuffix(filepath.Base(t.path), ".img.zst") + "-template",
			Version: version,
			Source:  "pkg:generic/e2fsprogs@" + version,
			License: "Apache-2.0",
			Path:    t.path,
			File:    filepath.Join(dir, filepath.Base(t.path)),
		}
		if c.SHA256, err = cache.SumFile(c.File); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// build makes the file system and compresses it into dir.
func (t template) build(ctx context.Context, dir string) (err error) {
	work, err := os.MkdirTemp("", "ext4template")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	image := filepath.Join(work, "image")
	if err := t.format(ctx, image, filepath.Join(work, "mke2fs.conf")); err != nil {
		return err
	}
	return compress(image, filepath.Join(dir, filepath.Base(t.path)))
}

// format writes the file system to the new file image.
func (t template) format(ctx context.Context, image, conf string) error {
	if err := os.WriteFile(conf, []byte(config), 0o644); err != nil {
		return err
	}
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	if err := f.Truncate(int64(t.sizeMiB) << 20); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "mke2fs", "-q", "-F", "-t", "ext4",
		"-b", strconv.Itoa(t.blockSize), "-I", "256", "-m", "0",
		"-i", strconv.Itoa(t.bytesPerInode), "-J", fmt.Sprintf("size=%d", t.journalMiB),
		"-O", features, "-U", uuid,
		"-E", "hash_seed="+hashSeed+",lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0", image)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH") + ":/sbin:/usr/sbin", "LC_ALL=C", "MKE2FS_CONFIG=" + conf, "E2FSPROGS_FAKE_TIME=" + fakeTime}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make the file system of %s: mke2fs: %w: %s", t.path, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// compress writes from, compressed, to the file to.
func compress(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	z, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, in); err != nil {
		return fmt.Errorf("compress %s: %w", from, err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("compress %s: %w", from, err)
	}
	return out.Close()
}

// mke2fsVersion returns the version of the machine's mke2fs, e.g. "1.47.0".
func mke2fsVersion(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "mke2fs", "-V")
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/sbin:/usr/sbin")
	out, err := cmd.CombinedOutput()
	fields := strings.Fields(string(out))
	if err != nil || len(fields) < 2 {
		return "", fmt.Errorf("ask mke2fs for its version (install it: apt-get install e2fsprogs): %w: %s", err, out)
	}
	return fields[1], nil
}
