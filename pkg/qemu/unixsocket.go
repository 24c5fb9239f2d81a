package qemu

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// dialUnix connects to the Unix socket at path. The path may be longer than a
// socket address holds (108 bytes): the connection goes by way of a handle on
// the directory.
func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var d net.Dialer
	short := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	conn, err := d.DialContext(ctx, "unix", short)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	return conn, nil
}
