//go:build !linux

package netboot

import (
	"context"
	"errors"
)

// Serve answers on the interface until ctx ends. Only Linux can bind a socket to
// an interface for good: elsewhere it refuses.
func Serve(context.Context, string, *Config) error {
	return errors.New("network boot is served from Linux alone: elsewhere a socket cannot be bound to one interface, and strangers would be answered")
}
