package node

import (
	"context"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// Garbage collection trades processor time for memory. While Kubernetes
// starts, the processor is what is short; afterwards memory is, which belongs
// to the pods.
const (
	roomyMemory   = 1536 << 20 // bytes; a smaller machine starts with Go's default
	startPercent  = 200
	defPercent    = 100
	steadyPercent = 40
	// settle is how long after the API server is ready starting is over.
	settle = 30 * time.Second
)

// startGCPercent is the collector's percentage while a machine with so many
// bytes of memory starts Kubernetes.
func startGCPercent(total uint64) int {
	if total < roomyMemory {
		return defPercent
	}
	return startPercent
}

// tuneMemory makes the garbage collector lazy until some time after ready is
// closed and thrifty from then on. A GOGC in the environment rules instead.
func tuneMemory(ctx context.Context, ready <-chan struct{}) {
	if os.Getenv("GOGC") != "" {
		return
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		debug.SetGCPercent(startGCPercent(uint64(info.Totalram) * uint64(info.Unit)))
	}
	select {
	case <-ready:
	case <-ctx.Done():
		return
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return
	}
	debug.SetGCPercent(steadyPercent)
	debug.FreeOSMemory()
}
