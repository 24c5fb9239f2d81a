package pieces

import (
	"io"
	"io/fs"
	"path"
	"time"
)

// FS shows the pieces of the file r as files, in one directory that cannot be listed.
// They are read from r, which must stay open as long as they are, and each file is an
// io.ReaderAt and io.Seeker, too.
func FS(r io.ReaderAt, list []Piece) fs.FS { return pieceFS{r, list} }

type pieceFS struct {
	r    io.ReaderAt
	list []Piece
}

// Open implements fs.FS.
func (f pieceFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	for _, p := range f.list {
		if p.Name == name {
			return &pieceFile{io.NewSectionReader(f.r, p.Offset, p.Size), name}, nil
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

type pieceFile struct {
	*io.SectionReader
	name string
}

// Stat implements fs.File.
func (f *pieceFile) Stat() (fs.FileInfo, error) { return pieceInfo{path.Base(f.name), f.Size()}, nil }

// Close implements fs.File; it does nothing.
func (f *pieceFile) Close() error { return nil }

// pieceInfo is what is known of a piece: an OS file is the same whenever it is made.
type pieceInfo struct {
	name string
	size int64
}

func (i pieceInfo) Name() string       { return i.name }
func (i pieceInfo) Size() int64        { return i.size }
func (i pieceInfo) Mode() fs.FileMode  { return 0o444 }
func (i pieceInfo) ModTime() time.Time { return time.Time{} }
func (i pieceInfo) IsDir() bool        { return false }
func (i pieceInfo) Sys() any           { return nil }
