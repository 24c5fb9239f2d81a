package uefi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
)

// What follows reads a disk as a firmware and systemd-boot do, without the code of
// the packages that have written it.

// simPartition is a partition as a firmware sees it.
type simPartition struct {
	number         int
	kind, id       string // as they stand on the disk, 16 bytes
	begin, sectors int64
}

// xbootldr is the type bc13c2ff-59e6-4262-a352-b275fd6f7172 as it stands on a disk.
var xbootldr = "\xff\xc2\x13\xbc\xe6\x59\x62\x42\xa3\x52\xb2\x75\xfd\x6f\x71\x72"

// partitions reads the first copy of the table, or the second when that is damaged.
func partitions(d *simDisk) ([]simPartition, error) {
	p, err := tableAt(d, 1)
	if err != nil {
		var second error
		if p, second = tableAt(d, d.size/sector-1); second != nil {
			return nil, errors.Join(err, second)
		}
	}
	return p, nil
}

func tableAt(d *simDisk, lba int64) ([]simPartition, error) {
	h, le := bytes.Clone(d.sector(lba)), binary.LittleEndian
	sum, entriesSum := le.Uint32(h[16:]), le.Uint32(h[88:])
	copy(h[16:20], make([]byte, 4))
	if string(h[:8]) != "EFI PART" || crc32.ChecksumIEEE(h[:92]) != sum || int64(le.Uint64(h[24:])) != lba {
		return nil, fmt.Errorf("no table at sector %d", lba)
	}
	entries := make([]byte, 128*128)
	if _, err := d.ReadAt(entries, int64(le.Uint64(h[72:]))*sector); err != nil {
		return nil, err
	}
	if crc32.ChecksumIEEE(entries) != entriesSum {
		return nil, fmt.Errorf("the entries of the table at sector %d are damaged", lba)
	}
	var list []simPartition
	for i := range 128 {
		e := entries[i*128:][:128]
		if begin := int64(le.Uint64(e[32:])); begin != 0 {
			list = append(list, simPartition{i + 1, string(e[:16]), string(e[16:32]), begin, int64(le.Uint64(e[40:])) + 1 - begin})
		}
	}
	return list, nil
}

// bootOption returns the partition and the path that a load option starts.
func bootOption(option []byte, list []simPartition) (p simPartition, path string, err error) {
	le := binary.LittleEndian
	if len(option) < 8 || le.Uint32(option)&1 == 0 {
		return p, "", errors.New("no active load option")
	}
	nodes := option[6:]
	for len(nodes) >= 2 && le.Uint16(nodes) != 0 {
		nodes = nodes[2:]
	}
	nodes = nodes[min(2, len(nodes)):]
	for len(nodes) >= 4 && nodes[0] != 0x7f {
		n := int(le.Uint16(nodes[2:]))
		if n < 4 || n > len(nodes) {
			return p, "", errors.New("a node of the device path is cut short")
		}
		switch body := nodes[4:n]; {
		case nodes[0] == 4 && nodes[1] == 1 && n == 42:
			i := slices.IndexFunc(list, func(p simPartition) bool {
				return p.id == string(body[20:36]) && p.number == int(le.Uint32(body)) && p.begin == int64(le.Uint64(body[4:])) && p.sectors == int64(le.Uint64(body[12:]))
			})
			if i < 0 {
				return p, "", errors.New("there is no such partition")
			}
			p = list[i]
		case nodes[0] == 4 && nodes[1] == 4:
			for ; len(body) >= 2 && le.Uint16(body) != 0; body = body[2:] {
				path += string(utf16.Decode([]uint16{le.Uint16(body)}))
			}
		}
		nodes = nodes[n:]
	}
	if p.sectors == 0 || path == "" {
		return p, "", errors.New("the device path names no file on a partition")
	}
	return p, strings.Trim(strings.ReplaceAll(path, `\`, "/"), "/"), nil
}

// simFAT reads a FAT16 or FAT32 file system.
type simFAT struct {
	r                 io.ReaderAt
	cluster           int64 // bytes
	data, root, table int64 // bytes
	rootBytes         int64
	rootCluster       uint32
	clusters          uint32
	wide              bool
}

func openFAT(r io.ReaderAt) (*simFAT, error) {
	b, le := make([]byte, sector), binary.LittleEndian
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, err
	}
	if b[510] != 0x55 || b[511] != 0xaa || le.Uint16(b[11:]) != sector || b[13] == 0 || b[16] == 0 {
		return nil, errors.New("no FAT boot sector")
	}
	total, fat := int64(le.Uint16(b[19:])), int64(le.Uint16(b[22:]))
	if total == 0 {
		total = int64(le.Uint32(b[32:]))
	}
	if fat == 0 {
		fat = int64(le.Uint32(b[36:]))
	}
	f := &simFAT{r: r, cluster: int64(b[13]) * sector, table: int64(le.Uint16(b[14:])) * sector, rootBytes: int64(le.Uint16(b[17:])) * 32}
	f.root = f.table + int64(b[16])*fat*sector
	f.data = f.root + f.rootBytes
	f.clusters = uint32((total*sector - f.data) / f.cluster)
	if f.wide = f.clusters >= 65525; f.wide {
		f.rootCluster = le.Uint32(b[44:])
	}
	return f, nil
}

// chain reads the clusters from n on; size is -1 for a directory.
func (f *simFAT) chain(n uint32, size int64) ([]byte, error) {
	all := make([]byte, 0, max(size, 0)+f.cluster)
	for seen := uint32(0); n < 0xfff8 && !f.wide || n < 0x0ffffff8 && f.wide; seen++ {
		if n < 2 || n >= f.clusters+2 || seen > f.clusters {
			return nil, fmt.Errorf("a broken chain of clusters at %d", n)
		}
		at := len(all)
		all = append(all, make([]byte, f.cluster)...)
		if _, err := f.r.ReadAt(all[at:], f.data+int64(n-2)*f.cluster); err != nil {
			return nil, err
		}
		var e [4]byte
		if f.wide {
			_, _ = f.r.ReadAt(e[:], f.table+int64(n)*4)
		} else {
			_, _ = f.r.ReadAt(e[:2], f.table+int64(n)*2)
		}
		n = binary.LittleEndian.Uint32(e[:]) & 0x0fffffff
	}
	if size < 0 {
		return all, nil
	}
	if have := int64(len(all)); have < size || have >= size+f.cluster {
		return nil, fmt.Errorf("%d bytes of clusters for a file of %d", have, size)
	}
	return all[:size], nil
}

// file reads a file by its path, whose parts are short names.
func (f *simFAT) file(path string) ([]byte, error) {
	var dir []byte
	var err error
	if f.wide {
		dir, err = f.chain(f.rootCluster, -1)
	} else {
		dir = make([]byte, f.rootBytes)
		_, err = f.r.ReadAt(dir, f.root)
	}
	parts := strings.Split(strings.ToUpper(path), "/")
	for i, part := range parts {
		if err != nil {
			return nil, err
		}
		base, ext, _ := strings.Cut(part, ".")
		name, last := fmt.Sprintf("%-8s%-3s", base, ext), i == len(parts)-1
		found := false
		for ; len(dir) >= 32 && dir[0] != 0; dir = dir[32:] {
			if string(dir[:11]) != name || dir[11]&0x08 != 0 || (dir[11]&0x10 == 0) != last {
				continue
			}
			size := int64(-1)
			if last {
				size = int64(binary.LittleEndian.Uint32(dir[28:]))
			}
			begin := uint32(binary.LittleEndian.Uint16(dir[20:]))<<16 | uint32(binary.LittleEndian.Uint16(dir[26:]))
			dir, err = f.chain(begin, size)
			found = true
			break
		}
		if !found {
			return nil, fmt.Errorf("there is no %s", part)
		}
	}
	return dir, err
}
