package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/digital-mycelium/os/cmd/init/internal/logs"
)

const (
	// reserveDir holds files that only take space. When DATA is full they are
	// given up one by one, so that Kubernetes' database can be written and the
	// kubelet can evict what fills the disk. They are made again when there is
	// space.
	reserveDir = "/var/lib/mycelium/reserve"
	// reserveParts is how many files there are. The second half is given up by
	// boots alone: whatever goes on filling the disk takes what is given up while
	// it runs, and the next boot must still have something.
	reserveParts    = 6
	reserveForBoots = 4
	reserveTotal    = 384 << 20 // bytes, at most an eighth of DATA
	lowSpace        = 64 << 20  // bytes: DATA counts as full
	reservePatience = time.Minute
	reserveMinPart  = 4 << 20
	// A boot gives up at most reservePerBoot parts, until reserveEnough bytes are free.
	reservePerBoot   = 2
	reserveEnough    = 32 << 20
	reserveLowFactor = 8 // a part is given up when less than this part of lowSpace is free
)

// reserve keeps DATA usable when it is full. Its methods are called by the
// boot and by the main loop, never at once.
type reserve struct {
	m *machine
	// dir is on the file system to watch; part is a file's size in bytes.
	dir  string
	part uint64
	// lowSince is when the disk was first seen full, zero when it is not.
	lowSince time.Time
}

// newReserve returns the reserve of /var; it does nothing when that is memory.
func newReserve(m *machine) *reserve {
	r := &reserve{m: m, dir: reserveDir}
	total, _ := freeBytes("/var")
	if part := min(reserveTotal, total/8) / reserveParts; !isTmpfs("/var") && part >= reserveMinPart {
		r.part = part
	}
	return r
}

// atBoot makes space before anything needs it. The main loop makes the reserve.
func (r *reserve) atBoot() {
	if r.part == 0 {
		return
	}
	if _, free := freeBytes("/var"); free < lowSpace {
		r.m.log.Warn("DATA is full", "free", free)
		r.freeLogs()
		for i := 0; i < reservePerBoot && free < reserveEnough; i++ {
			r.giveUp(0)
			_, free = freeBytes("/var")
		}
	}
}

// check compares the free space with the limits and acts.
func (r *reserve) check() {
	if r.part == 0 {
		return
	}
	total, free := freeBytes("/var")
	held := r.held()
	switch {
	case free >= lowSpace:
		r.lowSince = time.Time{}
	case r.lowSince.IsZero():
		r.lowSince = time.Now()
		r.freeLogs()
	case free < lowSpace/reserveLowFactor && time.Since(r.lowSince) >= reservePatience:
		// The kubelet has had time to end what fills the disk: now it needs space.
		r.giveUp(reserveForBoots)
		r.lowSince = time.Now()
	}
	if len(held) < reserveParts && free > 2*r.part*reserveParts+lowSpace {
		if err := r.make(); err != nil {
			r.m.log.Warn("no reserve on DATA", "error", err)
		}
	}
	r.m.board.SetProblem("full", fullProblem(total, free))
}

// fullProblem says that a file system of total bytes has too few free ones.
func fullProblem(total, free uint64) string {
	if total == 0 || free >= lowSpace {
		return ""
	}
	return fmt.Sprintf("DATA is full: %d of %d MiB are free: delete images, volumes or workloads, or enlarge the disk", free>>20, total>>20)
}

// held returns the paths of the reserve's files.
func (r *reserve) held() []string {
	paths, _ := filepath.Glob(filepath.Join(r.dir, "[0-9]"))
	return paths
}

// giveUp deletes one file of the reserve, if more than keep are left.
func (r *reserve) giveUp(keep int) {
	held := r.held()
	if len(held) <= keep {
		return
	}
	err := os.Remove(held[len(held)-1])
	r.m.log.Warn("a part of the reserve is given up", "bytes", r.part, "left", len(held)-1, "error", err)
}

func (r *reserve) freeLogs() {
	n, err := logs.FreeOld("/var/log")
	r.m.log.Warn("old logs deleted", "bytes", n, "error", err)
}

// make allocates the files that are missing, without writing them.
func (r *reserve) make() error {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	for i := range reserveParts {
		path := filepath.Join(r.dir, strconv.Itoa(i))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(r.part)); err != nil {
			return errors.Join(err, f.Close(), os.Remove(path))
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
