package bmap

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// sample is an image of five blocks and a half with content in three places.
func sample(t testing.TB) ([]byte, *Map) {
	t.Helper()
	image := make([]byte, 5*BlockSize+BlockSize/2)
	for _, at := range []int{0, BlockSize, 3 * BlockSize, 5 * BlockSize} {
		image[at] = byte(at/BlockSize + 1)
	}
	m, err := New(bytes.NewReader(image), int64(len(image)), []Extent{{5*BlockSize + 7, 1}, {0, 1}, {BlockSize, 2}, {3 * BlockSize, BlockSize}, {9, 0}})
	if err != nil {
		t.Fatal(err)
	}
	return image, m
}

func text(t testing.TB, m *Map) string {
	t.Helper()
	var b strings.Builder
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestMap(t *testing.T) {
	image, m := sample(t)
	want := []Range{
		{0, 1, sha256.Sum256(image[:2*BlockSize])},
		{3, 3, sha256.Sum256(image[3*BlockSize : 4*BlockSize])},
		{5, 5, sha256.Sum256(image[5*BlockSize:])},
	}
	if !reflect.DeepEqual(m.Ranges, want) || m.Blocks() != 6 || m.MappedBlocks() != 4 {
		t.Errorf("%d of %d blocks: %+v", m.MappedBlocks(), m.Blocks(), m.Ranges)
	}
	if e := m.Extents()[2]; e.Length != BlockSize/2 {
		t.Errorf("the last extent %+v reaches beyond the image", e)
	}
	again, err := Parse(strings.NewReader(text(t, m)))
	if err != nil || !reflect.DeepEqual(again, m) {
		t.Errorf("%v: %+v", err, again)
	}
	if text(t, m) != text(t, again) {
		t.Error("the same map gives other bytes")
	}
}

// TestBmaptool parses a map as bmaptool 3.6 writes it, but for its comments.
func TestBmaptool(t *testing.T) {
	f, err := os.Open("testdata/bmaptool.bmap")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	_, want := sample(t)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestParseErrors(t *testing.T) {
	_, m := sample(t)
	good := text(t, m)
	for want, bad := range map[string]string{
		"checksum mismatch":   strings.Replace(good, "3 </Range>", "4 </Range>", 1),
		"of version":          strings.Replace(good, "2.0", "1.3", 1),
		"of type":             strings.Replace(good, "sha256 <", "md5 <", 1),
		"no SHA-256":          strings.Replace(good, "<BmapFileChecksum> ", "<BmapFileChecksum> a", 1),
		"read the block map:": good[:len(good)/2],
	} {
		if _, err := Parse(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	// With a right checksum of their own, these are wrong in themselves.
	for want, change := range map[string]func(*document){
		"out of order":  func(d *document) { d.Ranges[1].Blocks = "1" },
		"beyond":        func(d *document) { d.Ranges[2].Blocks = "6" },
		"not a number":  func(d *document) { d.Ranges[0].Blocks = "0-x" },
		"block size":    func(d *document) { d.BlockSize = "0" },
		"image size":    func(d *document) { d.ImageSize = "0" },
		"it says 7":     func(d *document) { d.BlocksCount = "7" },
		"with 3 mapped": func(d *document) { d.MappedCount = "3" },
		"blocks \"0-1":  func(d *document) { d.Ranges[0].Checksum = "12" },
		"MappedBlocks":  func(d *document) { d.MappedCount = "-1" },
	} {
		d := document{ImageSize: "22528", BlockSize: "4096", BlocksCount: "6", MappedCount: "4"}
		for _, blocks := range []string{"0-1", "3", "5"} {
			d.Ranges = append(d.Ranges, xmlRange{Checksum: noChecksum(), Blocks: blocks})
		}
		if _, err := d.toMap(); err != nil {
			t.Fatal(err)
		}
		change(&d)
		if _, err := d.toMap(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

// TestCopy: mapped blocks arrive, others keep what they were.
func TestCopy(t *testing.T) {
	image, m := sample(t)
	disk := memory(bytes.Repeat([]byte{0xa5}, len(image)))
	if err := m.Copy(t.Context(), disk, bytes.NewReader(image)); err != nil {
		t.Fatal(err)
	}
	for block := range int64(6) {
		got := disk[block*BlockSize : min((block+1)*BlockSize, int64(len(image)))]
		want := image[block*BlockSize:][:len(got)]
		if block == 2 || block == 4 {
			want = bytes.Repeat([]byte{0xa5}, BlockSize)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("block %d is wrong", block)
		}
	}
	image[3*BlockSize+100] ^= 4
	if err := m.Copy(t.Context(), disk, bytes.NewReader(image)); !errors.Is(err, ErrChecksum) || !strings.Contains(err.Error(), "bytes 12288 to 16383") {
		t.Errorf("flipped bit: %v", err)
	}
	for _, n := range []int{0, 2*BlockSize + 5, 3*BlockSize + 5} {
		if err := m.Copy(t.Context(), disk, bytes.NewReader(image[:n])); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestFromSparse expects what was written to be mapped, and not all of the rest.
func TestFromSparse(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 64 << 20
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	written := []int64{0, 1 << 20, 33<<20 + 5, size - 1}
	for _, at := range written {
		if _, err := f.WriteAt([]byte{1}, at); err != nil {
			t.Fatal(err)
		}
	}
	m, err := FromSparse(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range written {
		found := false
		for _, e := range m.Extents() {
			found = found || e.Offset <= at && at < e.End()
		}
		if !found {
			t.Errorf("byte %d is not mapped: %+v", at, m.Ranges)
		}
	}
	if m.MappedBlocks() > m.Blocks()/4 {
		t.Errorf("%d of %d blocks are mapped: keep the test's files on a file system with holes", m.MappedBlocks(), m.Blocks())
	}
}

// TestAlign compares with a set of blocks.
func TestAlign(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var in []Extent
		want := map[int64]bool{}
		for range r.IntN(6) {
			e := Extent{r.Int64N(200), r.Int64N(40)}
			in = append(in, e)
			for at := e.Offset; at < e.End(); at++ {
				want[at/10] = true
			}
		}
		got, before := map[int64]bool{}, int64(-1)
		for _, e := range Align(in, 10) {
			if e.Offset%10 != 0 || e.Length%10 != 0 || e.Length == 0 || e.Offset <= before {
				t.Fatalf("%v: %v", in, e)
			}
			for at := e.Offset; at < e.End(); at += 10 {
				got[at/10] = true
			}
			before = e.End()
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%v: %v, want %v", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	_, m := sample(f)
	f.Add([]byte(text(f, m)))
	if data, err := os.ReadFile("testdata/bmaptool.bmap"); err == nil {
		f.Add(data)
	}
	f.Add([]byte("<bmap version=\"2.0\"><ChecksumType>sha256</ChecksumType></bmap>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(bytes.NewReader(data))
		if err != nil {
			return
		}
		again, err := Parse(strings.NewReader(text(t, m)))
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%v: %+v, %+v", err, m, again)
		}
	})
}
