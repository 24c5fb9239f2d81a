package flash

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/digital-mycelium/os/image/blockmap"
	"github.com/digital-mycelium/os/pkg/bmap"
	"github.com/digital-mycelium/os/pkg/ext4"
	"github.com/digital-mycelium/os/pkg/fat"
)

const (
	mib = 1 << 20
	// headSize is what is written last: with the partition table in it, a disk that was
	// left half-way has none.
	headSize = mib
	// ConfigFile is what the configuration is called on the image's first partition.
	ConfigFile = "mycelium.yaml"
	// maxConfig and maxFirst are the largest configuration and first partition that are read, in bytes.
	maxConfig, maxFirst = 1 << 20, 1 << 30
)

// segment is a run of bytes that is written and checked as one.
type segment struct {
	bmap.Extent
	// want is the checksum that the image must have here; nil when none is known.
	want *[sha256.Size]byte
	// patched says that not all that is written is the image's.
	patched bool
	// sum is that of what was written.
	sum [sha256.Size]byte
}

// patch takes the place of a part of the image.
type patch struct {
	offset int64
	data   []byte
	// changed is what differs from the image.
	changed []bmap.Extent
}

// plan is what is to be done to a disk.
type plan struct {
	segments []segment
	// patches do not overlap.
	patches []*patch
	// wipes are overwritten with zeros before anything else: old data that would
	// be taken for the node's.
	wipes []bmap.Extent
}

// bytes returns how much is read and written of the image.
func (p *plan) bytes() (n int64) {
	for i := range p.segments {
		n += p.segments[i].Length
	}
	return n
}

// newPlan lays out how the image comes onto a disk of size bytes.
func newPlan(i *Image, size int64, blank bool, o Options) (*plan, error) {
	head := make([]byte, min(headSize, i.Size))
	if err := i.read(head, 0); err != nil {
		return nil, err
	}
	partitions, err := blockmap.Partitions(bytes.NewReader(head), i.Size)
	if err != nil && (o.Edit != nil || !errors.Is(err, blockmap.ErrNoTable)) {
		return nil, fmt.Errorf("%s: %w", i.Path, err)
	}
	p := &plan{}
	if o.Edit != nil {
		edited, err := newPatch(i, partitions[0], o.Edit)
		if err != nil {
			return nil, fmt.Errorf("put the configuration on the image's first partition: %w", err)
		}
		p.patches = append(p.patches, edited)
	}
	if o.Renew {
		renewed, err := renew(head, i.Size)
		if err != nil {
			return nil, fmt.Errorf("give the disk new identifiers: %w", err)
		}
		p.patches = append(p.patches, renewed...)
	}
	if err := p.layOut(i, blank, partitions); err != nil {
		return nil, err
	}
	for i := range p.segments {
		p.segments[i].patched = len(within(p.changed(), p.segments[i].Extent)) > 0
	}
	if !blank && len(partitions) > 0 {
		last := partitions[0].Extent
		for _, q := range partitions {
			if q.End() > last.End() {
				last = q.Extent
			}
		}
		p.wipes = rest(last.End(), i.Size, size)
	}
	return p, nil
}

// read reads a part of the image on its own.
func (i *Image) read(b []byte, offset int64) error {
	s, err := i.stream()
	if err != nil {
		return err
	}
	defer s.close()
	return s.readAt(b, offset)
}

// layOut fills in the segments: what the map names with its checksums, and around it
// what was changed and where STATE is, whatever the map says.
func (p *plan) layOut(i *Image, blank bool, partitions []blockmap.Partition) error {
	const unknown = 64 * mib // as much is checked at once where the map has no checksum
	more := p.changed()
	if i.Map == nil {
		all := []bmap.Extent{{Offset: 0, Length: i.Size}}
		if blank && !i.packed {
			data, err := bmap.Data(i.file, i.Size)
			if err != nil {
				return err
			}
			all = within(bmap.Align(append(data, more...), bmap.BlockSize), all[0])
		}
		p.add(all, unknown)
		return nil
	}
	for _, q := range partitions {
		if q.State && !blank {
			more = append(more, q.Extent)
		}
	}
	more = bmap.Align(more, bmap.BlockSize)
	at := int64(0)
	for _, r := range i.Map.Ranges {
		e := i.Map.Extent(r)
		p.add(within(more, bmap.Extent{Offset: at, Length: e.Offset - at}), unknown)
		p.segments = append(p.segments, segment{Extent: e, want: &r.SHA256})
		at = e.End()
	}
	p.add(within(more, bmap.Extent{Offset: at, Length: i.Size - at}), unknown)
	return nil
}

// add appends extents as segments of at most limit bytes.
func (p *plan) add(extents []bmap.Extent, limit int64) {
	for _, e := range extents {
		for e.Length > 0 {
			n := min(e.Length, limit-e.Offset%limit)
			p.segments = append(p.segments, segment{Extent: bmap.Extent{Offset: e.Offset, Length: n}})
			e.Offset, e.Length = e.Offset+n, e.Length-n
		}
	}
}

// changed returns where what is written differs from the image.
func (p *plan) changed() []bmap.Extent {
	var all []bmap.Extent
	for _, c := range p.patches {
		all = append(all, c.changed...)
	}
	return all
}

// within returns what of the extents lies in bounds.
func within(extents []bmap.Extent, bounds bmap.Extent) []bmap.Extent {
	var out []bmap.Extent
	for _, e := range extents {
		begin, end := max(e.Offset, bounds.Offset), min(e.End(), bounds.End())
		if begin < end {
			out = append(out, bmap.Extent{Offset: begin, Length: end - begin})
		}
	}
	return out
}

// rest returns what is wiped behind the image on a disk of size bytes. The node makes
// its DATA behind the last partition, which ends at byte last: an old file system's
// beginning and the copies of an ext4 superblock there would be taken for its own.
// At the end of the disk an old table may have its copy.
func rest(last, image, size int64) []bmap.Extent {
	begin := (last + mib - 1) / mib * mib
	list := []bmap.Extent{{Offset: begin, Length: mib}, {Offset: size - min(size, mib), Length: mib}}
	for _, offset := range ext4.Copies(size - begin) {
		list = append(list, bmap.Extent{Offset: begin + offset, Length: ext4.SuperblockSize})
	}
	return within(bmap.Align(list, bmap.BlockSize), bmap.Extent{Offset: image, Length: size - image})
}

// newPatch edits the configuration on partition p of the image. Everything else on
// the partition stays as it is.
func newPatch(i *Image, p blockmap.Partition, edit func([]byte) ([]byte, error)) (*patch, error) {
	if p.Length > maxFirst {
		return nil, fmt.Errorf("it has %d MiB: only %d are read", p.Length/mib, maxFirst/mib)
	}
	old := make([]byte, p.Length)
	if err := i.read(old, p.Offset); err != nil {
		return nil, err
	}
	n := &patch{offset: p.Offset, data: bytes.Clone(old)}
	v, err := fat.Open(memory(n.data), p.Length)
	if err != nil {
		return nil, err
	}
	config, err := v.ReadFile(ConfigFile, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("is it an image of Digital Mycelium OS? %w", err)
	}
	if config, err = edit(config); err != nil {
		return nil, err
	}
	if err := v.ReplaceFile(ConfigFile, config); err != nil {
		return nil, err
	}
	for at := int64(0); at < p.Length; at += bmap.BlockSize {
		end := min(at+bmap.BlockSize, p.Length)
		if !bytes.Equal(old[at:end], n.data[at:end]) {
			n.changed = append(n.changed, bmap.Extent{Offset: p.Offset + at, Length: end - at})
		}
	}
	return n, nil
}

// apply returns what is to be written where the image has b at offset: b itself, or a
// copy with what the patches change.
func (p *plan) apply(b []byte, offset int64) []byte {
	out := b
	for _, c := range p.patches {
		for _, e := range within(c.changed, bmap.Extent{Offset: offset, Length: int64(len(b))}) {
			if &out[0] == &b[0] {
				out = alignedBuffer(len(b))
				copy(out, b)
			}
			copy(out[e.Offset-offset:e.End()-offset], c.data[e.Offset-c.offset:])
		}
	}
	return out
}

// memory is a file system in memory.
type memory []byte

func (m memory) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) > int64(len(m)) {
		return 0, errors.New("beyond the end")
	}
	return copy(b, m[off:]), nil
}

func (m memory) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) > int64(len(m)) {
		return 0, errors.New("beyond the end")
	}
	return copy(m[off:], b), nil
}
