// Package initramfs packs what the kernel unpacks into memory at boot: /init
// and, as one file, the compressed root file system /root.img.
//
// The kernel takes several archives in a row, each compressed or not
// (Documentation/driver-api/early-userspace/buffer-format.rst). /init stands
// in a compressed one; /root.img, which is compressed already, in a plain one
// that costs no time to unpack.
package initramfs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/u-root/u-root/pkg/cpio"
)

// Config says what to pack.
type Config struct {
	// Init is the path of the program that becomes PID 1.
	Init string
	// Root is the path of the root file system's image.
	Root string
	// Arch is Go's name of the architecture; it chooses the compressor's filter.
	Arch string
}

// Result is an initramfs.
type Result struct {
	Data []byte
	// InitSize is how many bytes of Data are the compressed /init.
	InitSize int64
	// RootSize is how many bytes are the root file system.
	RootSize int64
}

// xzFilters are the branch filters that the kernel's decoder has, by architecture.
var xzFilters = map[string]string{"amd64": "--x86", "arm64": "--arm64"}

// Build packs the initramfs. The same files give the same bytes with the same
// version of xz.
func Build(ctx context.Context, c Config) (*Result, error) {
	program, err := os.ReadFile(c.Init)
	if err != nil {
		return nil, fmt.Errorf("pack /init: %w", err)
	}
	root, err := os.ReadFile(c.Root)
	if err != nil {
		return nil, fmt.Errorf("pack /root.img: %w", err)
	}
	first, err := archive(
		cpio.Directory("dev", 0o755),
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.StaticFile("init", string(program), 0o755),
	)
	if err != nil {
		return nil, fmt.Errorf("pack /init: %w", err)
	}
	packed, err := compress(ctx, first, c.Arch)
	if err != nil {
		return nil, fmt.Errorf("compress /init: %w", err)
	}
	second, err := archive(cpio.StaticFile("root.img", string(root), 0o444))
	if err != nil {
		return nil, fmt.Errorf("pack /root.img: %w", err)
	}
	// A plain archive must begin on four bytes; the kernel skips zeros.
	pad := make([]byte, (4-len(packed)%4)%4)
	return &Result{
		Data:     bytes.Join([][]byte{packed, pad, second}, nil),
		InitSize: int64(len(packed)), RootSize: int64(len(root)),
	}, nil
}

// archive returns a cpio archive in the newc format. Times are zero and inode
// numbers count from 1, so the records alone decide the bytes.
func archive(records ...cpio.Record) ([]byte, error) {
	var b bytes.Buffer
	w := cpio.Newc.Writer(&b)
	for i, r := range records {
		r = cpio.MakeReproducible(r)
		r.Ino = uint64(i + 1)
		r.NLink = 1
		if err := w.WriteRecord(r); err != nil {
			return nil, fmt.Errorf("write record %s: %w", r.Name, err)
		}
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return nil, fmt.Errorf("write the trailer: %w", err)
	}
	return b.Bytes(), nil
}

// compress packs data the way the kernel's xz decoder wants it: CRC32 checks,
// and a dictionary that costs the decoder no more memory than the data.
func compress(ctx context.Context, data []byte, arch string) ([]byte, error) {
	args := []string{"--format=xz", "--check=crc32", "--threads=1", "--stdout"}
	if f := xzFilters[arch]; f != "" {
		args = append(args, f)
	}
	args = append(args, "--lzma2=preset=9e,dict=16MiB")
	cmd := exec.CommandContext(ctx, "xz", args...)
	cmd.Stdin = bytes.NewReader(data)
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("xz (package xz-utils): %w: %s", err, bytes.TrimSpace(msg.Bytes()))
	}
	return out.Bytes(), nil
}
