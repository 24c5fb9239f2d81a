package uefi

import (
	"bytes"
	"maps"
	"math/rand/v2"
)

// sector is what a disk writes whole or not at all, in bytes.
const sector = 512

// simDisk is a disk with a write cache. What Sync has not made durable is lost when
// the power goes, or survives: all of it, none, or any part, sector by sector. Only
// sectors that were written take memory.
type simDisk struct {
	size    int64
	durable map[int64][]byte // by number; a sector's bytes are never changed in place
	cache   []cached         // in the order of writing
	pending map[int64][]byte // the newest of cache by number
	// step is called before a sector reaches the cache, and before and after a Sync.
	step func(kind stepKind)
	// table is where the partition tables end at the front and begin at the back.
	table [2]int64
}

// cached is a sector in the cache.
type cached struct {
	number int64
	data   []byte
}

func newSimDisk(size int64) *simDisk {
	return &simDisk{
		size: size, durable: map[int64][]byte{}, pending: map[int64][]byte{}, step: func(stepKind) {},
		table: [2]int64{34, size/sector - 33},
	}
}

// leftBy returns the disk as it is after a power cut of which each sector in the
// cache survives that survives says of.
func (d *simDisk) leftBy(survives func(i int) bool) *simDisk {
	n := newSimDisk(d.size)
	n.durable = maps.Clone(d.durable)
	for i, c := range d.cache {
		if survives(i) {
			n.durable[c.number] = c.data
		}
	}
	return n
}

// lose is leftBy in place.
func (d *simDisk) lose(survives func(i int) bool) {
	d.durable = d.leftBy(survives).durable
	d.cache, d.pending = nil, map[int64][]byte{}
}

func (d *simDisk) sector(n int64) []byte {
	if b, ok := d.pending[n]; ok {
		return b
	}
	if b, ok := d.durable[n]; ok {
		return b
	}
	return zeroSector[:]
}

var zeroSector [sector]byte

func (d *simDisk) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		at := off + int64(n)
		n += copy(p[n:], d.sector(at / sector)[at%sector:])
	}
	return len(p), nil
}

// WriteAt writes sector by sector. A sector that stays as it is makes no difference
// to any power cut and is no step.
func (d *simDisk) WriteAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		at := off + int64(n)
		number, from := at/sector, at%sector
		old := d.sector(number)
		part := p[n:min(len(p), n+sector-int(from))]
		n += len(part)
		if bytes.Equal(part, old[from:][:len(part)]) {
			continue
		}
		data := bytes.Clone(old)
		copy(data[from:], part)
		kind := writeStep
		if number < d.table[0] || number >= d.table[1] {
			kind = tableStep
		}
		d.step(kind)
		d.cache = append(d.cache, cached{number, data})
		d.pending[number] = data
	}
	return len(p), nil
}

func (d *simDisk) Sync() error {
	d.step(syncStep)
	for _, c := range d.cache {
		d.durable[c.number] = c.data
	}
	d.cache, d.pending = nil, map[int64][]byte{}
	d.step(syncStep)
	return nil
}

// What survives of a cache.
func nothing(int) bool    { return false }
func everything(int) bool { return true }

// some survive at random, few or many.
func some(random *rand.Rand) func(int) bool {
	share := []float64{0.05, 0.5, 0.95}[random.IntN(3)]
	return func(int) bool { return random.Float64() < share }
}

// first n survive: the disk writes in order.
func first(n int) func(int) bool { return func(i int) bool { return i < n } }

// allBut the one that is number n survive.
func allBut(n int) func(int) bool { return func(i int) bool { return i != n } }
