package lab

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"
)

// TestFillVariables: in OVMF's own empty store little is left, and what follows it is as
// it was.
func TestFillVariables(t *testing.T) {
	flash, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
	if err != nil {
		t.Fatalf("%v; install it with: apt-get install ovmf", err)
	}
	full, err := FillVariables(flash)
	if err != nil {
		t.Fatal(err)
	}
	begin := int(binary.LittleEndian.Uint16(flash[0x30:]))
	end := begin + int(binary.LittleEndian.Uint32(flash[begin+16:]))
	if len(full) != len(flash) || !bytes.Equal(full[:begin+storeHeader], flash[:begin+storeHeader]) || !bytes.Equal(full[end:], flash[end:]) {
		t.Error("more than the store's variables has changed")
	}
	free := 0
	for free < end && full[end-free-1] == 0xff {
		free++
	}
	if free >= 128 {
		t.Errorf("%d bytes are free", free)
	}
	// The firmware makes room of what was deleted: it must be gone as well.
	first := full[begin+storeHeader:]
	size := (variableHeader + int(binary.LittleEndian.Uint32(first[36:])) + int(binary.LittleEndian.Uint32(first[40:])) + 3) &^ 3
	deleted := bytes.Clone(full)
	deleted[begin+storeHeader+2] = 0x3c
	again, err := FillVariables(deleted)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(again[begin+storeHeader:end], first[size:2*size]) {
		t.Error("a deleted variable has kept its place")
	}
	for free = 0; free < end && again[end-free-1] == 0xff; free++ {
	}
	if free >= 128 {
		t.Errorf("%d bytes are free where one was deleted", free)
	}
	for _, bad := range [][]byte{nil, make([]byte, 0x40), bytes.Repeat([]byte{0xff}, 0x1000), flash[:begin+10]} {
		if _, err := FillVariables(bad); err == nil {
			t.Errorf("%d bytes that are no store were accepted", len(bad))
		}
	}
}
