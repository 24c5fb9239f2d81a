package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// choosePorts returns forwards with a free port of 127.0.0.1 for each that has
// none. The ports are not held: whoever binds them must be ready to choose again.
func choosePorts(ctx context.Context, forwards []Forward) ([]Forward, error) {
	var lc net.ListenConfig
	var held []net.Listener
	out := make([]Forward, len(forwards))
	var errs []error
	for i, f := range forwards {
		out[i] = f
		if f.Host != 0 {
			continue
		}
		l, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
		if err != nil {
			errs = append(errs, fmt.Errorf("find a free port for the guest's port %d: %w", f.Guest, err))
			break
		}
		held = append(held, l) // until all are chosen, so that none comes twice
		out[i].Host = l.Addr().(*net.TCPAddr).Port
	}
	for _, l := range held {
		errs = append(errs, l.Close())
	}
	return out, errors.Join(errs...)
}

// portFree reports whether nothing listens on port of 127.0.0.1.
func portFree(ctx context.Context, port int) bool {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
