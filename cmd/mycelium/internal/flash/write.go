package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/pkg/bmap"
)

// Device is what an image is written to.
type Device interface {
	io.ReaderAt
	io.WriterAt
	// Sync returns when everything written is on the medium, and makes the next
	// reads come from there, as far as the system lets it.
	Sync() error
}

// Disk is a device with what Write needs to know of it.
type Disk struct {
	Device
	// Name is what messages call it.
	Name string
	// Size is in bytes; Blank says that it reads as zeros, as a new file does.
	Size  int64
	Blank bool
}

// Phase is what Write is about.
type Phase string

// The phases, in their order.
const (
	Writing   Phase = "writing"
	Verifying Phase = "verifying"
)

// Options say how an image is written.
type Options struct {
	// Edit makes the configuration out of the image's; nil leaves it as it is.
	Edit func(image []byte) ([]byte, error)
	// Renew gives the disk and its partitions new identifiers.
	Renew bool
	// SkipVerify leaves out reading everything back.
	SkipVerify bool
	// Progress is told now and then how many bytes of how many are done; from one
	// goroutine at a time.
	Progress func(phase Phase, done, total int64)
}

// ErrUnusable says that the disk had been written to when something failed.
var ErrUnusable = errors.New("the disk is not usable now")

// ErrVerify says that a disk does not give back what was written to it.
var ErrVerify = errors.New("the disk does not hold what was written to it")

// Check says whether the image fits a disk of size bytes.
func (i *Image) Check(name string, size int64) error {
	if size < i.Size {
		return fmt.Errorf("%s is too small: it has %d MiB, the image needs %d", name, size/mib, (i.Size+mib-1)/mib)
	}
	return nil
}

// Write writes the image to the disk and reads it back. Its first MiB, with the
// partition table, is cleared first and written last: until all of the rest is on
// the disk there is no system to boot on it, and the table's copy at the end is
// cleared too. Once anything was written to a disk that
// is not blank, an error is ErrUnusable, too.
func Write(ctx context.Context, i *Image, to Disk, o Options) error {
	if err := i.Check(to.Name, to.Size); err != nil {
		return err
	}
	p, err := newPlan(i, to.Size, to.Blank, o)
	if err != nil {
		return err
	}
	if o.Progress == nil {
		o.Progress = func(Phase, int64, int64) {}
	}
	w := &writer{image: i, disk: to, plan: p, options: o}
	if err := w.run(ctx); err != nil {
		err = explain(to.Name, err)
		if !to.Blank && w.begun {
			for _, e := range w.tables() { // as far as it still can be written to
				_ = to.zero(e)
			}
			_ = to.Sync()
			err = fmt.Errorf("%w (%w: flash it again)", err, ErrUnusable)
		}
		return err
	}
	return nil
}

// explain says in plain words what some errors of disks mean.
func explain(name string, err error) error {
	for _, e := range []struct {
		errno unix.Errno
		text  string
	}{
		{unix.ENOSPC, "there is no room left"},
		{unix.EIO, "the disk cannot be written or read: was it pulled out, or is it broken?"},
		{unix.ENODEV, "the disk is gone: was it pulled out?"},
		{unix.ENXIO, "the disk is gone: was it pulled out?"},
		{unix.EROFS, "it is write-protected"},
	} {
		if errors.Is(err, e.errno) {
			return fmt.Errorf("%s: %s: %w", name, e.text, err)
		}
	}
	return fmt.Errorf("%s: %w", name, err)
}

// writer writes one image once.
type writer struct {
	image   *Image
	disk    Disk
	plan    *plan
	options Options
	// head collects the first bytes, which are written last.
	head    []byte
	headEnd int64
	begun   bool
}

func (w *writer) run(ctx context.Context) error {
	w.head = alignedBuffer(int(min(headSize, w.image.Size)))
	wipes := w.plan.wipes
	if !w.disk.Blank {
		wipes = append(w.tables(), wipes...)
	}
	for _, e := range wipes {
		w.begun = true
		if err := w.disk.zero(e); err != nil {
			return fmt.Errorf("wipe what it held: %w", err)
		}
	}
	w.begun = true
	if err := w.copy(ctx); err != nil {
		return err
	}
	if err := w.disk.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	if w.headEnd > 0 {
		if _, err := w.disk.WriteAt(w.head[:w.headEnd], 0); err != nil {
			return fmt.Errorf("write the partition table: %w", err)
		}
	}
	if err := w.disk.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	if w.options.SkipVerify {
		return nil
	}
	return w.verify(ctx)
}

// tables returns where the image has its partition table and the copy of it.
func (w *writer) tables() []bmap.Extent {
	n := int64(len(w.head))
	return bmap.Align([]bmap.Extent{{Length: n}, {Offset: w.image.Size - n, Length: n}}, 1)
}

// zero writes zeros.
func (d Disk) zero(e bmap.Extent) error {
	zeros := alignedBuffer(int(min(e.Length, mib)))
	for at := e.Offset; at < e.End(); {
		n, err := d.WriteAt(zeros[:min(int64(len(zeros)), e.End()-at)], at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

const (
	// pieceSize is how much is read and written at once, in bytes.
	pieceSize = 4 * mib
	// inFlight is how many pieces are under way.
	inFlight = 6
	// pageSize is what direct I/O is aligned to.
	pageSize = 4096
)

// piece is a part of a segment on its way from the image to the disk.
type piece struct {
	segment *segment
	offset  int64
	buffer  []byte
	// source is what the image has, data what is written; both may be the same.
	source, data []byte
	last         bool
	// users is how many goroutines still need it; the last gives the buffer back.
	users atomic.Int32
	free  chan<- []byte
}

// release says that one goroutine is done with the piece.
func (p *piece) release() {
	if p.users.Add(-1) == 0 {
		p.free <- p.buffer // there is room for all buffers
	}
}

// copy streams the image to the disk: one goroutine reads and decompresses, one
// computes checksums, one writes.
func (w *writer) copy(ctx context.Context) error {
	free := make(chan []byte, inFlight)
	for range inFlight {
		free <- alignedBuffer(pieceSize)
	}
	toHash, toWrite := make(chan *piece, inFlight), make(chan *piece, inFlight)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(toHash)
		defer close(toWrite)
		return w.readPieces(ctx, free, func(p *piece) error {
			for _, c := range []chan *piece{toHash, toWrite} {
				select {
				case c <- p:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	g.Go(func() error {
		sums := &sums{sha256.New(), sha256.New()}
		for p := range toHash {
			if err := sums.add(p); err != nil {
				return w.image.damaged(err)
			}
			p.release()
		}
		return nil
	})
	g.Go(func() error {
		done, total := int64(0), w.plan.bytes()
		for p := range toWrite {
			if err := w.writePiece(p); err != nil {
				return err
			}
			done += int64(len(p.data))
			w.options.Progress(Writing, done, total)
			p.release()
		}
		return nil
	})
	return g.Wait()
}

// readPieces reads all segments in pieces, each in a free buffer, which is free again
// when the piece is no longer pending.
func (w *writer) readPieces(ctx context.Context, free chan []byte, emit func(*piece) error) error {
	s, err := w.image.stream()
	if err != nil {
		return err
	}
	defer s.close()
	for i := range w.plan.segments {
		seg := &w.plan.segments[i]
		for at := seg.Offset; at < seg.End(); {
			var buffer []byte
			select {
			case buffer = <-free:
			case <-ctx.Done():
				return ctx.Err()
			}
			n := min(pieceEnd(at), seg.End()) - at
			if err := s.readAt(buffer[:n], at); err != nil {
				return err
			}
			p := &piece{segment: seg, offset: at, buffer: buffer, source: buffer[:n], last: at+n == seg.End(), free: free}
			p.data = w.plan.apply(p.source, at)
			p.users.Store(2)
			if err := emit(p); err != nil {
				return err
			}
			at += n
		}
	}
	return s.end(w.image.Size)
}

// pieceEnd returns where the piece that begins at offset ends at the latest.
func pieceEnd(offset int64) int64 {
	if offset < headSize {
		return headSize
	}
	return (offset/pieceSize + 1) * pieceSize
}

// sums are the checksums of a segment while its pieces pass.
type sums struct{ source, data hash.Hash }

// add takes a piece, and compares when it is its segment's last.
func (s *sums) add(p *piece) error {
	s.source.Write(p.source)
	if p.segment.patched {
		s.data.Write(p.data)
	}
	if !p.last {
		return nil
	}
	s.source.Sum(p.segment.sum[:0])
	s.source.Reset()
	if want := p.segment.want; want != nil && p.segment.sum != *want {
		return fmt.Errorf("bytes %d to %d: %w", p.segment.Offset, p.segment.End()-1, bmap.ErrChecksum)
	}
	if p.segment.patched {
		s.data.Sum(p.segment.sum[:0])
		s.data.Reset()
	}
	return nil
}

// writePiece writes a piece, or keeps it for the end. On a blank disk zeros are left out.
func (w *writer) writePiece(p *piece) error {
	if p.offset < headSize {
		copy(w.head[p.offset:], p.data)
		w.headEnd = p.offset + int64(len(p.data))
		return nil
	}
	for at := 0; at < len(p.data); {
		end, zero := len(p.data), false
		if w.disk.Blank {
			end, zero = run(p.data, at)
		}
		if !zero {
			if _, err := w.disk.WriteAt(p.data[at:end], p.offset+int64(at)); err != nil {
				return fmt.Errorf("write at byte %d: %w", p.offset+int64(at), err)
			}
		}
		at = end
	}
	return nil
}

// run returns where the run of blocks that begins at b[at] ends, all of them
// zeros or none.
func run(b []byte, at int) (end int, zero bool) {
	const block = 64 << 10
	for end = at; end < len(b); end = min(end+block, len(b)) {
		z := isZero(b[end:min(end+block, len(b))])
		if end == at {
			zero = z
		}
		if z != zero {
			break
		}
	}
	return end, zero
}

// isZero reports whether b, which is not empty, holds zeros alone: then each byte is
// like the one before.
func isZero(b []byte) bool { return b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1]) }

// verify reads everything back from the disk.
func (w *writer) verify(ctx context.Context) error {
	done, total := int64(0), w.plan.bytes()
	buffers := [2][]byte{alignedBuffer(pieceSize), alignedBuffer(pieceSize)}
	h, hashed := sha256.New(), make(chan struct{}, 1)
	hashed <- struct{}{}
	turn := 0
	for i := range w.plan.segments {
		s := &w.plan.segments[i]
		for at := s.Offset; at < s.End(); {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := min(pieceEnd(at), s.End()) - at
			b := buffers[turn%2][:n]
			turn++
			if m, err := w.disk.ReadAt(b, at); m < len(b) {
				return fmt.Errorf("read back at byte %d: %w", at, err)
			}
			<-hashed // of the piece before
			go func() {
				h.Write(b)
				hashed <- struct{}{}
			}()
			at += n
			done += n
			w.options.Progress(Verifying, done, total)
		}
		<-hashed
		if [sha256.Size]byte(h.Sum(nil)) != s.sum {
			return fmt.Errorf("%w: bytes %d to %d differ: it may be broken, or smaller than it says", ErrVerify, s.Offset, s.End()-1)
		}
		h.Reset()
		hashed <- struct{}{}
	}
	return nil
}

// alignedBuffer returns n bytes as direct I/O wants them.
func alignedBuffer(n int) []byte {
	b := make([]byte, n+pageSize)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) & (pageSize - 1))
	return b[skip : skip+n : skip+n]
}
