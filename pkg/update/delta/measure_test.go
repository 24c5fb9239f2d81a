package delta

import (
	"bytes"
	"testing"
)

// shape is an OS file's: what stands before init, init, the root and the kernel.
// All of it is packed, so that random bytes are like it.
type shape struct{ head, initramfs, root, kernel, signature []byte }

const (
	headBytes, initBytes, rootBytes, kernelBytes, signatureBytes = 16 << 10, 4 << 20, 26<<20 + 123456, 6 << 20, 2000
)

func newShape() shape {
	return shape{random(1, headBytes), random(2, initBytes), random(3, rootBytes), random(4, kernelBytes), random(5, signatureBytes)}
}

func (s shape) file() []byte {
	return bytes.Join([][]byte{s.head, s.initramfs, s.root, s.kernel, s.signature}, nil)
}

// What an update transfers of a file of 36 MiB, its index with it.
func TestTransfer(t *testing.T) {
	old := newShape()
	version := newShape() // other version, checksum and signature
	version.head = append(random(6, 512), version.head[512:]...)
	version.signature = random(7, signatureBytes)
	initramfs := version // init packed anew, of another length
	initramfs.initramfs = random(8, initBytes+4321)
	for _, c := range []struct {
		name string
		file []byte
		most float64 // percent
	}{
		{"nothing", old.file(), 0.3},
		{"version and signature", version.file(), 1},
		{"init", initramfs.file(), 25},
	} {
		x := index(t, c.file)
		server := &memory{name: "server", file: c.file}
		f, err := Fetch(t.Context(), Config{Index: x, Dir: t.TempDir(), Server: server, Local: []Local{local("the slot that runs", old.file())}})
		noErr(t, err)
		holds(t, f, c.file)
		noErr(t, f.Close())
		percent := func(n int64) float64 { return 100 * float64(n) / float64(x.Size()) }
		head := int64(len(x.Encode()))
		t.Logf("%s changed: %d bytes of %d (%.2f%%) and an index of %d (%.2f%%)", c.name, server.sent.Load(), x.Size(), percent(server.sent.Load()), head, percent(head))
		if got := percent(server.sent.Load() + head); got > c.most || percent(head) > 0.3 {
			t.Errorf("%s changed: %.2f%% of the file crosses the network, want at most %.1f%%", c.name, got, c.most)
		}
	}
}

// BenchmarkMake is what the search of a local file costs too.
func BenchmarkMake(b *testing.B) {
	file := newShape().file()
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		index(b, file)
	}
}
