package delta

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/pkg/durable"
)

// Errors that a caller may want to tell from others.
var (
	// ErrBusy says that another fetch has the directory.
	ErrBusy = errors.New("another fetch is under way")
	// ErrDiskFull says that the file does not fit.
	ErrDiskFull = errors.New("the disk is full")
	// ErrIndex says that an index's chunks are not its file's: it is wrong as a whole.
	ErrIndex = errors.New("the index is wrong")
)

// partName is the form of the names that Fetch gives, and takes away again.
var partName = regexp.MustCompile(`^[0-9a-f]{64}\.part$`)

// disk is what a part file asks of the system; tests put faults here.
type disk struct {
	allocate func(f *os.File, size int64) error
	writeAt  func(f *os.File, b []byte, offset int64) (int, error)
}

func realDisk() disk {
	return disk{allocate: allocate, writeAt: (*os.File).WriteAt}
}

// part is the file that is put together. It has the directory locked.
type part struct {
	disk  disk
	index *Index
	path  string
	dir   *os.File // locked
	file  *os.File
	have  []bool // of the index's chunks
	held  int64  // bytes of them
	// known says that all of the file was looked at: what held does not count is worth
	// nothing.
	known bool
	// first is the first chunk with a content, next the one after it with the same
	// content, or -1.
	first map[[sha256.Size]byte]int32
	next  []int32
}

// openPart opens the part file in dir, or creates it, and clears away those of
// other files.
func openPart(path string, index *Index, d disk) (_ *part, err error) {
	name := index.Digest() + ".part"
	if err := durable.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	p := &part{disk: d, index: index, path: filepath.Join(path, name), dir: dir, have: make([]bool, len(index.chunks))}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if err := lock(dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Name() != name && partName.MatchString(e.Name()) {
			if err := os.Remove(filepath.Join(path, e.Name())); err != nil {
				return nil, fmt.Errorf("remove what is left of another file: %w", err)
			}
		}
	}
	if p.file, err = os.OpenFile(p.path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600); err != nil {
		return nil, err
	}
	if err := durable.SyncDir(path); err != nil {
		return nil, err
	}
	p.link()
	return p, nil
}

// lock refuses a directory in which another fetch works, of this process or of
// another one.
func lock(dir *os.File) error {
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("%w in %s: wait for its end, or close the file that it returned", ErrBusy, dir.Name())
		}
		return os.NewSyscallError("flock", err)
	}
}

// link finds the chunks that have the same content.
func (p *part) link() {
	p.first = make(map[[sha256.Size]byte]int32, len(p.index.chunks))
	p.next = make([]int32, len(p.index.chunks))
	for i := len(p.index.chunks) - 1; i >= 0; i-- {
		sum := p.index.chunks[i].sum
		p.next[i] = -1
		if n, ok := p.first[sum]; ok {
			p.next[i] = n
		}
		p.first[sum] = int32(i)
	}
}

// reserve takes the room for the whole file, or none of what it does not need yet.
func (p *part) reserve() error {
	err := p.full(p.disk.allocate(p.file, p.index.size))
	if err == nil {
		return nil
	}
	end := int64(0)
	for i, c := range p.index.chunks {
		if p.have[i] {
			end = c.end()
		}
	}
	return errors.Join(err, p.file.Truncate(end))
}

// full makes an error for want of room one that says how much there is too little.
func (p *part) full(err error) error {
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	missing := p.index.size
	var st unix.Stat_t
	if unix.Fstat(int(p.file.Fd()), &st) == nil {
		missing -= st.Blocks * 512
	}
	missing -= free(p.file)
	return fmt.Errorf("%w: %s lacks %d of the %d bytes of the new file: make room there: %w",
		ErrDiskFull, filepath.Dir(p.path), max(missing, 1), p.index.size, err)
}

// left is the number of bytes that are missing.
func (p *part) left() int64 { return p.index.size - p.held }

// resume keeps what is right of what an earlier try has left.
func (p *part) resume(ctx context.Context) error {
	clear(p.have)
	p.held, p.known = 0, false
	buf := make([]byte, maxChunk)
	for i, c := range p.index.chunks {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		b := buf[:c.length]
		n, err := p.file.ReadAt(b, c.offset)
		if errors.Is(err, io.EOF) && n < len(b) {
			break // the file ends here
		}
		// What the disk does not give back is missing: it is written anew.
		if err == nil || n == len(b) {
			p.mark(i, sha256.Sum256(b) == c.sum)
		}
	}
	p.known = true
	return nil
}

func (p *part) mark(i int, right bool) {
	if right && !p.have[i] {
		p.have[i] = true
		p.held += int64(p.index.chunks[i].length)
	}
}

// put writes a content to every place where it is missing, and returns the number
// of bytes that this has filled.
func (p *part) put(data []byte, sum [sha256.Size]byte) (int64, error) {
	before := p.held
	i, ok := p.first[sum]
	for ; ok && i >= 0; i = p.next[i] {
		c := p.index.chunks[i]
		if p.have[i] || c.length != len(data) {
			continue
		}
		if _, err := p.disk.writeAt(p.file, data, c.offset); err != nil {
			return p.held - before, fmt.Errorf("write the part file: %w", p.full(err))
		}
		p.mark(int(i), true)
	}
	return p.held - before, nil
}

// finish makes the file durable and compares it as a whole.
func (p *part) finish(ctx context.Context) error {
	if err := p.file.Truncate(p.index.size); err != nil { // it may have been longer
		return err
	}
	if err := p.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", p.path, p.full(err))
	}
	hash := sha256.New()
	r := io.NewSectionReader(p.file, 0, p.index.size)
	if _, err := io.CopyBuffer(hash, &contextReader{ctx, r}, make([]byte, maxChunk)); err != nil {
		return fmt.Errorf("read %s back: %w", p.path, err)
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	if sum == p.index.Digest() {
		return nil
	}
	if err := p.resume(ctx); err != nil {
		return err
	}
	if p.left() > 0 {
		return fmt.Errorf("%s gives back %d bytes otherwise than they were written: the disk may be failing: try again", p.path, p.left())
	}
	p.held = 0 // nothing of it is worth keeping
	return fmt.Errorf("%w: all chunks are right and the whole has the SHA-256 %s, want %s: get the index again", ErrIndex, sum, p.index.Digest())
}

// close gives the directory free. A part that holds nothing is removed.
func (p *part) close() {
	if p.file != nil {
		p.file.Close()
		if p.known && p.held == 0 {
			_ = os.Remove(p.path) // the next fetch would take it up
		}
	}
	p.dir.Close()
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}

// File is a file that Fetch has put together: whole, verified, durable. While it
// is open no other fetch can begin in its directory.
type File struct {
	*io.SectionReader
	part *part
}

// Path is where the file is.
func (f *File) Path() string { return f.part.path }

// Close leaves the file where it is; a Fetch with the same index finds it there.
func (f *File) Close() error {
	return errors.Join(f.part.file.Close(), f.part.dir.Close())
}

// Remove closes the file and removes it.
func (f *File) Remove() error {
	err := os.Remove(f.part.path)
	return errors.Join(err, f.Close())
}
