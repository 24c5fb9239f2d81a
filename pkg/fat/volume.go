package fat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf16"
)

// Volume is a file system that exists: its root directory's files can be read and
// replaced in place. Everything else on it stays where it is. It is not safe for
// concurrent use.
type Volume struct {
	rw  ReadWriterAt
	geo geometry
	// fats is how many copies of the allocation table there are.
	fats uint32
	// rootCluster is where FAT32's root directory begins, infoSector where its FSInfo is.
	rootCluster, infoSector uint32
	table                   []byte
}

// ReadWriterAt is what a Volume lies on.
type ReadWriterAt interface {
	io.ReaderAt
	io.WriterAt
}

// maxTable is the largest allocation table that Open reads, in bytes: of a file
// system of 32 GiB with clusters of 4 KiB.
const maxTable = 32 << 20

// Open reads the description and the allocation table of the FAT16 or FAT32 file
// system at offset 0 of rw, which has size bytes.
func Open(rw ReadWriterAt, size int64) (*Volume, error) {
	v, err := open(rw, size)
	if err != nil {
		return nil, fmt.Errorf("read the FAT file system: %w", err)
	}
	return v, nil
}

func open(rw ReadWriterAt, size int64) (*Volume, error) {
	b := make([]byte, sectorSize)
	if err := readFull(rw, b, 0); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if le.Uint16(b[signatureAt:]) != 0xaa55 {
		return nil, errors.New("no boot sector")
	}
	if n := le.Uint16(b[11:]); n != sectorSize {
		return nil, fmt.Errorf("sectors of %d bytes: only %d are known", n, sectorSize)
	}
	v := &Volume{rw: rw, fats: uint32(b[16])}
	g := &v.geo
	g.sectorsPerCluster, g.reserved, g.rootEntries = uint32(b[13]), uint32(le.Uint16(b[14:])), int(le.Uint16(b[17:]))
	if g.sectors = uint32(le.Uint16(b[19:])); g.sectors == 0 {
		g.sectors = le.Uint32(b[32:])
	}
	if g.fatSectors = uint32(le.Uint16(b[22:])); g.fatSectors == 0 {
		g.fat32 = true
		g.fatSectors, v.rootCluster, v.infoSector = le.Uint32(b[36:]), le.Uint32(b[44:]), uint32(le.Uint16(b[48:]))
	}
	if err := v.validate(size); err != nil {
		return nil, err
	}
	v.table = make([]byte, int64(g.fatSectors)*sectorSize)
	return v, readFull(rw, v.table, int64(g.reserved)*sectorSize)
}

// validate checks what the boot sector says and counts the clusters.
func (v *Volume) validate(size int64) error {
	g := &v.geo
	start := uint64(g.reserved) + uint64(v.fats)*uint64(g.fatSectors) + uint64(g.rootSectors())
	switch {
	case int64(g.sectors)*sectorSize > size:
		return fmt.Errorf("it says %d sectors, there are %d", g.sectors, size/sectorSize)
	case g.sectorsPerCluster == 0 || g.sectorsPerCluster&(g.sectorsPerCluster-1) != 0:
		return fmt.Errorf("clusters of %d sectors", g.sectorsPerCluster)
	case g.reserved == 0 || v.fats == 0 || v.fats > 2 || g.fatSectors == 0 || start >= uint64(g.sectors):
		return errors.New("no room for files")
	case int64(g.fatSectors)*sectorSize > maxTable:
		return fmt.Errorf("an allocation table of %d sectors", g.fatSectors)
	}
	g.clusters = (g.sectors - uint32(start)) / g.sectorsPerCluster
	width := uint64(2)
	if g.fat32 {
		width = 4
	}
	switch {
	case g.clusters < minFAT16:
		return errors.New("it is FAT12, which is not known here")
	case (uint64(g.clusters)+firstCluster)*width > uint64(g.fatSectors)*sectorSize:
		return errors.New("its allocation table is too small")
	case g.fat32 && (v.rootCluster < firstCluster || v.rootCluster >= g.clusters+firstCluster || v.infoSector >= g.reserved):
		return errors.New("its root directory or FSInfo is out of place")
	}
	return nil
}

// Used returns how many bytes from the beginning on hold anything: the tables, and
// the clusters up to the last one in use.
func (v *Volume) Used() int64 {
	last := v.geo.clusters + firstCluster - 1
	for last >= firstCluster && v.next(last) == 0 {
		last--
	}
	return v.offset(last + 1)
}

// offset returns where cluster n begins, in bytes.
func (v *Volume) offset(n uint32) int64 {
	start := int64(v.geo.reserved) + int64(v.fats)*int64(v.geo.fatSectors) + int64(v.geo.rootSectors())
	return (start + int64(n-firstCluster)*int64(v.geo.sectorsPerCluster)) * sectorSize
}

// next returns the table's entry of cluster n: 0 when it is free.
func (v *Volume) next(n uint32) uint32 {
	if v.geo.fat32 {
		return binary.LittleEndian.Uint32(v.table[4*n:]) & endOfChain
	}
	e := uint32(binary.LittleEndian.Uint16(v.table[2*n:]))
	if e >= 0xfff7 {
		e |= 0x0fff0000
	}
	return e
}

// link sets the table's entry of cluster n.
func (v *Volume) link(n, to uint32) {
	if v.geo.fat32 {
		old := binary.LittleEndian.Uint32(v.table[4*n:])
		binary.LittleEndian.PutUint32(v.table[4*n:], old&^endOfChain|to)
		return
	}
	binary.LittleEndian.PutUint16(v.table[2*n:], uint16(to))
}

// chain returns the clusters from first on; 0 is an empty file's.
func (v *Volume) chain(first uint32) ([]uint32, error) {
	var list []uint32
	if first == 0 {
		return nil, nil
	}
	for at := first; at < 0x0ffffff8; at = v.next(at) {
		if at < firstCluster || at >= v.geo.clusters+firstCluster || uint32(len(list)) >= v.geo.clusters {
			return nil, fmt.Errorf("the chain of clusters from %d on is damaged", first)
		}
		list = append(list, at)
	}
	return list, nil
}

// rootExtents returns where the root directory is, in runs of bytes.
func (v *Volume) rootExtents() (offsets []int64, length int64, err error) {
	if !v.geo.fat32 {
		at := (int64(v.geo.reserved) + int64(v.fats)*int64(v.geo.fatSectors)) * sectorSize
		return []int64{at}, int64(v.geo.rootSectors()) * sectorSize, nil
	}
	clusters, err := v.chain(v.rootCluster)
	if err != nil {
		return nil, 0, fmt.Errorf("root directory: %w", err)
	}
	for _, c := range clusters {
		offsets = append(offsets, v.offset(c))
	}
	return offsets, v.geo.clusterBytes(), nil
}

// entry is a file's place in the root directory.
type entry struct {
	raw [entrySize]byte
	at  int64
}

func (e *entry) first() uint32 {
	le := binary.LittleEndian
	return uint32(le.Uint16(e.raw[20:]))<<16 | uint32(le.Uint16(e.raw[26:]))
}

func (e *entry) size() int64 { return int64(binary.LittleEndian.Uint32(e.raw[28:])) }

// find looks a file of the root directory up; case does not matter.
func (v *Volume) find(name string) (*entry, error) {
	offsets, length, err := v.rootExtents()
	if err != nil {
		return nil, err
	}
	var long longName
	block := make([]byte, length)
	for _, at := range offsets {
		if err := readFull(v.rw, block, at); err != nil {
			return nil, fmt.Errorf("root directory: %w", err)
		}
		for i := 0; i+entrySize <= len(block); i += entrySize {
			e := entry{raw: [entrySize]byte(block[i:]), at: at + int64(i)}
			switch attr := e.raw[11]; {
			case e.raw[0] == 0:
				return nil, fs.ErrNotExist
			case e.raw[0] == 0xe5:
				long.reset()
			case attr == attrLong:
				long.add(e.raw)
			case attr&(attrVolume|attrDir) != 0:
				long.reset()
			case strings.EqualFold(long.take(e.raw), name):
				return &e, nil
			}
		}
	}
	return nil, fs.ErrNotExist
}

// longName collects the entries of a long name, which come last part first.
type longName struct {
	units []uint16
	sum   byte
	want  byte // the number of the next part
}

func (l *longName) reset() { *l = longName{} }

func (l *longName) add(raw [entrySize]byte) {
	number := raw[0] &^ 0x40
	if raw[0]&0x40 != 0 {
		*l = longName{sum: raw[13], want: number}
	}
	if number == 0 || number > 20 || number != l.want || raw[13] != l.sum {
		l.reset()
		return
	}
	l.want--
	var part []uint16
	for _, span := range [][2]int{{1, 11}, {14, 26}, {28, 32}} {
		for i := span[0]; i < span[1]; i += 2 {
			part = append(part, binary.LittleEndian.Uint16(raw[i:]))
		}
	}
	l.units = append(part, l.units...)
}

// take returns the name of the file whose short entry follows, and forgets it.
func (l *longName) take(raw [entrySize]byte) string {
	defer l.reset()
	if len(l.units) > 0 && l.want == 0 && l.sum == checksum([11]byte(raw[:11])) {
		n := 0
		for n < len(l.units) && l.units[n] != 0 {
			n++
		}
		return string(utf16.Decode(l.units[:n]))
	}
	name := strings.TrimRight(string(raw[:8]), " ")
	if ext := strings.TrimRight(string(raw[8:11]), " "); ext != "" {
		name += "." + ext
	}
	return name
}

// ReadFile returns the content of a file of the root directory, fs.ErrNotExist when
// there is none. More than limit bytes are an error.
func (v *Volume) ReadFile(name string, limit int64) ([]byte, error) {
	e, err := v.find(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if e.size() > limit {
		return nil, fmt.Errorf("read %s: it has %d bytes, more than %d", name, e.size(), limit)
	}
	clusters, err := v.chain(e.first())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	content := make([]byte, e.size())
	rest := content
	for _, c := range clusters {
		part := rest[:min(int64(len(rest)), v.geo.clusterBytes())]
		if err := readFull(v.rw, part, v.offset(c)); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		rest = rest[len(part):]
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("read %s: it ends %d bytes early", name, len(rest))
	}
	return content, nil
}

// ReplaceFile gives a file of the root directory, which must exist
// (fs.ErrNotExist), another content. Its name and times stay, and so does the place of all other files.
// When it fails for lack of space nothing has changed.
func (v *Volume) ReplaceFile(name string, content []byte) error {
	if err := v.replace(name, content); err != nil {
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return nil
}

func (v *Volume) replace(name string, content []byte) error {
	if int64(len(content)) > 1<<32-1 {
		return errors.New("a FAT file holds at most 4 GiB less one byte")
	}
	e, err := v.find(name)
	if err != nil {
		return err
	}
	old, err := v.chain(e.first())
	if err != nil {
		return err
	}
	per := v.geo.clusterBytes()
	clusters, err := v.allocate(old, int((int64(len(content))+per-1)/per))
	if err != nil {
		return err
	}
	for i, c := range clusters {
		part := make([]byte, per) // the rest of the last one is cleared
		copy(part, content[int64(i)*per:])
		if _, err := v.rw.WriteAt(part, v.offset(c)); err != nil {
			return err
		}
	}
	for i := range v.fats {
		if _, err := v.rw.WriteAt(v.table, int64(v.geo.reserved+i*v.geo.fatSectors)*sectorSize); err != nil {
			return err
		}
	}
	first := uint32(0)
	if len(clusters) > 0 {
		first = clusters[0]
	}
	le := binary.LittleEndian
	le.PutUint16(e.raw[20:], uint16(first>>16))
	le.PutUint16(e.raw[26:], uint16(first))
	le.PutUint32(e.raw[28:], uint32(len(content)))
	if _, err := v.rw.WriteAt(e.raw[:], e.at); err != nil {
		return err
	}
	return v.countFree(len(old) - len(clusters))
}

// allocate turns the chain old into one of n clusters, in the table in memory.
func (v *Volume) allocate(old []uint32, n int) ([]uint32, error) {
	list := old[:min(n, len(old)):min(n, len(old))]
	for c := uint32(firstCluster); len(list) < n && c < v.geo.clusters+firstCluster; c++ {
		if v.next(c) == 0 {
			list = append(list, c)
		}
	}
	if len(list) < n {
		return nil, fmt.Errorf("no room for %d more clusters", n-len(list))
	}
	for _, c := range old[min(n, len(old)):] {
		v.link(c, 0)
	}
	for i, c := range list {
		to := uint32(endOfChain)
		if i+1 < n {
			to = list[i+1]
		}
		v.link(c, to)
	}
	return list, nil
}

// countFree changes the number of free clusters that FSInfo and its copy note, where they do.
func (v *Volume) countFree(more int) error {
	if !v.geo.fat32 {
		return nil
	}
	info := make([]byte, sectorSize)
	le := binary.LittleEndian
	for _, sector := range []uint32{v.infoSector, backupAt + v.infoSector} {
		if sector >= v.geo.reserved {
			continue
		}
		if err := readFull(v.rw, info, int64(sector)*sectorSize); err != nil {
			return err
		}
		free := le.Uint32(info[488:])
		if le.Uint32(info) != 0x41615252 || le.Uint32(info[484:]) != 0x61417272 || free > v.geo.clusters {
			continue
		}
		le.PutUint32(info[488:], uint32(int64(free)+int64(more)))
		if _, err := v.rw.WriteAt(info, int64(sector)*sectorSize); err != nil {
			return err
		}
	}
	return nil
}

// readFull fills b from offset; a full read at the end is no error.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
