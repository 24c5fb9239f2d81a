package lab

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// TestContinues: a reset as it was captured, and other frames.
func TestContinues(t *testing.T) {
	reset, err := hex.DecodeString("4500002800004000400626330a4d00030a4d0001b78219285220694b00000000500400000f2d0000")
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, to byte) []byte {
		b := bytes.Clone(reset)
		b[at] = to
		return b
	}
	v6 := append([]byte{0x60, 0, 0, 0, 0, 20, 6, 64}, append(make([]byte, 32), reset[20:40]...)...)
	for name, c := range map[string]struct {
		frame Frame
		want  bool
	}{
		"reset":         {Frame{Type: 0x0800, Data: reset}, true},
		"reset by IPv6": {Frame{Type: 0x86dd, Data: v6}, true},
		"opens":         {Frame{Type: 0x0800, Data: change(33, 0x02)}, false},
		"UDP":           {Frame{Type: 0x0800, Data: change(9, 17)}, false},
		"other type":    {Frame{Type: 0x0806, Data: reset}, false},
		"cut":           {Frame{Type: 0x0800, Data: reset[:33]}, false},
		"nothing":       {Frame{Type: 0x0800}, false},
	} {
		if got := c.frame.Continues(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestReadCapture(t *testing.T) {
	var b []byte
	u32 := func(v uint32) { b = binary.LittleEndian.AppendUint32(b, v) }
	u32(0xa1b2c3d4)
	u32(2 | 4<<16)
	u32(0)
	u32(0)
	u32(captureBytes)
	u32(1)
	frame := func(to byte) {
		data := append([]byte{to, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x06}, make([]byte, 46)...)
		u32(0)
		u32(0)
		u32(uint32(len(data)))
		u32(uint32(len(data)))
		b = append(b, data...)
	}
	frame(1)
	frame(2)
	whole := len(b)
	frame(2)
	file := filepath.Join(t.TempDir(), "capture")
	for _, c := range []struct{ bytes, frames int }{{len(b), 3}, {len(b) - 5, 2}, {whole + 3, 2}, {24, 0}} {
		if err := os.WriteFile(file, b[:c.bytes], 0o600); err != nil {
			t.Fatal(err)
		}
		frames, err := ReadCapture(file)
		if err != nil || len(frames) != c.frames {
			t.Fatalf("%d bytes: %d frames, %v", c.bytes, len(frames), err)
		}
		if c.frames > 1 && (!frames[0].Multicast() || frames[1].Multicast() || frames[0].Type != 0x0806) {
			t.Errorf("frames %+v", frames)
		}
	}
	solicitation, tcp := make([]byte, 48), make([]byte, 48)
	solicitation[6], solicitation[40], tcp[6] = 58, 135, 6
	for _, c := range []struct {
		frame Frame
		want  bool
	}{{Frame{Type: 0x0806}, true}, {Frame{Type: 0x86dd, Data: solicitation}, true}, {Frame{Type: 0x86dd, Data: tcp}, false}, {Frame{Type: 0x86dd}, false}, {Frame{Type: 0x0800, Data: solicitation}, false}} {
		if got := c.frame.Neighbours(); got != c.want {
			t.Errorf("%+v: %t", c.frame, got)
		}
	}
	if err := os.WriteFile(file, b[:20], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCapture(file); err == nil {
		t.Error("a part of a header is a capture")
	}
}
