package netboot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"strings"
)

// OpenTFTP returns the file that TFTP's read request for name from the address
// a is answered with, and its size in bytes. The caller must close it. Nothing but
// the loaders and, for Raspberry Pis, the files of Pi can be named.
func (c *Config) OpenTFTP(name string, a netip.Addr) (io.ReadCloser, int64, error) {
	clean, err := cleanTFTP(name)
	if err != nil {
		return nil, 0, err
	}
	content, err := c.loader(clean)
	if err == nil {
		return c.watch(a, clean, eventLoader, io.NopCloser(bytes.NewReader(content)), int64(len(content)))
	}
	if c.Pi != nil {
		if f, size, err := c.openPi(piFile(clean), a); !errors.Is(err, fs.ErrNotExist) {
			return f, size, err
		}
	}
	return nil, 0, fmt.Errorf("no file %q", printable(name))
}

// maxName bounds a file's name in bytes.
const maxName = 128

// cleanTFTP makes of a name that firmware asks for one of fs.FS: some write
// "/name", some "\name", some add bytes behind a zero.
func cleanTFTP(name string) (string, error) {
	name, _, _ = strings.Cut(name, "\x00")
	if len(name) > maxName {
		return "", errors.New("the file's name is too long")
	}
	name = strings.TrimLeft(strings.ReplaceAll(name, "\\", "/"), "/")
	if !fs.ValidPath(name) || name == "." || printable(name) != name {
		return "", errors.New("no name of a file")
	}
	return name, nil
}

// watch lets a machine's progress be seen while f is read.
func (c *Config) watch(a netip.Addr, name string, e event, f io.ReadCloser, size int64) (io.ReadCloser, int64, error) {
	mac, known := c.machine(a)
	if !known {
		return f, size, nil
	}
	return &watched{ReadCloser: f, read: func(n int64) { c.Machines.fetches(mac, a, name, e, n, size) }}, size, nil
}

type watched struct {
	io.ReadCloser
	n    int64
	read func(n int64)
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	w.n += int64(n)
	w.read(w.n)
	return n, err
}
