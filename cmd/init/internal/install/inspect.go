// Package install decides what a system that runs from memory installs itself on:
// what a disk holds, which disk is meant, whether it may be taken. It does its I/O
// through interfaces; writing is package disklayout's.
package install

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/digital-mycelium/os/pkg/disklayout"
	"github.com/digital-mycelium/os/pkg/gpt"
)

// Kind is what a disk holds, as far as an installation is concerned.
type Kind int

// Kinds.
const (
	// Foreign: something that may be of value to somebody.
	Foreign Kind = iota
	// Blank: nothing at its beginning and its end.
	Blank
	// Unfinished: an installation that was interrupted. Nothing was ever stored here.
	Unfinished
	// Ours: an installation of this system.
	Ours
)

// Content is what was found on a disk.
type Content struct {
	Kind Kind
	// Table is the partition table, nil without one.
	Table *gpt.Table
	// Text says for people what is there.
	Text string
}

const (
	mib          = 1 << 20
	damagedTable = "a damaged GUID partition table"
)

// Inspect looks at a disk of size bytes and changes nothing.
func Inspect(r io.ReaderAt, size int64) (Content, error) {
	if size < 4*mib {
		return Content{Kind: Foreign, Text: "less than 4 MiB"}, nil
	}
	head, tail := make([]byte, mib), make([]byte, mib)
	for _, part := range []struct {
		b  []byte
		at int64
	}{{head, 0}, {tail, size - mib}} {
		if n, err := r.ReadAt(part.b, part.at); n < len(part.b) {
			return Content{}, fmt.Errorf("read the disk at byte %d: %w", part.at, err)
		}
	}
	if disklayout.Unfinished(bytes.NewReader(head)) {
		return Content{Kind: Unfinished, Text: "an installation that was interrupted"}, nil
	}
	if t, err := gpt.Read(r, size); err == nil {
		return ofTable(t), nil
	}
	if text := signature(head, tail); text != "" {
		return Content{Kind: Foreign, Text: text}, nil
	}
	if text := mbr(head); text != "" {
		return Content{Kind: Foreign, Text: text}, nil
	}
	if !isZero(head) || !isZero(tail) {
		return Content{Kind: Foreign, Text: "data of a kind that is not known here"}, nil
	}
	return Content{Kind: Blank, Text: "nothing"}, nil
}

func isZero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// ofTable describes a disk with a GUID partition table.
func ofTable(t *gpt.Table) Content {
	c := Content{Kind: Foreign, Table: t}
	if _, ours := t.Find(gpt.State, ""); ours {
		c.Kind, c.Text = Ours, "an installation of Digital Mycelium OS"
		return c
	}
	names := make([]string, len(t.Partitions))
	for i, p := range t.Partitions {
		names[i] = fmt.Sprintf("%s (%s)", partitionName(p), Size(t.Bytes(p)))
	}
	c.Text = "a GUID partition table without partitions"
	if len(names) > 0 {
		c.Text = "the partitions " + strings.Join(names, ", ")
	}
	return c
}

// partitionName is the label of a partition, or what its type is called.
func partitionName(p gpt.Partition) string {
	if name := printable(p.Name); name != "" {
		return name
	}
	for name, typ := range map[string]string{
		"EFI":                "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
		"Windows":            "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7",
		"Linux":              "0fc63daf-8483-4772-8e79-3d69d8477de4",
		"Linux swap":         "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f",
		"Microsoft reserved": "e3c9e316-0b5c-4db8-817d-f92df00215ae",
		"APFS":               "7c3457ef-0000-11aa-aa11-00306543ecac",
	} {
		if p.Type.String() == typ {
			return name
		}
	}
	return fmt.Sprintf("number %d", p.Number)
}

// printable keeps a foreign text from steering a terminal.
func printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s))
}

// signature names what begins, or ends, a disk as a whole; "" for nothing known.
func signature(head, tail []byte) string {
	for _, s := range []struct {
		name  string
		at    int // from the end when negative
		magic string
	}{
		{damagedTable, 512, "EFI PART"},
		{damagedTable, 4096, "EFI PART"},
		{damagedTable, -512, "EFI PART"},
		{damagedTable, -4096, "EFI PART"},
		{"an ext2, ext3 or ext4 file system", 1024 + 0x38, "\x53\xef"},
		{"a LUKS encrypted volume", 0, "LUKS\xba\xbe"},
		{"an XFS file system", 0, "XFSB"},
		{"a Btrfs file system", 64<<10 + 0x40, "_BHRfS_M"},
		{"an LVM volume", 512 + 24, "LVM2 001"},
		{"a part of a RAID", 4096, "\xfc\x4e\x2b\xa9"},
		{"a part of a RAID", 0, "\xfc\x4e\x2b\xa9"},
		{"a part of a RAID", -64 << 10, "\xfc\x4e\x2b\xa9"},
		{"a Windows (NTFS) file system", 3, "NTFS    "},
		{"a BitLocker volume", 3, "-FVE-FS-"},
		{"an exFAT file system", 3, "EXFAT   "},
		{"a FAT file system", 0x52, "FAT32   "},
		{"a FAT file system", 0x36, "FAT16   "},
		{"a FAT file system", 0x36, "FAT12   "},
		{"an ISO 9660 image", 32769, "CD001"},
		{"a squashfs image", 0, "hsqs"},
		{"Linux swap", 4096 - 10, "SWAPSPACE2"},
		{"a ZFS pool", 128 << 10, "\x0c\xb1\xba\x00"},
		{"an F2FS file system", 1024, "\x10\x20\xf5\xf2"},
		{"an APFS container", 32, "NXSB"},
		{"a Ceph volume", 0, "bluestore block device"},
	} {
		b, at := head, s.at
		if at < 0 {
			b, at = tail, len(tail)+at
		}
		if bytes.HasPrefix(b[at:], []byte(s.magic)) {
			return s.name
		}
	}
	return ""
}

// mbr describes a partition table of the old kind; "" for none.
func mbr(head []byte) string {
	if head[510] != 0x55 || head[511] != 0xaa {
		return ""
	}
	var parts []string
	for e := head[446:510]; len(e) >= 16; e = e[16:] {
		if sectors := binary.LittleEndian.Uint32(e[12:]); e[4] != 0 && sectors > 0 {
			parts = append(parts, fmt.Sprintf("type %02x (%s)", e[4], Size(int64(sectors)*512)))
		}
	}
	if len(parts) == 0 {
		return "a boot sector"
	}
	return "an MBR with the partitions " + strings.Join(parts, ", ")
}

// Size is a number of bytes for people.
func Size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
