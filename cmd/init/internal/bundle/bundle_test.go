package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/digital-mycelium/os/cmd/init/internal/redact"
)

func read(t *testing.T, b []byte) map[string]string {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(content)
	}
}

func section(name, text string, err error) Section {
	return Section{name, func(context.Context) (string, error) { return text, err }}
}

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	line := strings.Repeat("x", 99) + "\n"
	err := Write(t.Context(), &b, "node", []Section{
		section("a.txt", "the token is 0123456789", nil),
		section("b/c.txt", strings.Repeat(line, 20000), nil),
		section("d.txt", "", errors.New("cannot ask https://u:0123456789@x")),
		section("e.txt", "half", errors.New("cut")),
		section("f.txt", "", nil),
		section("g.txt", strings.Repeat("y", MaxText+1), nil),
	}, redact.New([]string{"0123456789"}))
	if err != nil {
		t.Fatal(err)
	}
	files := read(t, b.Bytes())
	long := files["node/b/c.txt"]
	delete(files, "node/b/c.txt")
	want := map[string]string{
		"node/a.txt": "the token is (secret)", "node/e.txt": "half", "node/f.txt": "", "node/g.txt": "(1048577 bytes more are left out)\n",
		"node/errors.txt": "d.txt: cannot ask https://(secret)@x\ne.txt: cut\n",
	}
	if !maps.Equal(files, want) {
		t.Errorf("%q, want %q", files, want)
	}
	if len(long) > MaxText+100 || !strings.HasPrefix(long, line) || !strings.HasSuffix(long, line+"(951500 bytes more are left out)\n") {
		t.Errorf("%d bytes, ending %q", len(long), long[max(0, len(long)-150):])
	}
}

type broken struct{}

var errBroken = errors.New("the reader went away")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteEnds(t *testing.T) {
	noise := make([]byte, MaxText) // does not compress
	for i := range noise {
		noise[i] = byte(i*i>>8 ^ i*7)
	}
	r := redact.New(nil)
	sections := slices.Repeat([]Section{section("a", string(noise), nil)}, 3)
	if err := Write(t.Context(), broken{}, "x", sections, r); !errors.Is(err, errBroken) {
		t.Errorf("a reader that went away: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	stop := Section{"s", func(context.Context) (string, error) { asked++; cancel(); return "x", nil }}
	if err := Write(ctx, io.Discard, "x", []Section{stop, stop}, r); !errors.Is(err, context.Canceled) || asked != 1 {
		t.Errorf("a caller that went away: %v after %d sections", err, asked)
	}
}
