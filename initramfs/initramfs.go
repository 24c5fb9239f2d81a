// Package initramfs packs what the kernel unpacks into memory at boot: /init, the
// firmware that drivers load, and, as one file, the compressed root file system
// /root.img.
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
	// Firmware stands in /lib/firmware, where drivers that are built into the kernel
	// look for it before there is a root.
	Firmware []Firmware
}

// Firmware is a file below /lib/firmware.
type Firmware struct {
	// Name is its path there.
	Name string
	Data []byte
	// Fixed says that init may delete it when no driver has read it after the boot.
	Fixed bool
}

// Result is an initramfs.
type Result struct {
	Data []byte
	// InitSize is how many bytes of Data are the compressed /init.
	InitSize int64
	// FirmwareSize is how many are the compressed firmware.
	FirmwareSize int64
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
	packed, err := compress(ctx, first, initPreset, xzFilters[c.Arch])
	if err != nil {
		return nil, fmt.Errorf("compress /init: %w", err)
	}
	firmware, err := packFirmware(ctx, c.Firmware)
	if err != nil {
		return nil, err
	}
	second, err := archive(cpio.StaticFile("root.img", string(root), 0o444))
	if err != nil {
		return nil, fmt.Errorf("pack /root.img: %w", err)
	}
	// A plain archive must begin on four bytes; the kernel skips zeros.
	pad := make([]byte, (4-(len(packed)+len(firmware))%4)%4)
	return &Result{
		Data:     bytes.Join([][]byte{packed, firmware, pad, second}, nil),
		InitSize: int64(len(packed)), FirmwareSize: int64(len(firmware)), RootSize: int64(len(root)),
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

// Presets of xz. Firmware for the cards of one family is much alike: one dictionary
// for all of it makes it half as large as file by file.
const (
	initPreset     = "--lzma2=preset=9e,dict=16MiB"
	firmwarePreset = "--lzma2=preset=6,dict=64MiB"
)

// compress packs data the way the kernel's xz decoder wants it: CRC32 checks,
// and a dictionary that costs the decoder no more memory than the data.
func compress(ctx context.Context, data []byte, preset string, filters ...string) ([]byte, error) {
	args := []string{"--format=xz", "--check=crc32", "--threads=1", "--stdout"}
	for _, f := range filters {
		if f != "" {
			args = append(args, f)
		}
	}
	args = append(args, preset)
	cmd := exec.CommandContext(ctx, "xz", args...)
	cmd.Stdin = bytes.NewReader(data)
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("xz (package xz-utils): %w: %s", err, bytes.TrimSpace(msg.Bytes()))
	}
	return out.Bytes(), nil
}
