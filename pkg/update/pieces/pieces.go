// Package pieces keeps an operating system's file in a partition of its own as several
// files, for firmwares that know no other way: a FAT file system whose files, one behind
// the other, are the pieces of that one file.
//
// The file begins with a page that lists its pieces in their order:
//
//	8 bytes at 2048   "PIECES 1"
//	then              a line for each: its size in bytes, a space, its name
//	up to 4096        zeros
//
// Each piece begins on a page, which is 4096 bytes, what is between them is zero, and
// the first piece begins with that page itself. On the disk the pieces lie as in the
// file, so that the file is read, compared and passed on as if it lay there whole, and
// not a byte is there twice.
package pieces

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// Page is what each piece begins on, in bytes, and the length of the head.
	Page = 4096
	// ListAt is where in the head the list begins.
	ListAt = 2048

	magic    = "PIECES 1\n"
	maxFile  = 1 << 30
	maxCount = 64
)

// ErrFormat says that a file is not one of pieces.
var ErrFormat = errors.New("no file of pieces")

// Piece is one piece.
type Piece struct {
	// Name is what the firmware knows it by.
	Name string
	// Size is in bytes.
	Size int64
	// Offset is where it begins in the file; Format and FileSize do not look at it.
	Offset int64
}

// FileSize returns the length of the file with the pieces, in bytes.
func FileSize(list []Piece) int64 {
	var n int64
	for _, p := range list {
		n += pages(p.Size)
	}
	return n
}

// pages rounds n up.
func pages(n int64) int64 { return (n + Page - 1) / Page * Page }

// Format returns what stands in the head from ListAt on.
func Format(list []Piece) ([]byte, error) {
	text := bytes.NewBufferString(magic)
	for _, p := range list {
		fmt.Fprintf(text, "%d %s\n", p.Size, p.Name)
	}
	if text.Len() > Page-ListAt {
		return nil, fmt.Errorf("the list of %d pieces takes %d bytes, at most %d are there", len(list), text.Len(), Page-ListAt)
	}
	out := make([]byte, Page-ListAt)
	copy(out, text.Bytes())
	head := make([]byte, Page)
	copy(head[ListAt:], out)
	if _, err := Parse(head, FileSize(list)); err != nil {
		return nil, err
	}
	return out, nil
}

// Parse reads the list in the head of a file of size bytes.
func Parse(head []byte, size int64) ([]Piece, error) {
	list, err := parseList(head)
	if err != nil {
		return nil, err
	}
	if n := FileSize(list); n != size {
		return nil, fmt.Errorf("%w: the pieces have %d bytes, the file has %d", ErrFormat, n, size)
	}
	return list, nil
}

// parseList reads the list in the head of a file.
func parseList(head []byte) ([]Piece, error) {
	if len(head) < Page {
		return nil, fmt.Errorf("%w: %d bytes", ErrFormat, len(head))
	}
	text, ok := bytes.CutPrefix(head[ListAt:Page], []byte(magic))
	if !ok {
		return nil, fmt.Errorf("%w: it has no list of pieces", ErrFormat)
	}
	text, zeros, _ := bytes.Cut(text, []byte{0})
	if len(bytes.Trim(zeros, "\x00")) > 0 || !bytes.HasSuffix(text, []byte("\n")) {
		return nil, fmt.Errorf("%w: the list of pieces does not end", ErrFormat)
	}
	var list []Piece
	var at int64
	for line := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n"), "\n") {
		number, name, _ := strings.Cut(line, " ")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 1 || n > maxFile || strconv.FormatInt(n, 10) != number || !validName(name) || len(list) == maxCount {
			return nil, fmt.Errorf("%w: the line %.40q of the list", ErrFormat, line)
		}
		list = append(list, Piece{Name: name, Size: n, Offset: at})
		at += pages(n)
	}
	if list[0].Size < Page || at > maxFile {
		return nil, fmt.Errorf("%w: the first piece has %d bytes, all have %d", ErrFormat, list[0].Size, at)
	}
	return list, nil
}

// validName says whether a firmware may read a file by name: in the root directory.
func validName(name string) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", c) {
			return false
		}
	}
	return name != "" && len(name) <= 64 && name[0] != '.'
}
