package lab

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// writeLog makes a log of writes of one sector each, filled with their number from 1; a
// negative sector is a flush.
func writeLog(sectors ...int64) []byte {
	var b bytes.Buffer
	put := func(values ...uint64) {
		head := make([]byte, logSector)
		for i, v := range values {
			binary.LittleEndian.PutUint64(head[8*i:], v)
		}
		b.Write(head)
	}
	put(logMagic, 1, 0, logSector)
	for i, s := range sectors {
		if s < 0 {
			put(0, 0, logFlush, 0)
			continue
		}
		put(uint64(s), 1, 0, 0)
		b.Write(bytes.Repeat([]byte{byte(i + 1)}, logSector))
	}
	return b.Bytes()
}

// TestReplay: what was flushed is always there, what was not is there or not.
func TestReplay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	whole := writeLog(0, 1, -1, 2, 3)
	if err := os.WriteFile(path, append(whole, writeLog(4)[logSector:2*logSector]...), 0o600); err != nil { // ends within a write
		t.Fatal(err)
	}
	log, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	seen := map[string]int{}
	for seed := range uint64(200) {
		diskPath := filepath.Join(t.TempDir(), "disk")
		disk, err := os.Create(diskPath)
		if err != nil {
			t.Fatal(err)
		}
		if err := disk.Truncate(5 * logSector); err != nil {
			t.Fatal(err)
		}
		if _, err := replay(log, disk, rand.New(rand.NewPCG(seed, 0))); err != nil {
			t.Fatal(err)
		}
		disk.Close()
		got, err := os.ReadFile(diskPath)
		if err != nil {
			t.Fatal(err)
		}
		key := ""
		for s := range 5 {
			key += string(rune('0' + got[s*logSector]))
		}
		seen[key]++
	}
	for _, want := range []string{"12000", "12400", "12050", "12450"} { // the flush counts as the third
		if seen[want] == 0 {
			t.Errorf("never seen: %s, in %v", want, seen)
		}
		delete(seen, want)
	}
	if len(seen) != 0 {
		t.Errorf("impossible disks: %v", seen)
	}
}

func FuzzReadLog(f *testing.F) {
	f.Add(writeLog(0, 1, -1, 2))
	f.Fuzz(func(t *testing.T, log []byte) {
		entries, err := readLog(bytes.NewReader(log), int64(len(log)))
		for _, e := range entries {
			if err == nil && e.flags&logDiscard == 0 && e.data+e.bytes > int64(len(log)) {
				t.Errorf("a request beyond the log: %+v", e)
			}
		}
	})
}
