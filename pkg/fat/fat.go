// Package fat writes FAT16 and FAT32 file systems: all files and directories
// are named first, then the whole file system is written once, the same bytes
// every time. It needs neither root nor a loop device and runs wherever Go does.
//
// The layout follows Microsoft's "FAT32 File System Specification" 1.03.
// Files are contiguous and lie in the order in which they were added.
package fat

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

const sectorSize = 512

// Config describes a file system.
type Config struct {
	// Size of the file system in bytes; a multiple of 512.
	Size int64
	// Label is the volume label: at most 11 of A-Z, 0-9, space, "-" and "_".
	Label string
	// ID is the volume's serial number.
	ID uint32
	// Time is given to every file and directory. FAT knows 1980 to 2107; an
	// earlier time becomes the beginning of 1980.
	Time time.Time
	// Start is where on its disk the file system begins, in bytes.
	Start int64
}

// FS is a file system that is being put together. It is not safe for
// concurrent use.
type FS struct {
	cfg  Config
	geo  geometry
	root *node
}

// node is a file or a directory.
type node struct {
	name     string // long name; "" for the root
	short    [11]byte
	dir      bool
	size     int64
	open     func() (io.ReadCloser, error)
	children []*node
	parent   *node
	first    uint32 // first cluster, 0 when there is none
	clusters uint32
}

// New checks cfg and returns an empty file system.
func New(cfg Config) (*FS, error) {
	geo, err := layout(cfg.Size)
	if err != nil {
		return nil, err
	}
	if len(cfg.Label) > 11 || strings.ContainsFunc(cfg.Label, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(" -_", r)
	}) {
		return nil, fmt.Errorf("volume label %q: want at most 11 of A-Z, 0-9, space, - and _", cfg.Label)
	}
	return &FS{cfg: cfg, geo: geo, root: &node{dir: true}}, nil
}

// AddDir adds a directory and those above it; name is slash-separated. It is
// no error when the directory exists.
func (f *FS) AddDir(name string) error {
	_, err := f.mkdir(name)
	return err
}

// AddBytes adds a file with the given content.
func (f *FS) AddBytes(name string, content []byte) error {
	return f.AddFile(name, int64(len(content)), func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(string(content))), nil
	})
}

// AddFile adds a file of size bytes and the directories above it. open is
// called by Write and must give exactly size bytes.
func (f *FS) AddFile(name string, size int64, open func() (io.ReadCloser, error)) error {
	if size < 0 || size > 1<<32-1 {
		return fmt.Errorf("add %s: a FAT file holds at most 4 GiB less one byte, not %d", name, size)
	}
	clean := path.Clean("/" + name)
	dir, err := f.mkdir(path.Dir(clean))
	if err != nil {
		return err
	}
	n := &node{name: path.Base(clean), size: size, open: open, parent: dir}
	return dir.add(n)
}

func (f *FS) mkdir(name string) (*node, error) {
	at := f.root
	for part := range strings.SplitSeq(strings.Trim(path.Clean("/"+name), "/"), "/") {
		if part == "" {
			continue
		}
		next := at.child(part)
		if next == nil {
			next = &node{name: part, dir: true, parent: at}
			if err := at.add(next); err != nil {
				return nil, err
			}
		}
		if !next.dir {
			return nil, fmt.Errorf("add directory %s: %s is a file", name, part)
		}
		at = next
	}
	return at, nil
}

// child returns the entry with the given name, which FAT compares without case.
func (n *node) child(name string) *node {
	for _, c := range n.children {
		if strings.EqualFold(c.name, name) {
			return c
		}
	}
	return nil
}

func (n *node) add(c *node) error {
	if err := checkName(c.name); err != nil {
		return err
	}
	if n.child(c.name) != nil {
		return fmt.Errorf("add %s: exists already", c.name)
	}
	taken := make(map[[11]byte]bool, len(n.children))
	for _, o := range n.children {
		taken[o.short] = true
	}
	short, err := shortName(c.name, taken)
	if err != nil {
		return err
	}
	c.short = short
	n.children = append(n.children, c)
	return nil
}

// allocate gives clusters to n and everything below it and returns the next free one.
func (f *FS) allocate(n *node, next uint32) (uint32, error) {
	size := n.size
	if n.dir {
		size = int64(f.entries(n)) * entrySize
		if size > 1<<21 {
			return 0, fmt.Errorf("directory %s: too many entries", n.name)
		}
	}
	if n != f.root || f.geo.fat32 {
		n.clusters = uint32((size + f.geo.clusterBytes() - 1) / f.geo.clusterBytes())
		if n.clusters > 0 {
			n.first = next
		}
	} else if int(size) > f.geo.rootEntries*entrySize {
		return 0, errors.New("too many entries in the root directory")
	}
	if uint64(next)+uint64(n.clusters) > uint64(f.geo.clusters)+firstCluster {
		return 0, fmt.Errorf("no room for %s in %d bytes", n.name, f.cfg.Size)
	}
	next += n.clusters
	for _, c := range n.children {
		var err error
		if next, err = f.allocate(c, next); err != nil {
			return 0, err
		}
	}
	return next, nil
}

// entries returns how many 32-byte entries the directory n needs.
func (f *FS) entries(n *node) int {
	total := 2 // "." and "..", or the label in the root
	for _, c := range n.children {
		total += 1 + longEntries(c)
	}
	return total
}
