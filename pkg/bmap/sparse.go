package bmap

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// FromSparse makes the map of a sparse file: all that is not a hole is mapped. A
// file system without holes gives a map of the whole file. The file's offset changes.
func FromSparse(f *os.File) (*Map, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("map the image: %w", err)
	}
	extents, err := Data(f, st.Size())
	if err != nil {
		return nil, err
	}
	return New(f, st.Size(), extents)
}

// Data returns which parts of the first size bytes of a file are not holes, as its
// file system tells (SEEK_DATA, SEEK_HOLE). The file's offset changes.
func Data(f *os.File, size int64) ([]Extent, error) {
	var list []Extent
	for at := int64(0); at < size; {
		begin, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // only a hole is left
		}
		if errors.Is(err, unix.EINVAL) && at == 0 {
			return []Extent{{0, size}}, nil // the file system knows no holes
		}
		if err != nil {
			return nil, fmt.Errorf("look for data from byte %d: %w", at, err)
		}
		end, err := f.Seek(begin, unix.SEEK_HOLE)
		if err != nil {
			return nil, fmt.Errorf("look for a hole from byte %d: %w", begin, err)
		}
		if end = min(end, size); begin < end {
			list = append(list, Extent{begin, end - begin})
		}
		at = end
	}
	return list, nil
}
