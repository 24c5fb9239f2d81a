package delta

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
)

func TestIndexComesBack(t *testing.T) {
	for _, n := range []int{1, minChunk - 1, minChunk, minChunk + 1, maxChunk, 1 << 20} {
		x := index(t, random(1, n))
		b := x.Encode()
		y, err := Parse(b)
		noErr(t, err)
		if !bytes.Equal(y.Encode(), b) || y.Size() != int64(n) || y.Digest() != x.Digest() || y.Chunks() != x.Chunks() {
			t.Errorf("%d bytes: the index is another one after Encode and Parse", n)
		}
	}
}

// The cuts are part of the format: whoever changes them must change the magic.
func TestFormatStays(t *testing.T) {
	x := index(t, random(1, 1<<20))
	meta := index(t, x.Encode())
	const want = "836d18dbbc046cdcb1bff4f0eb79261a2b7a306305df590cf597d53f16ee6b6b"
	if got := meta.Digest(); got != want {
		t.Errorf("the index of a known file has the SHA-256 %s, want %s: machines in the field cut otherwise", got, want)
	}
}

func TestChunksFollowTheContent(t *testing.T) {
	old := random(1, 4<<20)
	changed := append(append(bytes.Clone(old[:1<<20]), "some bytes more"...), old[1<<20:]...)
	known := map[[32]byte]bool{}
	for _, c := range index(t, old).chunks {
		known[c.sum] = true
	}
	other := 0
	for _, c := range index(t, changed).chunks {
		if !known[c.sum] {
			other++
		}
	}
	if other == 0 || other > 3 {
		t.Errorf("after some bytes were put in, %d chunks are others, want 1 to 3", other)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestMakeRefuses(t *testing.T) {
	_, err := Make(bytes.NewReader(nil))
	wantErr(t, err, "0 bytes")
	_, err = Make(io.MultiReader(bytes.NewReader(random(1, 100)), errorReader{}))
	wantErr(t, err, "read error")
	_, err = Make(endless{})
	wantErr(t, err, "want 1 to")
}

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, errRead }

func TestParseRefuses(t *testing.T) {
	good := index(t, random(1, 1<<20)).Encode()
	entry := func(b []byte, i int, length uint32) []byte {
		binary.BigEndian.PutUint32(b[headSize+i*entrySize:], length)
		return b
	}
	for name, change := range map[string]func(b []byte) []byte{
		"nothing":        func([]byte) []byte { return nil },
		"another magic":  func(b []byte) []byte { b[7]++; return b },
		"head only":      func(b []byte) []byte { return b[:headSize] },
		"cut off":        func(b []byte) []byte { return b[:len(b)-1] },
		"an entry less":  func(b []byte) []byte { return b[:len(b)-entrySize] },
		"a byte more":    func(b []byte) []byte { return append(b, 0) },
		"size 0":         func(b []byte) []byte { clear(b[40:48]); return b },
		"size too large": func(b []byte) []byte { binary.BigEndian.PutUint64(b[40:], MaxSize+1); return b },
		"size negative":  func(b []byte) []byte { b[40] = 0x80; return b },
		"another size":   func(b []byte) []byte { b[47]++; return b },
		"a larger size":  func(b []byte) []byte { b[45]++; return b },
		"another count":  func(b []byte) []byte { b[headSize-1]++; return b },
		"huge count":     func(b []byte) []byte { binary.BigEndian.PutUint32(b[headSize-4:], 1<<32-1); return b },
		"empty chunk":    func(b []byte) []byte { return entry(b, 0, 0) },
		"short chunk":    func(b []byte) []byte { return entry(b, 0, minChunk-1) },
		"long chunk":     func(b []byte) []byte { return entry(b, 0, maxChunk+1) },
		"other length":   func(b []byte) []byte { return entry(b, 0, minChunk) },
	} {
		if _, err := Parse(change(bytes.Clone(good))); err == nil {
			t.Errorf("%s: Parse has no error", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(index(f, random(1, 100)).Encode())
	f.Add(index(f, random(1, 1<<18)).Encode())
	f.Add(index(f, make([]byte, 1<<17)).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := Parse(b)
		if err != nil {
			return
		}
		if !bytes.Equal(x.Encode(), b) {
			t.Error("two forms of one index")
		}
		end := int64(0)
		for _, c := range x.chunks {
			if c.offset != end || c.length < 1 || c.length > maxChunk {
				t.Fatalf("chunk of %d bytes at %d, the one before ended at %d", c.length, c.offset, end)
			}
			end = c.end()
		}
		if end != x.Size() || end > MaxSize {
			t.Errorf("chunks of %d bytes in a file of %d", end, x.Size())
		}
	})
}
