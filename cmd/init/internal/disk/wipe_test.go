package disk

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// eraser is a disk that can discard, or says that it cannot.
type eraser struct {
	*simDisk
	unsupported, secure bool
	err                 error
	discarded           int64
}

func (e *eraser) Discard(off, n int64) (bool, error) {
	if e.unsupported {
		return false, errors.ErrUnsupported
	}
	if e.err != nil {
		return false, e.err
	}
	if err := e.step(); err != nil {
		return false, err
	}
	e.discarded += n
	// The worst that a disk may do: half of it reads as before, half as rubbish.
	for i := off; i < off+n; i += 1024 {
		e.cache[i] = 0xdb
	}
	return e.secure, nil
}

const secret = "the key of the node, which nobody may find"

// fullPartition is an ext4 file system with a secret in it.
func fullPartition(t *testing.T, size int64) []byte {
	fs := mkfs(t, "1024", size)
	for _, off := range []int64{size / 2, size - 1024} {
		copy(fs[off:], secret)
	}
	return fs
}

func eraserWith(content []byte) *eraser {
	e := &eraser{simDisk: newSimDisk(int64(len(content)))}
	copy(e.platter, content)
	copy(e.cache, content)
	return e
}

func TestWipe(t *testing.T) {
	content := fullPartition(t, 9*mib)
	if in := inspect(t, content); in.Finding != Clean || len(in.Backups) != 1 {
		t.Fatalf("the test's partition: %+v", in)
	}
	for _, tt := range []struct {
		name      string
		dev       eraser
		overwrite bool
		want      Wiped
	}{
		{"overwritten and discarded", eraser{secure: true}, true, Wiped{Overwritten: true, Discarded: true, Secure: true}},
		{"overwritten", eraser{unsupported: true}, true, Wiped{Overwritten: true}},
		{"discarded", eraser{}, false, Wiped{Discarded: true}},
		{"neither", eraser{unsupported: true}, false, Wiped{}},
	} {
		dev := eraserWith(content)
		dev.unsupported, dev.secure = tt.dev.unsupported, tt.dev.secure
		beats := 0
		got, err := Wipe(dev, tt.overwrite, func() { beats++ })
		if err != nil || got != tt.want || beats == 0 {
			t.Errorf("%s: %+v, %v, %d beats", tt.name, got, err, beats)
		}
		if in := inspect(t, dev.platter); in.Finding != Unfinished {
			t.Errorf("%s: left %v", tt.name, in.Finding)
		}
		clear(dev.platter[:512])
		if backups := findBackups(bytes.NewReader(dev.platter), dev.size); len(backups) > 0 || !isZero(dev.platter[:mib]) {
			t.Errorf("%s: copies of the superblock are left: %v", tt.name, backups)
		}
		if tt.overwrite && bytes.Contains(dev.platter, []byte(secret)) {
			t.Errorf("%s: the secret is still there", tt.name)
		}
		if want := dev.size - 4096; !tt.dev.unsupported && dev.discarded != want {
			t.Errorf("%s: %d bytes discarded, want %d", tt.name, dev.discarded, want)
		}
	}
	dev := eraserWith(content)
	dev.err = errors.New("broken disk")
	if _, err := Wipe(dev, true, func() {}); !errors.Is(err, dev.err) {
		t.Errorf("a disk that fails: %v", err)
	}
	if in := inspect(t, dev.cache); in.Finding != HalfWiped {
		t.Errorf("a disk that fails: %v", in.Finding)
	}
}

// TestWipePowerCut cuts the power at every write and expects that the partition
// is as it was, or known to be half wiped, or holds the secret no more.
func TestWipePowerCut(t *testing.T) {
	content := fullPartition(t, 3*mib)
	r := rand.New(rand.NewPCG(3, 4))
	for cut := 0; ; cut++ {
		dev := eraserWith(content)
		dev.writes = cut
		_, err := Wipe(dev, true, func() {})
		if err != nil && !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		dev.cut(r)
		in := inspect(t, dev.platter)
		switch {
		case in.Finding == Clean && bytes.Equal(dev.platter, content):
		case in.Finding == HalfWiped:
			if _, err := Wipe(dev, true, func() {}); err != nil {
				t.Fatalf("cut at %d: wipe again: %v", cut, err)
			}
			in = inspect(t, dev.platter)
			fallthrough
		default:
			if in.Finding != Unfinished || bytes.Contains(dev.platter, []byte(secret)) {
				t.Fatalf("cut at write %d leaves %v and the secret: %v", cut, in.Finding, bytes.Contains(dev.platter, []byte(secret)))
			}
		}
		if err == nil {
			return
		}
	}
}
