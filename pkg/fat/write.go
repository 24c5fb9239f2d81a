package fat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
	"unicode/utf16"
)

const (
	entrySize = 32

	attrVolume = 0x08
	attrDir    = 0x10
	attrFile   = 0x20
	attrLong   = 0x0f

	media       = 0xf8
	endOfChain  = 0x0fffffff
	fsInfoAt    = 1 // sector
	backupAt    = 6 // sector
	signatureAt = 510
)

// Write stores the file system at offset 0 of w, which must read as zeros, or
// have been cleared: what is empty is not written, so a sparse file stays sparse.
// The boot sector comes last: before, there is no file system. When w has a Sync
// method, it is called before the tables and directories are written, and again before
// the boot sector, so that after a power cut there is a file system only with all of
// its files.
func (f *FS) Write(w io.WriterAt) error {
	if _, err := f.layOut(); err != nil {
		return err
	}
	err := f.each(func(n *node, at int64) error {
		if n.dir {
			return nil
		}
		return writeFile(io.NewOffsetWriter(w, at), n)
	})
	if err != nil {
		return err
	}
	if err := syncTo(w); err != nil {
		return fmt.Errorf("sync the files' contents: %w", err)
	}
	return f.WriteMetadata(w)
}

// syncTo calls w's Sync method, if it has one.
func syncTo(w io.WriterAt) error {
	if s, ok := w.(interface{ Sync() error }); ok {
		return s.Sync()
	}
	return nil
}

// WriteMetadata is Write without the files' contents.
func (f *FS) WriteMetadata(w io.WriterAt) error {
	next, err := f.layOut()
	if err != nil {
		return err
	}
	err = f.each(func(n *node, at int64) error {
		if !n.dir {
			return nil
		}
		_, err := w.WriteAt(f.directory(n), at)
		return err
	})
	if err != nil {
		return err
	}
	if err := f.writeFATs(w, next); err != nil {
		return fmt.Errorf("write the file allocation table: %w", err)
	}
	if err := syncTo(w); err != nil {
		return fmt.Errorf("sync the tables and directories: %w", err)
	}
	if err := f.writeBoot(w, next); err != nil {
		return fmt.Errorf("write the boot sector: %w", err)
	}
	return nil
}

// Clear writes zeros wherever Write relies on them: the tables and the directories.
// What stood at offset 0 of w is no file system any more, from the first write on.
func (f *FS) Clear(w io.WriterAt) error {
	if _, err := f.layOut(); err != nil {
		return err
	}
	if err := zero(w, 0, int64(f.geo.dataStart())*sectorSize); err != nil {
		return fmt.Errorf("clear the file allocation table: %w", err)
	}
	return f.each(func(n *node, at int64) error {
		if !n.dir || n.clusters == 0 {
			return nil
		}
		return zero(w, at, int64(n.clusters)*f.geo.clusterBytes())
	})
}

// zero writes n zeros from offset at.
func zero(w io.WriterAt, at, n int64) error {
	zeros := make([]byte, min(n, 64<<10))
	for n > 0 {
		part := zeros[:min(n, int64(len(zeros)))]
		if _, err := w.WriteAt(part, at); err != nil {
			return err
		}
		at, n = at+int64(len(part)), n-int64(len(part))
	}
	return nil
}

// layOut gives everything its clusters and returns the first free one.
func (f *FS) layOut() (next uint32, err error) {
	if next, err = f.allocate(f.root, firstCluster); err != nil {
		return 0, fmt.Errorf("lay out the FAT file system: %w", err)
	}
	return next, nil
}

// Extent returns where the content of a file is, in bytes from the beginning of
// the file system, when nothing is added any more. It is contiguous.
func (f *FS) Extent(name string) (offset, size int64, err error) {
	if _, err := f.layOut(); err != nil {
		return 0, 0, err
	}
	at := f.root
	for part := range strings.SplitSeq(strings.Trim(path.Clean("/"+name), "/"), "/") {
		if at = at.child(part); at == nil {
			break
		}
	}
	if at == nil || at.dir || at.clusters == 0 {
		return 0, 0, fmt.Errorf("%s is no file with a content", name)
	}
	return int64(f.geo.sector(at.first)) * sectorSize, at.size, nil
}

// writeBoot writes the boot sector and, on FAT32, FSInfo and the copies of both.
func (f *FS) writeBoot(w io.WriterAt, next uint32) error {
	boot := f.bootSector()
	if !f.geo.fat32 {
		_, err := w.WriteAt(boot, 0)
		return err
	}
	info := make([]byte, sectorSize)
	le := binary.LittleEndian
	le.PutUint32(info[0:], 0x41615252)
	le.PutUint32(info[484:], 0x61417272)
	le.PutUint32(info[488:], f.geo.clusters+firstCluster-next) // free clusters
	le.PutUint32(info[492:], next-1)                           // the last one in use
	le.PutUint16(info[signatureAt:], 0xaa55)
	third := make([]byte, sectorSize)
	le.PutUint16(third[signatureAt:], 0xaa55)
	for _, at := range []int64{backupAt, 0} {
		if _, err := w.WriteAt(bytes.Join([][]byte{boot, info, third}, nil), at*sectorSize); err != nil {
			return err
		}
	}
	return nil
}

func (f *FS) bootSector() []byte {
	g, le := f.geo, binary.LittleEndian
	b := make([]byte, sectorSize)
	copy(b, []byte{0xeb, 0x58, 0x90})
	copy(b[3:], "MYCELIUM")
	le.PutUint16(b[11:], sectorSize)
	b[13] = byte(g.sectorsPerCluster)
	le.PutUint16(b[14:], uint16(g.reserved))
	b[16] = 2
	le.PutUint16(b[17:], uint16(g.rootEntries))
	if !g.fat32 && g.sectors < 1<<16 {
		le.PutUint16(b[19:], uint16(g.sectors))
	} else {
		le.PutUint32(b[32:], g.sectors)
	}
	b[21] = media
	le.PutUint16(b[24:], 63)
	le.PutUint16(b[26:], 255)
	le.PutUint32(b[28:], uint32(f.cfg.Start/sectorSize))
	ext := b[36:]
	name := "FAT16   "
	if g.fat32 {
		le.PutUint32(b[36:], g.fatSectors)
		le.PutUint32(b[44:], firstCluster) // the root directory
		le.PutUint16(b[48:], fsInfoAt)
		le.PutUint16(b[50:], backupAt)
		ext, name = b[64:], "FAT32   "
	} else {
		b[1] = 0x3c
		le.PutUint16(b[22:], uint16(g.fatSectors))
	}
	ext[0], ext[2] = 0x80, 0x29
	le.PutUint32(ext[3:], f.cfg.ID)
	copy(ext[7:], f.label())
	copy(ext[18:], name)
	// Not bootable: halt, should a BIOS jump here (cli; hlt; jmp -2).
	copy(ext[26:], []byte{0xfa, 0xf4, 0xeb, 0xfd})
	le.PutUint16(b[signatureAt:], 0xaa55)
	return b
}

func (f *FS) label() string {
	if f.cfg.Label == "" {
		return "NO NAME    "
	}
	return fmt.Sprintf("%-11s", f.cfg.Label)
}

// writeFATs writes both tables up to the last cluster in use.
func (f *FS) writeFATs(w io.WriterAt, next uint32) error {
	chain := make([]uint32, next)
	chain[0], chain[1] = 0x0fffff00|media, endOfChain
	f.root.walk(func(n *node) {
		for i := range n.clusters {
			c := n.first + i
			chain[c] = c + 1
			if i == n.clusters-1 {
				chain[c] = endOfChain
			}
		}
	})
	var table []byte
	for _, c := range chain {
		if f.geo.fat32 {
			table = binary.LittleEndian.AppendUint32(table, c)
		} else {
			table = binary.LittleEndian.AppendUint16(table, uint16(c))
		}
	}
	for i := range uint32(2) {
		if _, err := w.WriteAt(table, int64(f.geo.reserved+i*f.geo.fatSectors)*sectorSize); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, c := range n.children {
		c.walk(visit)
	}
}

// each calls write with every file and directory and where its content begins.
func (f *FS) each(write func(n *node, at int64) error) error {
	var err error
	f.root.walk(func(n *node) {
		if err != nil {
			return
		}
		at := int64(f.geo.sector(max(n.first, firstCluster))) * sectorSize
		if n == f.root && !f.geo.fat32 {
			at = int64(f.geo.dataStart()-f.geo.rootSectors()) * sectorSize
		}
		if e := write(n, at); e != nil {
			err = fmt.Errorf("write %s: %w", n.name, e)
		}
	})
	return err
}

func writeFile(w io.Writer, n *node) error {
	r, err := n.open()
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.Copy(w, io.LimitReader(r, n.size))
	if err != nil {
		return err
	}
	var more [1]byte
	if extra, _ := r.Read(more[:]); got != n.size || extra > 0 {
		return fmt.Errorf("content is not the %d bytes that were announced", n.size)
	}
	return nil
}

// directory returns the entries of n.
func (f *FS) directory(n *node) []byte {
	var b bytes.Buffer
	switch {
	case n != f.root:
		f.entry(&b, pack(".", ""), attrDir, n.first, 0)
		up := n.parent.first
		if n.parent == f.root {
			up = 0 // also on FAT32, where the root has a cluster
		}
		f.entry(&b, pack("..", ""), attrDir, up, 0)
	case f.cfg.Label != "":
		f.entry(&b, [11]byte([]byte(f.label())), attrVolume, 0, 0)
	}
	for _, c := range n.children {
		writeLong(&b, c)
		attr := byte(attrFile)
		if c.dir {
			attr = attrDir
		}
		f.entry(&b, c.short, attr, c.first, uint32(c.size))
	}
	return b.Bytes()
}

// entry appends a short directory entry.
func (f *FS) entry(b *bytes.Buffer, name [11]byte, attr byte, first, size uint32) {
	e := make([]byte, entrySize)
	date, clock := dosTime(f.cfg.Time)
	le := binary.LittleEndian
	copy(e, name[:])
	e[11] = attr
	le.PutUint16(e[14:], clock)
	le.PutUint16(e[16:], date)
	le.PutUint16(e[18:], date)
	le.PutUint16(e[20:], uint16(first>>16))
	le.PutUint16(e[22:], clock)
	le.PutUint16(e[24:], date)
	le.PutUint16(e[26:], uint16(first))
	le.PutUint32(e[28:], size)
	b.Write(e)
}

// writeLong appends the long-name entries of n, last part first.
func writeLong(b *bytes.Buffer, n *node) {
	count := longEntries(n)
	units := utf16.Encode([]rune(n.name))
	if len(units)%longUnits != 0 {
		units = append(units, 0)
	}
	for len(units) < count*longUnits {
		units = append(units, 0xffff)
	}
	for i := count; i > 0; i-- {
		e := make([]byte, entrySize)
		e[0] = byte(i)
		if i == count {
			e[0] |= 0x40
		}
		e[11], e[13] = attrLong, checksum(n.short)
		for j, u := range units[(i-1)*longUnits : i*longUnits] {
			at := 1 + 2*j
			if j >= 5 {
				at = 14 + 2*(j-5)
			}
			if j >= 11 {
				at = 28 + 2*(j-11)
			}
			binary.LittleEndian.PutUint16(e[at:], u)
		}
		b.Write(e)
	}
}

// dosTime converts t, taken as UTC, to FAT's date and time of two-second steps.
func dosTime(t time.Time) (date, clock uint16) {
	t = t.UTC()
	if t.Year() < 1980 {
		t = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	year := min(t.Year(), 2107) - 1980
	return uint16(year<<9 | int(t.Month())<<5 | t.Day()), uint16(t.Hour()<<11 | t.Minute()<<5 | t.Second()/2)
}
