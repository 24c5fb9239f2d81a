// Package boardtest stands in, in tests, for what a board's packages would bring.
package boardtest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/digital-mycelium/os/board"
)

// Firmware puts the files that the board wants of a Raspberry Pi's firmware into dir, where
// the package would have them. Each holds its path there.
func Firmware(t testing.TB, b *board.Board, dir string) {
	t.Helper()
	r := b.Firmware.RaspberryPi
	for _, f := range slices.Concat(r.Boot, r.Slot) {
		file := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(f.Path), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
