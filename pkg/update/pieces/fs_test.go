package pieces

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"testing"
)

// TestFS: each piece is a file with its bytes, and nothing else is there.
func TestFS(t *testing.T) {
	b := someFile(t, 'k')
	list, err := Parse(b, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	files := FS(bytes.NewReader(b), list)
	for _, p := range list {
		got, err := fs.ReadFile(files, p.Name)
		if err != nil || !bytes.Equal(got, b[p.Offset:p.Offset+p.Size]) {
			t.Errorf("%s: %d bytes, %v", p.Name, len(got), err)
		}
		st, err := fs.Stat(files, p.Name)
		if err != nil || st.Size() != p.Size || st.Name() != p.Name || !st.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", p.Name, st, err)
		}
	}
	f, err := files.Open("config.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if n, err := f.(io.Seeker).Seek(0, io.SeekEnd); err != nil || n != 7 {
		t.Errorf("seek to the end: %d, %v", n, err)
	}
	for name, want := range map[string]error{"": fs.ErrInvalid, "../config.txt": fs.ErrInvalid, ".": fs.ErrNotExist, "config": fs.ErrNotExist, "a/config.txt": fs.ErrNotExist} {
		if _, err := files.Open(name); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
}
