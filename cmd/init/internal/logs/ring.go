// Package logs keeps the last output of each service in memory and, once there
// is a disk, in files of limited size. A writer never waits for a disk or for a
// reader.
package logs

import (
	"bytes"
	"sync"
)

// Ring keeps the last lines that were written to it, up to a number of bytes.
// Its methods are safe for concurrent use.
type Ring struct {
	mu      sync.Mutex
	limit   int
	lines   [][]byte // whole lines, each with its line end
	size    int      // bytes in lines
	total   int64    // lines ever written
	partial []byte   // of a line that has not ended
	changed chan struct{}
	sinks   []func(line []byte)
}

// maxLine is where a line without an end is cut, in bytes.
const maxLine = 16 << 10

// NewRing returns a ring for limit bytes.
func NewRing(limit int) *Ring {
	return &Ring{limit: limit, changed: make(chan struct{})}
}

// Write takes whole and partial lines. It never fails.
func (r *Ring) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			r.partial = append(r.partial, p...)
			if len(r.partial) >= maxLine {
				r.add(append(r.partial, '\n'))
				r.partial = nil
			}
			break
		}
		line := append(r.partial, p[:i+1]...)
		r.partial, p = nil, p[i+1:]
		r.add(bytes.Clone(line))
	}
	return n, nil
}

func (r *Ring) add(line []byte) {
	r.lines = append(r.lines, line)
	r.size += len(line)
	r.total++
	drop := 0
	for r.size > r.limit && drop < len(r.lines)-1 {
		r.size -= len(r.lines[drop])
		drop++
	}
	r.lines = append(r.lines[:0], r.lines[drop:]...)
	for _, sink := range r.sinks {
		sink(line)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// Tail returns the last n lines, all that the ring holds when n < 0, the
// position behind them for Since, and a channel that is closed at the next line.
func (r *Ring) Tail(n int) (lines []byte, position int64, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := 0
	if n >= 0 {
		from = max(0, len(r.lines)-n)
	}
	return bytes.Join(r.lines[from:], nil), r.total, r.changed
}

// Since returns the lines behind a position, as far as the ring still holds
// them, the position behind these, and a channel as Tail does.
func (r *Ring) Since(position int64) (lines []byte, next int64, changed <-chan struct{}) {
	r.mu.Lock()
	new := int(min(r.total-position, int64(len(r.lines))))
	r.mu.Unlock()
	return r.Tail(max(new, 0))
}

// sink calls f with every line that the ring holds and with each that follows.
// f must neither block nor keep nor change the line.
func (r *Ring) sink(f func(line []byte)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range r.lines {
		f(line)
	}
	r.sinks = append(r.sinks, f)
}
