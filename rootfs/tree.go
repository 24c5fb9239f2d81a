// Package rootfs assembles the immutable root file system and packs it. What
// stands in it is the sum of its components, the files below files/, and the
// table in layout.go; nothing of the build machine gets in.
package rootfs

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Tree is a file system tree that is being put together. All of it belongs to
// root and has the time 0.
type Tree struct {
	nodes map[string]*node
}

// node is a directory (neither link nor content), a symbolic link or a file.
type node struct {
	mode int64
	link string
	// source is the path of a file's content on the build machine; when empty,
	// data is the content.
	source string
	data   []byte
	file   bool
}

// NewTree returns a tree that holds nothing but the root directory.
func NewTree() *Tree { return &Tree{nodes: map[string]*node{}} }

// Dir adds an empty directory; one that exists is left as it is.
func (t *Tree) Dir(name string, mode fs.FileMode) error {
	if n, ok := t.nodes[clean(name)]; ok && n.mode == int64(mode) && !n.file && n.link == "" {
		return nil
	}
	return t.add(name, &node{mode: int64(mode)})
}

// Link adds a symbolic link at name that points to target.
func (t *Tree) Link(name, target string) error {
	return t.add(name, &node{link: target, mode: 0o777})
}

// Bytes adds a file with the given content.
func (t *Tree) Bytes(name string, mode fs.FileMode, data []byte) error {
	return t.add(name, &node{file: true, mode: int64(mode), data: data})
}

// File adds a file with the content of the file at source.
func (t *Tree) File(name string, mode fs.FileMode, source string) error {
	st, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("add %s: %w", name, err)
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("add %s: %s is no regular file", name, source)
	}
	return t.add(name, &node{file: true, mode: int64(mode), source: source})
}

func clean(name string) string { return strings.Trim(path.Clean("/"+name), "/") }

func (t *Tree) add(name string, n *node) error {
	if !path.IsAbs(name) {
		return fmt.Errorf("add %q: want an absolute path", name)
	}
	p := clean(name)
	if p == "" || t.nodes[p] != nil {
		return fmt.Errorf("add %s: exists already", name)
	}
	for up := path.Dir(p); up != "."; up = path.Dir(up) {
		above := t.nodes[up]
		if above == nil {
			t.nodes[up] = &node{mode: 0o755}
		} else if above.file || above.link != "" {
			return fmt.Errorf("add %s: /%s is no directory", name, up)
		}
	}
	t.nodes[p] = n
	return nil
}

// Paths returns the absolute paths of everything in the tree, sorted.
func (t *Tree) Paths() []string {
	paths := make([]string, 0, len(t.nodes))
	for p := range t.nodes {
		paths = append(paths, "/"+p)
	}
	slices.Sort(paths)
	return paths
}

// Sum returns the hex SHA-256 of everything that WriteTar writes.
func (t *Tree) Sum() (string, error) {
	h := sha256.New()
	if err := t.WriteTar(h); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// WriteTar writes the tree as a tar archive, sorted by path.
func (t *Tree) WriteTar(w io.Writer) error {
	tw := tar.NewWriter(w)
	for _, p := range t.Paths() {
		if err := t.nodes[clean(p)].write(tw, clean(p)); err != nil {
			return fmt.Errorf("pack %s: %w", p, err)
		}
	}
	return tw.Close()
}

func (n *node) write(w *tar.Writer, name string) (err error) {
	h := &tar.Header{Name: name, Mode: n.mode, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	switch {
	case n.link != "":
		h.Typeflag, h.Linkname = tar.TypeSymlink, n.link
		return w.WriteHeader(h)
	case !n.file:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return w.WriteHeader(h)
	case n.source == "":
		h.Typeflag, h.Size = tar.TypeReg, int64(len(n.data))
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err := w.Write(n.data)
		return err
	}
	f, err := os.Open(n.source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	h.Typeflag, h.Size = tar.TypeReg, st.Size()
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}
